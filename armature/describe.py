"""The texts of --list-algos, --describe-algo, --dry-run and --create-config."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import EntryPoint
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from armature import __version__, schema
from armature.argument_checks import check_arguments, policy_classes
from armature.arguments import loop_class
from armature.checks import installed_row, missing_module, task_class, wants_hindsight
from armature.combos import Combo, implemented_combos
from armature.config import Config, leaves
from armature.discovery import installed_points
from armature.doors import door, is_sb3
from armature.errors import ConfigError
from armature.hyperparameters import Hyperparameter, hyperparameters
from armature.policies import policies_of
from armature.registry import resolve

_WIDTH = 110

# ------------------------------------------------------------------------------------------------ --list-algos


def list_algos(as_json: bool = False) -> str:
    """Return the table of algorithms; imports none of them."""
    rows = [_algo(algo, framework, row) for algo, rows in implemented_combos.items() for framework, row in rows.items()]
    rows += [_point(point) for point in installed_points() if point.name not in implemented_combos]
    if as_json:
        return json.dumps(rows, indent=2)
    head = ("algo", "train_framework", "class", "policy", "goals", "package", "source")
    lines = [tuple(_cell(column, row) for column in head) for row in rows]
    missing = {f'Missing: {row["package"]}: pip install "{row["install"]}"' for row in rows if row["install"]}
    notes = ["Goals: can replay with hindsight (replay_buffer=her).", *sorted(missing)]
    notes.append("Your own: --algo=file.py:Class, or see docs/extending.md. Try it out: --check-plugin NAME.")
    return "\n".join([*_aligned([head, *lines]), "", *notes])


def _algo(algo: str, framework: str, row: Combo) -> dict[str, Any]:
    missing = missing_module(row) is not None
    return {
        "algo": algo,
        "train_framework": framework,
        "class": _address(row.algo_class),
        "policy": _address(row.policy) if row.policy else None,
        "goals": row.hindsight,
        "package": row.package,
        "version": None if missing else _version(row.package),
        "source": row.source,
        "install": row.install if missing else None,
    }


def _point(point: EntryPoint) -> dict[str, Any]:
    """Return the row of an entry point as far as it can be told without importing it."""
    package, version = (point.dist.name, point.dist.version) if point.dist else (None, None)
    found = importlib.util.find_spec(point.module.partition(".")[0]) is not None
    return {
        "algo": point.name,
        "train_framework": "pytorch",
        "class": point.value,
        "policy": None,
        "goals": None,
        "package": package,
        "version": version,
        "source": "entry point" if found else f"ERROR: there is no module {point.module}",
        "install": None,
    }


def _cell(column: str, row: Mapping[str, Any]) -> str:
    if column == "package":
        return f"{row['package']} {row['version'] or '(missing)'}" if row["package"] else "-"
    if column == "goals":
        return {True: "yes", False: "-", None: "?"}[row["goals"]]
    return row[column] or "by observation"


def _address(item: type | str) -> str:
    return item if isinstance(item, str) else f"{item.__module__}:{item.__qualname__}"


def _version(package: str | None) -> str:
    if package is None:
        return ""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return __version__ if package == "armature" else "(not a package)"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# ------------------------------------------------------------------------------------------------ --describe-algo

_ACTIONS = {
    "any": "continuous or discrete",
    "box": "continuous",
    "discrete": "discrete; continuous ones are made so, see action_levels",
}


_FORMS = """A schedule is {"schedule": "linear", "start": X, "end": Y}, over the whole training.
Noise is {"type": "normal", "std": X} or {"type": "ornstein-uhlenbeck", "std": X}."""


def describe_algo(name: str, framework: str = "pytorch") -> str:
    """Return what an algorithm is, what it can handle, and every hyperparameter. Imports its class."""
    row = installed_row(name, framework)
    cls = resolve(row.algo_class)
    policies = ", ".join(policies_of(cls)) or ", ".join(map(_address, policy_classes(cls, row.policy)))
    facts = [
        ("class", _address(row.algo_class)),
        ("package", f"{row.package} {_version(row.package)}"),
        ("observations", "vectors, images" + (", dicts" if row.dict_observations else "")),
        ("actions", _ACTIONS[row.actions]),
        ("hindsight", "yes, with replay_buffer=her" if row.hindsight else "no"),
        ("policies", policies or "none: it acts by itself"),
    ]
    known = hyperparameters(cls)
    heading = "Hyperparameters, keys of algo_kwargs:" if known else "It has no hyperparameters."
    text = [f"{name} ({framework}): {_summary(cls)}", "", *_aligned(facts), "", heading]
    for item in known.values():
        text += ["", f"  {item.name}: {item.type}, {_defaults(item, row)}"]
        text += textwrap.wrap(item.meaning, _WIDTH, initial_indent="      ", subsequent_indent="      ")
    return "\n".join([*text, "", _FORMS] if known else text)


def describe_network(config: Config) -> str:
    """Return a drawing of an algorithm's network for 10 numbers and 3 actions; empty for what is no SB3 algorithm."""
    from gymnasium import spaces

    from armature.drawing import draw_network
    from armature.making import build_for_replay
    from armature.vec import SpacesOnly

    row = installed_row(config.algo, config.train_framework)
    if not is_sb3(resolve(row.algo_class)):
        return ""
    vector, goal = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,))
    goals: dict[str, spaces.Space[Any]] = {"observation": vector, "achieved_goal": goal, "desired_goal": goal}
    seen = spaces.Dict(goals) if wants_hindsight(config) else vector
    env = SpacesOnly(seen, spaces.Discrete(3) if row.actions == "discrete" else goal, config.num_envs)
    check_arguments(config)
    drawing = draw_network(build_for_replay(env, config, row.policy))
    return "\n".join(["", "Network for 10 numbers and 3 actions:", "", textwrap.indent(drawing, "  ")])


