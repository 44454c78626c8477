"""Arguments of algorithm and policy classes: what they are, whether a configuration's are right, and JSON made Python.

| in JSON | becomes |
| --- | --- |
| `{"schedule": "linear", "start": 1e-3, "end": 1e-4}` for a learning rate, a clip range | SB3's `LinearSchedule` |
| `[4, "step"]` for `train_freq` | a tuple |
| `{"type": "normal", "std": 0.1}` or `"ornstein-uhlenbeck"` for `action_noise` | SB3's noise, one an environment |
| `"relu"` or `"torch.nn:ReLU"` for `activation_fn` | the class, or flax's function |
| `"package.module:Class"` for `*_class` and `*_fn` | the class |
"""

from __future__ import annotations

import contextlib
import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic_core import to_jsonable_python

from armature.combos import implemented_combos
from armature.doors import check_definition, door
from armature.errors import ConfigError, PluginError, closest
from armature.old_keys import OLD_ARGUMENTS
from armature.policies import STOCK, find_policy, policies_of, require_findable
from armature.registry import Table, is_address, resolve
from armature.schema import short

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from armature.config import Config
    from armature.loops import BaseLoop

SET_BY_RUN = {
    **{name: f'the key "{name}"' for name in ("policy", "policy_kwargs", "seed", "device")},
    **{"env": 'the key "env_name"', "tensorboard_log": 'the key "tensorboard"', "verbose": "the progress bar"},
    **dict.fromkeys(("_init_setup_model", "supported_action_spaces", "support_multi_env"), "the class"),
    **dict.fromkeys(("observation_space", "action_space", "lr_schedule"), "the algorithm"),
}
"""Arguments that are no hyperparameters, and what sets them."""

_FRACTIONS = ("gamma", "gae_lambda", "tau", "exploration_initial_eps", "exploration_final_eps", "exploration_fraction")
_COUNTS = ("batch_size", "n_steps", "n_epochs", "buffer_size", "n_delta", "policy_delay", "target_update_interval")
_SIZES = ("learning_rate", "qf_learning_rate", "clip_range", "max_grad_norm", "learning_starts", "vf_coef", "delta_std")
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(_FRACTIONS, (0, 1)),
    **dict.fromkeys(_COUNTS, (1, 1e8)),
    **dict.fromkeys(_SIZES, (0, 1e8)),
}
"""Ranges of arguments that mean the same in every algorithm; the upper ends keep a slip from filling the memory."""

_TORCH = {
    "tanh": "torch.nn:Tanh",
    "relu": "torch.nn:ReLU",
    "elu": "torch.nn:ELU",
    "gelu": "torch.nn:GELU",
    "silu": "torch.nn:SiLU",
    "leaky_relu": "torch.nn:LeakyReLU",
}
RENAMED = {
    **{"act_fun": "activation_fn", "layers": "net_arch", "cnn_extractor": "features_extractor_class"},
    "feature_extraction": 'the key "policy", "MlpPolicy" or "CnnPolicy",',
    **{"n_lstm": "lstm_hidden_size", "lstm_hidden_size": "n_lstm"},
}
"""Arguments that other policies have, or that SB3's predecessor had, and what is used in their place."""
ACTIVATIONS = {"pytorch": _TORCH, "jax": {name: f"flax.linen:{name}" for name in _TORCH}}
"""Short names of activation functions, by framework."""


_JSON_TYPES: dict[str, Any] = {
    **{"bool": bool, "int": int, "float": (int, float), "str": str},
    **{"list": list, "dict": Mapping, "None": NoneType, "NoneType": NoneType},
}


# ------------------------------------------------------------------------------------------------ what there is


@dataclass(frozen=True)
class Hyperparameter:
    """An argument of a constructor."""

    name: str
    type: str
    """In words such as `float | schedule | null`."""
    default: Any
    """`inspect.Parameter.empty` if there is none."""
    meaning: str
    annotation: Any


def hyperparameters(cls: type) -> dict[str, Hyperparameter]:
    """Return the arguments of a class by name, leaving out those that the run sets itself."""
    return _arguments(cls)[0]


