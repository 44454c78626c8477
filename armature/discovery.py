"""Where an algorithm comes from that is not in the table: an address, or an entry point of an installed package.

An entry point of the group `armature.algos` reads `name = package.module:thing`. The thing is a `Combo`, a class, or a
function that returns one of them or the pair `({name: TrainerClass}, {name: SettingsClass})`. Only the entry point of
the name that is asked for is imported.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from armature.combos import Combo, combo_of, implemented_combos, register
from armature.doors import check_definition, where
from armature.errors import ConfigError, PluginError, UnknownNameError
from armature.old_keys import answer
from armature.plugins import registering
from armature.registry import is_address, resolve

GROUP = "armature.algos"
"""The group of entry points that bring algorithms."""

SHIPPED = {name: "pip install -e examples/trainer_plugin" for name in ("plugin_a2c", "plugin_dqn")}
"""Algorithms of the packages in examples/, and how to install them."""


def find_algo(algo: str, framework: str = "pytorch") -> None:
    """See to it that the table has rows for an algorithm.

    Args:
        algo: a name in the table, an address `"file.py:Class"` or `"package.module:Class"`, or an entry point's name.
        framework: under which a class that is given by its address is entered.

    Raises:
        UnknownNameError: nothing has that name; the message says what is near, and how to get what is known of.
        PluginError: it is there but cannot be loaded, or is nothing that trains; with the plugin's own traceback.
        ConfigError: several have that name.
    """
    if is_address(algo):
        if algo not in implemented_combos:
            _register_address(algo, framework)
        return
    points = _points(algo)
    _refuse_doubles(algo, points)
    if algo in implemented_combos:
        return
    if not points:
        raise _unknown(algo)
    point = points[0]
    with registering(_source(point), f"algo {algo!r}: {_source(point)} failed to load"):
        combo = row_of(algo, resolve(f"{point.module}:{point.attr}"))
    package = point.dist.name if point.dist else None
    register(algo, "pytorch", dataclasses.replace(combo, package=combo.package or package, source=_source(point)))


def installed_points() -> list[EntryPoint]:
    """Return the entry points of all installed packages, by name; nothing is imported."""
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _points(name: str) -> list[EntryPoint]:
    """Return the different entry points of a name; an editable installation may list one twice."""
    return list({(point.value, _package(point)): point for point in entry_points(group=GROUP, name=name)}.values())


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unnamed package"


def _source(point: EntryPoint) -> str:
    return f"entry point {point.value} of {_package(point)}"


def _register_address(algo: str, framework: str) -> None:
    with registering(algo.rpartition(":")[0], f"algo {algo!r} failed to load"):
        thing = resolve(algo)
        register(algo, framework, row_of(algo, thing))


def _refuse_doubles(algo: str, points: list[EntryPoint]) -> None:
    owners = [_source(point) for point in points]
    if algo in implemented_combos and owners:
        rows = implemented_combos[algo].values()
        owners += [f"{where(row.algo_class)} (from {row.source})" for row in rows if row.source not in owners]
    if len(owners) > 1:
        raise ConfigError(
            f"algo {algo!r} is the name of several: {'; '.join(owners)}. "
            "Uninstall or rename all but one, or choose one by its address, 'package.module:Class'."
        )


def row_of(name: str, thing: Any) -> Combo:
    """Return the row that an entry point or an address stands for; raise `PluginError` if it stands for none."""
    if callable(thing) and not isinstance(thing, type):
        _refuse_arguments(name, thing)
        thing = thing()
    if _is_pair(thing):
        thing = _trainer(name, *thing)
    if isinstance(thing, type):
        check_definition(thing, name)
        return Combo(thing, actions=getattr(thing, "actions", "any"))
    if isinstance(thing, (Combo, list, tuple)):
        return combo_of(thing, f"algo {name!r}")
    raise PluginError(
        f"algo {name!r} stands for {thing!r}; allowed: a class, a Combo, or a function that returns one of them or the "
        "pair ({name: TrainerClass}, {name: SettingsClass})."
    )


def _refuse_arguments(name: str, function: Any) -> None:
    """Raise `PluginError` if a function cannot be called without arguments, as a method of a class cannot."""
    try:
        inspect.signature(function).bind()
    except ValueError:  # written in C, without a signature
        return
    except TypeError as error:
        raise PluginError(
            f"algo {name!r} stands for {function!r}, which is called without arguments: {error}. "
            "Write a function of the module, or put @staticmethod above the method."
        ) from None


def _is_pair(thing: Any) -> bool:
    return isinstance(thing, (list, tuple)) and len(thing) == 2 and all(isinstance(part, Mapping) for part in thing)


def _trainer(name: str, trainers: Mapping[Any, Any], settings: Mapping[Any, Any]) -> type:
    """Return the trainer class of a pair of dicts, tied to its settings; the names must all be one."""
    for what, part in (("trainer", trainers), ("settings", settings)):
        if name not in part:
            raise PluginError(
                f"algo {name!r}: the dict of {what} classes has the keys {list(part)!r}, and the entry point's name is "
                f"{name!r}. Use the one name in both."
            )
    cls, settings_class = trainers[name], settings[name]
    if isinstance(cls, type):
        own = vars(cls).get("settings_class", settings_class)
        if own is not settings_class:
            raise PluginError(
                f"algo {name!r}: settings_class of {where(cls)} is {own!r}, and its entry point gives "
                f"{settings_class!r}. Give one of them."
            )
        cls.settings_class = settings_class  # type: ignore[attr-defined]
    check_definition(cls, name)
    told = getattr(cls, "get_trainer_name", lambda: name)()
    if told != name:
        raise PluginError(f"algo {name!r}: get_trainer_name() of {where(cls)} returns {told!r}. Return {name!r}.")
    return cls


def _unknown(algo: str) -> UnknownNameError:
    """Return the error for a name that nothing has."""
    known = {*implemented_combos, *(point.name for point in installed_points())}
    remedy = "See them with: python train.py --list-algos"
    if algo in SHIPPED:
        remedy = f"It is not installed. Install it with: {SHIPPED[algo]}"
    elif old := answer(algo):
        remedy = f"It {old}"
    elif os.path.exists(algo) or algo.endswith(".py"):
        remedy = f"To train a class of that file, write {algo}:CLASS."
    error = UnknownNameError("algo", algo, known, remedy)
    error.args = (f"Invalid trainer type {algo!r} was found: {error}",)
    return error
