"""Hyperparameters: what a class can be told, read from its constructor, its settings, or the defaults it declares."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin

from pydantic_core import to_jsonable_python

from armature.errors import PluginError
from armature.schema import short

if TYPE_CHECKING:
    pass

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
    return arguments_of(cls)[0]


def takes_others(cls: type) -> bool:
    """Return whether a class takes arguments that it does not name, which nobody can check."""
    return arguments_of(cls)[1]


def arguments_of(cls: type) -> tuple[dict[str, Hyperparameter], bool]:
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
    if is_schedule(annotation):
        return "schedule"
    if origin is type:
        return "class"
    if getattr(annotation, "__name__", "") == "ActionNoise":
        return "noise"
    return getattr(origin or annotation, "__name__", str(annotation))


def is_schedule(annotation: Any) -> bool:
    """Return whether a type is that of a value that changes with progress: a function of it."""
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