def takes_others(cls: type) -> bool:
    """Return whether a class takes arguments that it does not name, which nobody can check."""
    return _arguments(cls)[1]


def _arguments(cls: type) -> tuple[dict[str, Hyperparameter], bool]:
    """Return the arguments, and whether the class takes any others besides."""
    if hasattr(cls, "settings_class"):
        return {name: _of_field(name, field) for name, field in cls.settings_class.model_fields.items()}, False
    meanings = _meanings(cls)
    if hasattr(cls, "get_default_parameters"):
        return _declared(cls, meanings), False
    found: dict[str, Hyperparameter] = {}
    for base in cls.__mro__[:-1]:
        if "__init__" not in vars(base):
            continue
        parameters = list(_signature(base).parameters.values())[1:]
        for item in parameters:
            if item.kind not in (item.VAR_POSITIONAL, item.VAR_KEYWORD) and item.name not in SET_BY_RUN:
                new = Hyperparameter(
                    item.name, _words(item.annotation), item.default, meanings.get(item.name, ""), item.annotation
                )
                found.setdefault(item.name, new)
        if not any(item.kind == item.VAR_KEYWORD for item in parameters):
            return found, False  # what this class does not name, it does not pass on
    return found, True


def _declared(cls: Any, meanings: Mapping[str, str]) -> dict[str, Hyperparameter]:
    """Return the parameters that an agent or a loop declares; their types are those of the defaults."""
    defaults = cls.get_default_parameters()
    if not isinstance(defaults, Mapping) or not all(isinstance(name, str) for name in defaults):
        raise PluginError(
            f"{cls.__name__}.get_default_parameters returns {short(defaults)}; return a dict of defaults by name."
        )
    kinds = {name: Any if value is None else type(value) for name, value in defaults.items()}
    return {
        name: Hyperparameter(name, _words(kinds[name]), value, meanings.get(name, ""), kinds[name])
        for name, value in defaults.items()
    }


def _of_field(name: str, field: Any) -> Hyperparameter:
    default = (
        inspect.Parameter.empty
        if field.is_required()
        else to_jsonable_python(field.get_default(call_default_factory=True))
    )
    return Hyperparameter(name, _words(field.annotation), default, field.description or "", field.annotation)


def _signature(cls: type) -> inspect.Signature:
    try:
        return inspect.signature(cls.__init__, eval_str=True)  # type: ignore[misc]
    except Exception:  # annotations of names that only type checkers import
        return inspect.signature(cls.__init__)  # type: ignore[misc]


def _meanings(cls: type) -> dict[str, str]:
    """Return what the docstrings of a class and its bases say of arguments: `:param name:` fields, or under `Args:`."""
    found: dict[str, str] = {}
    for base in cls.__mro__:
        text = inspect.cleandoc(vars(base).get("__doc__") or "")
        for name, meaning in re.findall(r"^:param (\w+):((?:.|\n)*?)(?=^\S|\Z)", text, re.MULTILINE):
            found.setdefault(name, " ".join(meaning.replace("``", "`").split()))
        section = re.search(r"^Args:\n((?: {4}.*\n?|\n)*)", text, re.MULTILINE)
        for name, meaning in re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE):
            found.setdefault(name, " ".join(meaning.split()))
    return found


def _words(annotation: Any) -> str:
    """Write a type down in short."""
    origin = get_origin(annotation)
    if annotation in (inspect.Parameter.empty, Any):
        return "any"
    if annotation in (None, NoneType):
        return "null"
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(_words(option) for option in get_args(annotation)))
    if origin is Literal:
        return " | ".join(repr(option) for option in get_args(annotation))
    if origin is tuple:
        return f"[{', '.join(_words(option) for option in get_args(annotation))}]"
    if _is_schedule(annotation):
        return "schedule"
    if origin is type:
        return "class"
    if getattr(annotation, "__name__", "") == "ActionNoise":
        return "noise"
    return getattr(origin or annotation, "__name__", str(annotation))


def _is_schedule(annotation: Any) -> bool:
    return annotation is Callable or get_origin(annotation) is Callable


