"""Policies: which one fits an observation space, which fit an algorithm, and names for one's own.

    from armature import register_policy
    register_policy("MyPolicy", MyPolicy)      # then "policy": "MyPolicy" in a config, and PPO("MyPolicy", env)

SB3 keeps the names of an algorithm's policies in its class attribute `policy_aliases`, the one place its constructors
look at. A registered name is written there, for each algorithm that the policy fits: so the same name may stand for one
class among actor-critic algorithms and for another in SAC.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from functools import reduce
from typing import TYPE_CHECKING, Any

from armature.combos import Combo
from armature.doors import where
from armature.errors import ConfigError, PluginError, UnknownNameError
from armature.net_arch import LSTM, PLACE, check_separate, is_mixed, parse_shared
from armature.plugins import registering
from armature.registry import is_address, resolve

if TYPE_CHECKING:
    from gymnasium import spaces

STOCK = tuple(f"{kind}{memory}Policy" for memory in ("", "Lstm") for kind in ("Mlp", "Cnn", "MultiInput"))
"""Names that `choose_policy` returns."""

_registered: list[tuple[str, type]] = []
"""For algorithms whose classes come into being after a policy was registered."""


def choose_policy(observation_space: spaces.Space[Any], combo: Combo) -> str:
    """Return the name of the policy for these observations: Mlp, MultiInput (a dict) or Cnn (an image).

    Recurrent rows get the Lstm form. Raises `ConfigError` if the row's class accepts no dict observations.
    """
    from gymnasium import spaces  # here, since this module belongs to the command line as well
    from stable_baselines3.common.preprocessing import is_image_space

    if isinstance(observation_space, spaces.Dict):
        if not combo.dict_observations:
            raise ConfigError(
                f"{combo.algo_class} accepts no dict observations, and this environment's have the keys "
                f"{', '.join(observation_space)}. Set observation.form to 'flat', or choose another algo."
            )
        kind = "MultiInput"
    else:
        kind = "Cnn" if is_image_space(observation_space) else "Mlp"
    return f"{kind}{'Lstm' if combo.recurrent else ''}Policy"


# ------------------------------------------------------------------------------------------------ names


def register_policy(name: str, cls: type) -> None:
    """Give a policy class a name, for the algorithms it fits; the same class again changes nothing.

    Raises:
        PluginError: it is no policy class, or fits no algorithm.
        ConfigError: the name is taken, be it by SB3 itself; the message names both classes and their files.
    """
    if not isinstance(name, str) or not name.isidentifier():
        raise ConfigError(f"a policy cannot be called {name!r}; allowed: letters, digits and underscores.")
    _require_policy(cls)
    places = [algorithm for algorithm in _algorithms() if fits(cls, algorithm)]
    if not places:
        raise PluginError(f"{where(cls)} fits no algorithm. Derive it from a policy of the algorithm that it is for.")
    for algorithm in places:
        taken = policies_of(algorithm).get(name, cls)
        if taken is not cls:
            raise ConfigError(
                f"policy {name!r} of {algorithm.__name__} is {where(taken)}; {where(cls)} needs another name."
            )
    for algorithm in places:
        algorithm.policy_aliases[name] = cls  # type: ignore[attr-defined]
    if (name, cls) not in _registered:
        _registered.append((name, cls))


def policies_of(algorithm: type) -> dict[str, type]:
    """Return the policies that an algorithm knows by name."""
    import armature.shared_lstm_policies  # noqa: F401  # registers our own: these, and the memoryless ones

    late = {name: cls for name, cls in _registered if fits(cls, algorithm)} if policy_base(algorithm) else {}
    return late | getattr(algorithm, "policy_aliases", {})


def _algorithms() -> Iterator[type]:
    """Yield every class of algorithm that has names for policies, of the libraries and whoever else defined one."""
    import sb3_contrib  # noqa: F401  # its algorithms take part
    from stable_baselines3.common.base_class import BaseAlgorithm

    waiting: list[type] = [BaseAlgorithm]
    while waiting:
        cls = waiting.pop()
        waiting += cls.__subclasses__()
        if vars(cls).get("policy_aliases"):
            yield cls


# ------------------------------------------------------------------------------------------------ what fits


def policy_base(algorithm: type) -> type | None:
    """Return the class that an algorithm's policies have in common; None for one without named policies."""
    named = getattr(algorithm, "policy_aliases", {}).values()
    return reduce(_common_base, named) if named else None


