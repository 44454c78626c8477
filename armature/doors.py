"""What kind of class somebody brought, and what is wrong with it.

| door | the class |
| --- | --- |
| `algorithm` | has `learn`, `predict`, `save` and `load`: any subclass of an SB3 algorithm, or a class of its own |
| `trainer` | derives from `OnPolicyTrainer` or `OffPolicyTrainer` |
| `agent` | has `get_default_parameters`, `act`, `memorize` and `update` |

Classes are looked at, never called, and nothing heavy is imported.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from armature.errors import PluginError

Door = Literal["algorithm", "trainer", "agent"]


class Call(NamedTuple):
    """How a method is called."""

    positional: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    on_class: bool = False
    """Whether it is called on the class: a static method or a class method."""

    def __str__(self) -> str:
        return f"({', '.join((*self.positional, *(f'{name}=...' for name in self.keywords)))})"


CALLS: dict[Door, dict[str, Call]] = {
    "agent": {
        "get_default_parameters": Call(on_class=True),
        "act": Call(("state", "episode_num")),
        "memorize": Call(("last_ob", "action", "reward", "done", "ob")),
        "update": Call(("episode_num",)),
    },
    "trainer": {
        "create_policy": Call(("observation_space", "action_space")),
        "create_optimizer": Call(),
        "_process_trajectory": Call(("trajectory",)),
        "_update_policy": Call(),
        "_is_ready_update": Call(),
        "learn": Call((), ("total_timesteps", "callback")),
    },
    "algorithm": {
        "learn": Call((), ("total_timesteps", "callback")),
        "predict": Call(("observation",), ("deterministic",)),
        "save": Call(("path",)),
        "load": Call(("path",), on_class=True),
    },
}
"""What a class of each door must have, and how it is called."""


def door(cls: type) -> Door:
    """Return which door a class is meant for, be it complete or not."""
    if any(base.__module__.startswith("armature.trainers.") for base in cls.__mro__):
        return "trainer"
    if any(base.__module__ == "armature.agents" for base in cls.__mro__):
        return "agent"
    agent_like, algorithm_like = (sum(hasattr(cls, name) for name in CALLS[kind]) for kind in ("agent", "algorithm"))
    return "agent" if agent_like > algorithm_like else "algorithm"


def is_sb3(cls: type) -> bool:
    """Return whether a class derives from SB3's `BaseAlgorithm`; SB3 is not imported to find out."""
    return any(f"{base.__module__}.{base.__name__}" == _SB3_BASE for base in cls.__mro__)


_SB3_BASE = "stable_baselines3.common.base_class.BaseAlgorithm"


def where(cls: type | str) -> str:
    """Return a class's name with the file it stands in, or its address."""
    if isinstance(cls, str):
        return cls
    try:
        return f"{cls.__module__}:{cls.__qualname__} in {inspect.getfile(cls)}"
    except (OSError, TypeError):  # defined in a prompt
        return f"{cls.__module__}:{cls.__qualname__}"


def check_definition(cls: Any, name: str) -> None:
    """Raise `PluginError` with everything a class lacks for training under a name."""
    if not isinstance(cls, type):
        hint = " Write the class, not an instance or a function of it." if callable(cls) else ""
        raise PluginError(f"algo {name!r} is {cls!r}, which is no class.{hint}")
    if faults := list(definition_faults(cls)):
        kind = door(cls)
        raise PluginError(
            f"algo {name!r}: {where(cls)} cannot be used as {'an' if kind[0] == 'a' else 'a'} {kind}:\n"
            + "\n".join(f"  - {fault}" for fault in faults)
            + "\nSee docs/extending.md for what each kind of class must have."
        )


def definition_faults(cls: type) -> Iterator[str]:
    """Yield what a class lacks, a sentence each."""
    kind = door(cls)
    abstract = sorted(getattr(cls, "__abstractmethods__", ()))
    if abstract:
        yield f"it leaves abstract: {', '.join(abstract)}. Define {'it' if len(abstract) == 1 else 'them'}."
    for name, call in CALLS[kind].items():
        if name not in abstract:
            yield from _method_faults(cls, name, call)
    if kind == "algorithm" and is_sb3(cls):
        yield from _method_faults(cls, "__init__", Call((), ("policy", "env")))
    if kind == "trainer":
        yield from _settings_faults(cls)


def _method_faults(cls: type, name: str, call: Call) -> Iterator[str]:
    method = inspect.getattr_static(cls, name, None)
    if method is None:
        yield f"it has no method {name}{call}."
        return
    bound_to_class = isinstance(method, (staticmethod, classmethod))
    if call.on_class and not bound_to_class:
        yield f"{name} is called on the class: put @staticmethod or @classmethod above it."
        return
    function = getattr(cls, name)
    if not callable(function):
        yield f"{name} is {function!r}; it must be a method {name}{call}."
        return
    try:
        signature = inspect.signature(function)
        signature.bind(*([] if bound_to_class else [None]), *call.positional, **dict.fromkeys(call.keywords))
    except TypeError as error:
        yield f"{name}{_shown(function)} cannot be called as {name}{call}: {error}."
    except ValueError:  # written in C, without a signature
        return


def _shown(function: Any) -> str:
    return str(inspect.signature(function))


def _settings_faults(cls: type) -> Iterator[str]:
    from pydantic import BaseModel

    settings = getattr(cls, "settings_class", None)
    if not (isinstance(settings, type) and issubclass(settings, BaseModel)):
        yield f"settings_class is {settings!r}; it must be a class derived from OnPolicySettings or OffPolicySettings."