def takes_argument(cls: type, name: str) -> bool:
    """Return whether a constructor takes an argument, be it that it passes it on to its parent's."""
    for base in cls.__mro__:
        if "__init__" in vars(base):
            parameters = inspect.signature(base.__init__).parameters  # type: ignore[misc]
            if name in parameters:
                return True
            if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters.values()):
                return False
    return False


# ------------------------------------------------------------------------------------------------ what is right


def check_arguments(config: Config) -> None:
    """Raise `ConfigError` for what is wrong in `algo_kwargs`, `policy` and `policy_kwargs`.

    Imports the algorithm's class, and builds nothing: call it after `config.check()` and before making a run folder.
    """
    row = implemented_combos[config.algo][config.train_framework]
    cls = resolve(row.algo_class)
    if config.demonstrations.path is not None:
        _check_demonstrations(cls, config)
    if door(cls) == "agent":
        return _check_agent(cls, config)
    if config.loop is not None or config.loop_kwargs:
        raise ConfigError(f"loop and loop_kwargs are for agents only, and algo {config.algo!r} is none. Remove them.")
    check_algo_kwargs(cls, config.algo_kwargs)
    policy, policy_kwargs = config.policy or row.policy, {**row.kwargs.get("policy_kwargs", {}), **config.policy_kwargs}
    check_policy_kwargs(cls, policy, policy_kwargs)
    build_policy_kwargs(policy_kwargs, config.train_framework)
    require_findable(policy)


def _check_demonstrations(cls: type, config: Config) -> None:
    """Raise `ConfigError` if a class cannot learn from demonstrations."""
    if takes_argument(cls, "replay_buffer_class"):
        return
    rows = {algo: frameworks.get(config.train_framework) for algo, frameworks in implemented_combos.items()}
    able = []
    for algo, row in rows.items():
        with contextlib.suppress(Exception):  # a row of somebody else's that is broken is not what this is about
            if row and takes_argument(resolve(row.algo_class), "replay_buffer_class"):
                able.append(algo)
    raise ConfigError(
        f"demonstrations.path is given, but algo {config.algo!r} has no replay buffer to mix demonstrations into. "
        f"These have: {', '.join(able)}."
    )


def _check_agent(cls: type, config: Config) -> None:
    check_definition(cls, config.algo)
    if config.policy is not None or config.policy_kwargs:
        raise ConfigError(f"policy and policy_kwargs mean nothing to {cls.__name__}, which is an agent. Remove them.")
    check_algo_kwargs(cls, config.algo_kwargs)
    check_parameters("loop_kwargs", loop_class(config.loop), config.loop_kwargs)


def loop_class(address: str | None) -> type[BaseLoop]:
    """Return the class of a loop, the default one for None; raise `PluginError` if the address is of something else."""
    from armature.loops import BaseLoop, DefaultLoop  # here, so that --help need not wait for numpy

    cls = DefaultLoop if address is None else resolve(address)
    if not (isinstance(cls, type) and issubclass(cls, BaseLoop)):
        raise PluginError(f"loop {address!r} is {cls!r}; it must be a class that derives from armature.BaseLoop.")
    if missing := sorted(cls.__abstractmethods__):
        raise PluginError(f"loop {address!r}: {cls.__name__} has no method {', '.join(missing)}(total_steps).")
    return cls