def _common_base(first: type, second: type) -> type:
    return next(base for base in first.__mro__ if issubclass(second, base))


def fits(cls: type, algorithm: type) -> bool:
    """Return whether an algorithm can work with a policy class."""
    base = policy_base(algorithm)
    # A recurrent policy derives from a memoryless one, but wants its state with every call.
    return base is None or (issubclass(cls, base) and is_recurrent(cls) == is_recurrent(base))


def is_recurrent(cls: type) -> bool:
    """Return whether a policy class keeps a state from step to step."""
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

    return issubclass(cls, RecurrentActorCriticPolicy)


def _require_policy(cls: Any) -> None:
    from stable_baselines3.common.policies import BasePolicy

    if not (isinstance(cls, type) and issubclass(cls, BasePolicy)):
        what = where(cls) if isinstance(cls, type) else repr(cls)
        raise PluginError(f"{what} is no policy: it must be a class derived from a policy of SB3, {_path(BasePolicy)}.")


def _require_fit(cls: type, algorithm: type) -> None:
    base = policy_base(algorithm)
    if base is not None and not fits(cls, algorithm):
        examples = [name for name, known in policies_of(algorithm).items() if known is not cls]
        memory = " without a recurrent state" if is_recurrent(cls) and not is_recurrent(base) else ""
        raise ConfigError(
            f"policy {where(cls)} does not fit {algorithm.__name__}, which needs a subclass of {_path(base)}{memory}, "
            f"such as: {', '.join(examples)}."
        )