def _summary(cls: type) -> str:
    return next(iter((inspect.getdoc(cls) or cls.__name__).splitlines()))


def _defaults(item: Hyperparameter, row: Combo) -> str:
    text = "required" if item.default is inspect.Parameter.empty else f"default {schema.short(item.default)}"
    return (
        text
        if row.kwargs.get(item.name, item.default) == item.default
        else (f"{schema.short(row.kwargs[item.name])} here, {text} in the class")
    )


# ------------------------------------------------------------------------------------------------ --dry-run


def describe_config(config: Config) -> str:
    """Return every key that is in effect with its value and where that comes from, by section."""
    keys = schema.keys(Config)
    sections = {name: key.section for name, key in keys.items()}
    origins = config.origins
    rows = [
        (sections.get(name) or sections[name.partition(".")[0]], name, schema.short(value), origins[name])
        for name, value in leaves(config.model_dump(exclude=set(config.idle_keys))).items()
    ]
    lines = _aligned([(f"  {name}", value, origin) for _, name, value, origin in rows])
    text: list[str] = []
    for section, members in groupby(zip(rows, lines, strict=True), key=lambda pair: pair[0][0]):
        text += [section, *(line for _, line in members)]
    return "\n".join(text)


# ------------------------------------------------------------------------------------------------ --create-config


class _Entry(NamedTuple):
    name: str
    comment: str
    value: Any = None
    inner: list[Any] | None = None
    """Entries of an object, in place of a value."""


def create_config(config: Config) -> str:
    """Return a complete, commented configuration that describes the same run; imports the algorithm's class."""
    text = [
        "{",
        "  // A complete configuration; what is left out of one keeps its default.",
        "  // Comments begin with //.",
    ]
    entries = {entry.name: entry for entry in _entries(config)}
    sections = {name.partition(".")[0]: key.section for name, key in schema.keys(Config).items()}
    groups = [(section, list(names)) for section, names in groupby(entries, key=lambda name: sections[name])]
    for index, (section, names) in enumerate(groups):
        text += ["", f"  // {'-' * 40} {section}", ""]
        text += _render([entries[name] for name in names], last=index == len(groups) - 1)
    return "\n".join([*text, "}", ""])