def check_parameters(path: str, cls: type, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a parameter that an agent or a loop does not declare, or of another type."""
    known = hyperparameters(cls)
    _check_names(path, known, values)
    for name, value in values.items():
        if not _accepts(known[name].annotation, value):
            raise ConfigError(f"{path}.{name} is {short(value)}; allowed: {known[name].type}.")


def build_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's parameters: as they are in JSON, but for the addresses of classes and functions."""
    named = [name for name in values if name.endswith(("_class", "_fn")) and isinstance(values[name], str)]
    return {**values, **{name: resolve(values[name]) for name in named if is_address(values[name])}}


def check_algo_kwargs(cls: type, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument that the algorithm class has not, or that cannot be right."""
    if door(cls) == "agent":
        return check_parameters("algo_kwargs", cls, values)
    known, takes_others = _arguments(cls)
    if not takes_others:
        _check_names("algo_kwargs", known, values)
    if hasattr(cls, "settings_class"):
        from armature.trainers.settings import checked

        checked(cls.settings_class, values)
        return
    for name, value in values.items():
        if name in known:
            _check_value(f"algo_kwargs.{name}", known[name], value)


def check_policy_kwargs(cls: type, policy: str | type | None, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument that the policy class has not, or that cannot be right.

    Args:
        cls: the algorithm class, whose names of policies count.
        policy: a name of a policy, an address or a class; None allows what any policy takes that may be chosen.
        values: the configuration's `policy_kwargs`.
    """
    found = [_arguments(policy_class) for policy_class in policy_classes(cls, policy, values.get("net_arch"))]
    known = {name: item for arguments, _ in found for name, item in arguments.items()}
    for name in values:
        if found and name in RENAMED and name not in known:
            raise ConfigError(f"policy_kwargs.{name} is no argument; use {RENAMED[name]} in its place.")
    if found and not any(takes_others for _, takes_others in found):
        _check_names("policy_kwargs", known, values)
    for name, value in values.items():
        if name in known:
            _check_value(f"policy_kwargs.{name}", known[name], value)
    if isinstance(values.get("features_extractor_class"), (str, type)):
        _check_extractor(values["features_extractor_class"], values.get("features_extractor_kwargs"))


def policy_classes(cls: type, policy: str | type | None, net_arch: Any = None) -> list[type]:
    """Return the policy classes that a policy's name, address or None may mean to an algorithm class."""
    chosen = [name for name in STOCK if name in policies_of(cls)] if policy is None else [policy]
    found = [find_policy(cls, item, net_arch) for item in chosen]
    return [item for item in found if isinstance(item, type)]


def _check_extractor(extractor: type | str, values: Any) -> None:
    """Check a features extractor and its arguments."""
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    cls = resolve(extractor)
    if not (isinstance(cls, type) and issubclass(cls, BaseFeaturesExtractor)):
        raise ConfigError(
            f"policy_kwargs.features_extractor_class is {cls!r}; allowed: a class derived from "
            "stable_baselines3.common.torch_layers:BaseFeaturesExtractor."
        )
    known, takes_others = _arguments(cls)
    if not takes_others:
        _check_names("policy_kwargs.features_extractor_kwargs", known, values or {})
    for name, value in (values or {}).items():
        if name in known:
            _check_value(f"policy_kwargs.features_extractor_kwargs.{name}", known[name], value)


def _check_names(path: str, known: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    for name in values:
        if name in SET_BY_RUN and name not in known:
            raise ConfigError(f"{path}.{name} is set by {SET_BY_RUN[name]}; remove it from {path}.")
        if name not in known:
            guess = closest(OLD_ARGUMENTS.get(name, name), known) or "."
            raise ConfigError(f"{path}.{name}: unknown argument{guess} Known: {', '.join(sorted(known))}.")


def _check_value(path: str, item: Hyperparameter, value: Any) -> None:
    if item.name == "action_noise" and value is not None:
        _check_object(path, value, "type", ("normal", "ornstein-uhlenbeck"), ("std",))
    elif isinstance(value, Mapping) and "schedule" in value and "schedule" in item.type.split(" | "):
        _check_object(path, value, "schedule", ("linear",), ("start", "end"))
        _check_range(path, item.name, value["start"])
        _check_range(path, item.name, value["end"])
    elif not _accepts(item.annotation, value):
        raise ConfigError(f"{path} is {short(value)}; allowed: {item.type}.")
    elif item.name == "train_freq" and isinstance(value, list) and value[1] not in ("step", "episode"):
        raise ConfigError(f'{path} is {short(value)}; allowed: a number, or [number, "step"], or [number, "episode"].')
    else:
        _check_range(path, item.name, value)


def _check_range(path: str, name: str, value: Any) -> None:
    low, high = RANGES.get(name, (-math.inf, math.inf))
    if _is_number(value) and not (math.isfinite(value) and low <= value <= high):
        bounds = f" from {low:,.0f} to {high:,.0f}" if name in RANGES else ""
        raise ConfigError(f"{path} is {short(value)}; allowed: a finite number{bounds}.")


def _check_object(path: str, value: Any, kind: str, kinds: Sequence[str], numbers: Sequence[str]) -> None:
    """Check an object such as a schedule: its kind, and numbers of at least 0 under its other keys."""
    form = ", ".join([f'"{kind}": "{"|".join(kinds)}"', *(f'"{name}": X' for name in numbers)])
    if not isinstance(value, Mapping) or value.get(kind) not in kinds or set(value) != {kind, *numbers}:
        raise ConfigError(f"{path} is {short(value)}; allowed: {{{form}}}.")
    for name in numbers:
        if not (_is_number(value[name]) and math.isfinite(value[name]) and value[name] >= 0):
            raise ConfigError(f"{path}.{name} is {short(value[name])}; allowed: a finite number of at least 0.")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _accepts(annotation: Any, value: Any) -> bool:
    """Return whether a JSON value can be meant for a type; unknown types take anything."""
    origin, options = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        return any(_accepts(option, value) for option in options)
    if origin is Literal:
        return value in options
    if origin is tuple:
        return isinstance(value, (list, tuple)) and len(value) == len(options) and all(map(_accepts, options, value))
    if _is_schedule(annotation):
        return callable(value)
    if origin is type:
        return isinstance(value, (str, type))
    # By name, since annotations that could not be evaluated are text.
    name = "None" if annotation is None else getattr(origin or annotation, "__name__", str(annotation))
    if isinstance(value, bool):
        return name == "bool" or name not in _JSON_TYPES
    return isinstance(value, _JSON_TYPES.get(name, object))


# ------------------------------------------------------------------------------------------------ JSON made Python


def build_kwargs(values: Mapping[str, Any], env: VecEnv | None = None) -> dict[str, Any]:
    """Return an algorithm's arguments as Python objects; `env` is needed for `action_noise` only."""
    return {name: _built(name, value, env) for name, value in values.items()}


def build_policy_kwargs(values: Mapping[str, Any], framework: str = "pytorch") -> dict[str, Any]:
    """Return a policy's arguments as Python objects."""
    built = build_kwargs(values)
    if isinstance(values.get("activation_fn"), str):
        built["activation_fn"] = activation(values["activation_fn"], framework)
    return built


def activation(name: str, framework: str = "pytorch") -> Any:
    """Return the activation function of a short name or an address."""
    if ":" in name:
        return resolve(name)
    known: Table[str] = Table("policy_kwargs.activation_fn", 'Or write an address, "package.module:Name".')
    known.update(ACTIVATIONS.get(framework, {}))
    return resolve(known[name])


def _built(name: str, value: Any, env: VecEnv | None) -> Any:
    if isinstance(value, Mapping) and "schedule" in value:
        from stable_baselines3.common.utils import LinearSchedule

        return LinearSchedule(value["start"], value["end"], end_fraction=1.0)
    if name == "train_freq" and isinstance(value, list):
        return tuple(value)
    if name == "action_noise" and isinstance(value, Mapping):
        return _noise(value, env)
    if name.endswith(("_class", "_fn")) and isinstance(value, str) and ":" in value:
        return resolve(value)
    return value


def _noise(value: Mapping[str, Any], env: VecEnv | None) -> Any:
    import numpy as np
    from stable_baselines3.common.noise import (
        NormalActionNoise,
        OrnsteinUhlenbeckActionNoise,
        VectorizedActionNoise,
    )

    shape = getattr(env.action_space, "shape", ()) if env is not None else ()
    if env is None or not shape:
        raise ConfigError("algo_kwargs.action_noise needs an environment whose actions are numbers. Remove it.")
    cls = NormalActionNoise if value["type"] == "normal" else OrnsteinUhlenbeckActionNoise
    noise = cls(np.zeros(shape), np.full(shape, value["std"]))
    return VectorizedActionNoise(noise, env.num_envs) if env.num_envs > 1 else noise
