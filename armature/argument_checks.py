"""Whether a configuration's arguments can be right for the classes they are meant for; nothing is built."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from armature.arguments import build_policy_kwargs, loop_class
from armature.combos import implemented_combos
from armature.doors import check_definition, door
from armature.errors import ConfigError, closest
from armature.hyperparameters import (
    RANGES,
    SET_BY_RUN,
    Hyperparameter,
    arguments_of,
    hyperparameters,
    is_schedule,
    takes_argument,
)
from armature.old_keys import OLD_ARGUMENTS
from armature.policies import STOCK, find_policy, policies_of, require_findable
from armature.registry import resolve
from armature.schema import short

if TYPE_CHECKING:
    from armature.config import Config

log = logging.getLogger(__name__)

RENAMED = {
    **{"act_fun": "activation_fn", "layers": "net_arch", "cnn_extractor": "features_extractor_class"},
    "feature_extraction": 'the key "policy", "MlpPolicy" or "CnnPolicy",',
    **{"n_lstm": "lstm_hidden_size", "lstm_hidden_size": "n_lstm"},
}
"""Arguments that other policies have, or that SB3's predecessor had, and what is used in their place."""
_JSON_TYPES: dict[str, Any] = {
    **{"bool": bool, "int": int, "float": (int, float), "str": str},
    **{"list": list, "dict": Mapping, "None": NoneType, "NoneType": NoneType},
}


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


def check_parameters(path: str, cls: type, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for a parameter that an agent or a loop does not declare, or of another type."""
    known = hyperparameters(cls)
    _check_names(path, known, values)
    for name, value in values.items():
        if not _accepts(known[name].annotation, value):
            raise ConfigError(f"{path}.{name} is {short(value)}; allowed: {known[name].type}.")


def check_algo_kwargs(cls: type, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument that the algorithm class has not, or that cannot be right."""
    if door(cls) == "agent":
        return check_parameters("algo_kwargs", cls, values)
    known, takes_others = arguments_of(cls)
    if not takes_others:
        _check_names("algo_kwargs", known, values)
    if hasattr(cls, "settings_class"):
        from armature.trainers.settings import checked

        checked(cls.settings_class, values)
        return
    for name, value in values.items():
        if name in known:
            _check_value(f"algo_kwargs.{name}", known[name], value)
        else:
            log.warning("algo_kwargs.%s is not checked: %s takes any argument", name, cls.__name__)


def check_policy_kwargs(cls: type, policy: str | type | None, values: Mapping[str, Any]) -> None:
    """Raise `ConfigError` for an argument that the policy class has not, or that cannot be right.

    Args:
        cls: the algorithm class, whose names of policies count.
        policy: a name of a policy, an address or a class; None allows what any policy takes that may be chosen.
        values: the configuration's `policy_kwargs`.
    """
    found = [arguments_of(policy_class) for policy_class in policy_classes(cls, policy, values.get("net_arch"))]
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
    known, takes_others = arguments_of(cls)
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
    if is_schedule(annotation):
        return callable(value)
    if origin is type:
        return isinstance(value, (str, type))
    # By name, since annotations that could not be evaluated are text.
    name = "None" if annotation is None else getattr(origin or annotation, "__name__", str(annotation))
    if isinstance(value, bool):
        return name == "bool" or name not in _JSON_TYPES
    return isinstance(value, _JSON_TYPES.get(name, object))