def _entries(config: Config) -> Iterator[_Entry]:
    filled = {"algo_kwargs": _algo_entries, "loop_kwargs": _loop_entries}
    filled |= {"task_kwargs": _task_entries, "reward_weights": _weight_entries}
    keys = schema.keys(Config)
    for name, value in config.model_dump(exclude=set(config.idle_keys)).items():
        if name == "policy_kwargs":
            row = installed_row(config.algo, config.train_framework)
            yield _Entry(name, keys[name].meaning, {**row.kwargs.get(name, {}), **value})
        elif name in filled:
            yield _Entry(name, keys[name].meaning, inner=filled[name](config))
        elif name in keys:
            yield _Entry(name, _comment(keys[name]), value)
        else:
            inner = [_Entry(part, _comment(keys[f"{name}.{part}"]), item) for part, item in value.items()]
            yield _Entry(name, str(Config.model_fields[name].description), inner=inner)


def _comment(key: schema.Key) -> str:
    obvious = key.allowed.removesuffix(" or null") in ("text", "an object")
    return key.meaning if obvious else f"{key.meaning} Allowed: {key.allowed}."


def _algo_entries(config: Config) -> list[_Entry]:
    row = installed_row(config.algo, config.train_framework)
    chosen = {**row.kwargs, **config.algo_kwargs}
    chosen.pop("policy_kwargs", None)  # a key of its own
    return _argument_entries(resolve(row.algo_class), chosen)


def _loop_entries(config: Config) -> list[_Entry]:
    cls = resolve(installed_row(config.algo, config.train_framework).algo_class)
    return _argument_entries(loop_class(config.loop), config.loop_kwargs) if door(cls) == "agent" else []


def _argument_entries(cls: type, chosen: Mapping[str, Any]) -> list[_Entry]:
    known = hyperparameters(cls)
    defaults = {name: _json_default(item) for name, item in known.items() if not name.endswith(("_class", "_fn"))}
    values = {**{name: value for name, value in defaults.items() if _is_json(value)}, **chosen}
    return [
        _Entry(name, f"{known[name].type}: {known[name].meaning}".removesuffix(": ") if name in known else "", value)
        for name, value in values.items()
    ]


def _json_default(item: Hyperparameter) -> Any:
    return {} if item.default is None and item.name.endswith("_kwargs") else item.default


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def _task_entries(config: Config) -> list[_Entry]:
    known: dict[str, tuple[Any, str]] = getattr(task_class(config), "parameters", dict)()
    values = {name: default for name, (default, _) in known.items()} | config.task_kwargs
    return [_Entry(name, known.get(name, ("", ""))[1], value) for name, value in values.items()]


def _weight_entries(config: Config) -> list[_Entry]:
    values: Mapping[str, float] = {**getattr(task_class(config), "reward_terms", {}), **config.reward_weights}
    return [_Entry(name, "", value) for name, value in values.items()]


def _render(entries: Sequence[_Entry], indent: str = "  ", last: bool = True) -> list[str]:
    """Return the lines of an object's entries; `last` leaves out the comma after the last one."""
    lines: list[str] = []
    for index, entry in enumerate(entries):
        lines += textwrap.wrap(entry.comment, _WIDTH, initial_indent=f"{indent}// ", subsequent_indent=f"{indent}// ")
        name, comma = f"{indent}{json.dumps(entry.name)}", "" if last and index == len(entries) - 1 else ","
        if entry.inner:
            lines += [f"{name}: {{", *_render(entry.inner, f"{indent}  "), f"{indent}}}{comma}"]
        else:
            lines.append(f"{name}: {json.dumps({} if entry.inner == [] else entry.value)}{comma}")
    return lines


def write_new(path: str | Path, text: str) -> None:
    """Write a file that must not exist yet, into a folder that must."""
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists; nothing is overwritten. Choose another name, or delete it.") from None
    except FileNotFoundError:
        raise ConfigError(f"{path} cannot be written: there is no folder {Path(path).parent}. Make it first.") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be written: {error}.") from None