def _path(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def home(cls: type) -> str:
    """Return where a class can be found again: its module, and the file if that is no part of a package."""
    return where(cls) if cls.__module__.startswith("armature_file_") else _path(cls)


def check_observations(policy: Any, space: spaces.Space[Any]) -> None:
    """Raise `ConfigError` if a policy named after a kind of observations is to see another."""
    from gymnasium import spaces

    kind = policy.removeprefix("Shared") if isinstance(policy, str) else ""
    dicts, image = isinstance(space, spaces.Dict), len(space.shape or ()) == 3
    if kind in STOCK and (("MultiInput" in kind) != dicts or ("Cnn" in kind and not image)):
        fitting = "MultiInput" if dicts else "Cnn or Mlp" if image else "Mlp"
        raise ConfigError(f"policy is {policy!r}, and observations are {space}. Remove it, or use its {fitting} form.")


def require_findable(policy: Any) -> None:
    """Raise `PluginError` for a policy class that a later process could not find again to load the model."""
    if not isinstance(policy, type):
        return
    found: Any = sys.modules.get(policy.__module__)
    for part in policy.__qualname__.split("."):
        found = getattr(found, part, None)
    if policy.__module__ == "__main__" or found is not policy:
        raise PluginError(
            f"policy {where(policy)} could not be found again to load the model, since it is defined in a script, a "
            'notebook or a function. Put it at the top level of a file, and name it: "policy": '
            f'"my_policy.py:{policy.__name__}", or register it in a plugin.'
        )


# ------------------------------------------------------------------------------------------------ what is meant


def find_policy(algorithm: type, policy: type | str, net_arch: Any = None) -> type | str:
    """Return the class that a policy's name, address or class means to an algorithm.

    A stock name with a list of layers that only shared ones can have means the Shared form of it. A class without
    named policies gets the name as it is.

    Raises:
        UnknownNameError: the algorithm has no policy of that name.
        PluginError: the address cannot be imported, or is no policy.
        ConfigError: it does not fit the algorithm, or `net_arch` does not fit it.
    """
    found: Any = policy
    if isinstance(policy, str) and is_address(policy):
        with registering(policy.rpartition(":")[0], f"policy {policy!r} failed to load"):
            found = resolve(policy)
    elif isinstance(policy, str) and (known := policies_of(algorithm)):
        name = policy
        if name in STOCK and name in known and is_mixed(net_arch):
            name = _shared_form(algorithm, name, net_arch, known)
        if name not in known:
            remedy = 'Or write an address, "package.module:Class".'
            raise UnknownNameError(f"policy of {algorithm.__name__}", name, known, remedy)
        found = known[name]
    if policy_base(algorithm) is not None:
        _require_policy(found)
        _require_fit(found, algorithm)
        check_net_arch(algorithm, found, net_arch)
    return found


def _shared_form(algorithm: type, policy: str, net_arch: Any, known: Mapping[str, type]) -> str:
    _refuse_lstm(algorithm, net_arch)
    if f"Shared{policy}" not in known:
        _refuse_shared(algorithm)
    return f"Shared{policy}"


def _refuse_lstm(algorithm: type, net_arch: Any) -> None:
    base = policy_base(algorithm)
    if LSTM in net_arch and not (base and is_recurrent(base)):
        raise ConfigError(
            f'{PLACE}.{net_arch.index(LSTM)} is "{LSTM}", and {algorithm.__name__} is not recurrent. Remove it, or set '
            "algo to ppo_lstm."
        )


def _refuse_shared(algorithm: type) -> None:
    keys = branches_of(algorithm)
    form = ", ".join(f'"{key}": [SIZES]' for key in keys)
    why = (
        "its policies have no shared layers"
        if "vf" in keys
        else "policy and critics are trained by losses, and optimizers, of their own"
    )
    raise ConfigError(
        f"{PLACE} mixes sizes of shared layers with branches, and {algorithm.__name__} cannot share layers: {why}. "
        f"Write [SIZES] or {{{form}}}."
    )


def branches_of(algorithm: type) -> tuple[str, str]:
    """Return the keys of a `net_arch` dict."""
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.policies import ActorCriticPolicy

    on_policy = issubclass(algorithm, OnPolicyAlgorithm) or issubclass(
        policy_base(algorithm) or object, ActorCriticPolicy
    )
    return ("pi", "vf") if on_policy else ("pi", "qf")


def check_net_arch(algorithm: type, policy: type, net_arch: Any) -> None:
    """Raise `ConfigError` if a policy class of an algorithm can make nothing of a `net_arch`."""
    from armature.shared_lstm_policies import SharedMlpLstmPolicy
    from armature.shared_policies import SharedMlpPolicy

    if net_arch is None or not _takes_known_form(policy):
        return
    if issubclass(policy, (SharedMlpPolicy, SharedMlpLstmPolicy)):
        parse_shared(net_arch, is_recurrent(policy))
    elif is_mixed(net_arch):
        _refuse_lstm(algorithm, net_arch)
        if "vf" in branches_of(algorithm):
            raise ConfigError(
                f"{PLACE} mixes sizes of shared layers with branches, and {where(policy)} does not share layers. "
                "Derive it from armature.shared_policies:SharedMlpPolicy."
            )
        _refuse_shared(algorithm)
    else:
        check_separate(net_arch, branches_of(algorithm))


def _takes_known_form(policy: type) -> bool:
    """Return whether `net_arch` is read by a class of SB3 or of ours, and not by one with ideas of its own."""
    readers = (base for base in policy.__mro__ if "__init__" in vars(base))
    reader = next(
        (base for base in readers if "net_arch" in inspect.signature(vars(base)["__init__"]).parameters), None
    )
    known = ("stable_baselines3", "sb3_contrib", "sbx", "armature")
    return reader is not None and reader.__module__.partition(".")[0] in known


# ------------------------------------------------------------------------------------------------ what it is built of


def check_features(policy: Any) -> None:
    """Raise `PluginError` for a features extractor of one's own that does not put out what its `features_dim` says."""
    import torch
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    if not isinstance(policy, torch.nn.Module):
        return
    for module in policy.modules():
        library = type(module).__module__.startswith(("stable_baselines3.", "sb3_contrib."))
        if isinstance(module, BaseFeaturesExtractor) and not library:
            _check_extractor(module, policy)


def _check_extractor(extractor: Any, policy: Any) -> None:
    import torch
    from stable_baselines3.common.preprocessing import preprocess_obs
    from stable_baselines3.common.utils import obs_as_tensor

    name, space, training = where(type(extractor)), extractor._observation_space, extractor.training
    seen = obs_as_tensor(_zeros(space), policy.device)
    extractor.eval()  # a try must not change running statistics
    with torch.no_grad(), registering(name, f"features extractor {name} failed on an observation of {space}"):
        shape = tuple(extractor(preprocess_obs(seen, space, policy.normalize_images)).shape)
    extractor.train(training)
    if shape != (1, extractor.features_dim):
        raise PluginError(
            f"features extractor {name} puts out {shape} for one observation, and its features_dim is "
            f"{extractor.features_dim}: it must be {(1, extractor.features_dim)}. Mend features_dim, or the last layer."
        )


def _zeros(space: Any) -> Any:
    import numpy as np

    if hasattr(space, "spaces"):
        return {name: _zeros(part) for name, part in space.spaces.items()}
    return np.zeros((1, *space.shape), space.dtype)
