"""What can be told of a configuration before anything is built: names, impossible pairs, missing packages."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from armature.combos import Combo, implemented_combos
from armature.config import GENERAL_ENV, NAMESPACE, Config
from armature.errors import ConfigError, PluginError, closest
from armature.registry import ADDRESS, quantities, resolve, robot_actions, robots, tasks, workspaces

_NAMED = {"robot_action": robot_actions, "task_type": tasks}
_SCENE_CHECK = "armature.envs.scenery:check"
_OBSERVATION_CHECK = "armature.envs.observations:selected_parts"


def check(config: Config) -> None:
    """Raise `ConfigError` for what cannot run: after `load_extensions`; torch and PyBullet stay unloaded."""
    row = installed_row(config.algo, config.train_framework)
    _check_replay(row, config)
    _check_environment(config)


def installed_row(algo: str, framework: str) -> Combo:
    """Return a row of the table whose class is there to be imported; raise `ConfigError` if it is not."""
    row = implemented_combos[algo][framework]
    missing = missing_module(row)
    if missing and row.install:
        raise ConfigError(
            f"algo {algo!r} with train_framework {framework!r} needs the package {row.package}, which is not "
            f'installed. Install it with: pip install "{row.install}"'
        )
    if missing:
        raise PluginError(f"algo {algo!r} (from {row.source}) is {row.algo_class}, but {missing} is not there.")
    return row


def missing_module(row: Combo) -> str | None:
    """Return the top-level module, or file, of a row's class if it is not there; nothing is imported."""
    if not isinstance(row.algo_class, str):
        return None
    module = row.algo_class.rpartition(":")[0]
    if module.endswith(".py"):
        return None if Path(module).expanduser().is_file() else module
    top = module.partition(".")[0]
    return None if top and importlib.util.find_spec(top) else top or row.algo_class


def _check_replay(row: Combo, config: Config) -> None:
    form = config.observation.form
    if config.replay_buffer == "her" and not row.hindsight:
        able = ", ".join(algo for algo, rows in implemented_combos.items() if _can_replay(rows, config))
        raise ConfigError(
            f'replay_buffer is "her", but algo {config.algo!r} with train_framework {config.train_framework!r} cannot '
            f"replay with hindsight. These can: {able}."
        )
    if "her" in (config.replay_buffer, row.replay_buffer) and form == "flat":
        raise ConfigError('observation.form is "flat", but hindsight needs the goal apart. Use "goal" or "auto".')
    if form == "goal" and not row.dict_observations:
        raise ConfigError(
            f'observation.form is "goal", but algo {config.algo!r} with train_framework {config.train_framework!r} '
            'takes no dict observations. Use "flat" or "auto".'
        )


def _can_replay(rows: Mapping[str, Combo], config: Config) -> bool:
    row = rows.get(config.train_framework)
    return row is not None and row.hindsight


def _check_environment(config: Config) -> None:
    idle = [name for name in config.idle_keys if config.given(name)]
    if idle:
        fixed = (
            "is fixed by it" if config.env_name.startswith(NAMESPACE) else f"describes {NAMESPACE} environments only"
        )
        raise ConfigError(
            f"env_name is {config.env_name!r}, and {idle[0]} {fixed}. Remove {', '.join(idle)}, or use {GENERAL_ENV}."
        )
    import gymnasium  # here, so that --help need not wait for it

    registry = gymnasium.registry
    if config.env_name not in registry:
        guess = closest(config.env_name, registry) or "."
        ours = ", ".join(name for name in registry if name.startswith(NAMESPACE))
        raise ConfigError(
            f"unknown env_name {config.env_name!r}{guess} Known: {ours}; and every id of Gymnasium. "
            'Those of another package appear when "plugins" names it.'
        )
    for name, table in _NAMED.items():
        if name not in config.idle_keys:
            _ = table[getattr(config, name)]  # explains an unknown name
    if "workspace" not in config.idle_keys:
        workspaces.find(config.workspace)
    for name, sampler in config.randomize.items():
        resolve(quantities[name]).read(name, sampler)
    task = task_class(config)
    if hasattr(task, "check"):
        task.check(config.task_kwargs, config.reward_weights)
    if task is not None:
        robot, task_name = _fixed(config, "robot") or config.robot, _fixed(config, "task") or config.task_type
        description = robots.find(robot)
        description.check(robot, task_name)
        resolve(robot_actions[config.robot_action]).check(
            task=task_name,
            robot=robot,
            has_gripper=description.gripper is not None,
            robot_action=config.robot_action,
            gripper_action=config.gripper_action,
        )
        resolve(_SCENE_CHECK)(task, config.task_objects, config.distractors, config.clutter)
        _check_observation(installed_row(config.algo, config.train_framework), config, task)


def wants_hindsight(config: Config) -> bool:
    """Whether the config replays with hindsight, which needs goal observations."""
    row = implemented_combos[config.algo][config.train_framework]
    return "her" in (config.replay_buffer, row.replay_buffer)


def observation_form(config: Config) -> str:
    """Return the form of robot observations: `flat` or `goal`, chosen by the replay if the config leaves it open."""
    form = config.observation.form
    return form if form != "auto" else "goal" if wants_hindsight(config) else "flat"


def _check_observation(row: Combo, config: Config, task: Any) -> None:
    wanted = config.observation.model_copy(update={"form": observation_form(config)})
    own = (*task.parts, *resolve(robot_actions[config.robot_action]).parts)
    parts = resolve(_OBSERVATION_CHECK)(wanted, own, config.distractors)
    pictures = [name for camera in wanted.cameras for name in camera.pictures]
    if pictures and (parts or len(pictures) > 1) and not row.dict_observations:
        raise ConfigError(
            f"observation.cameras beside parts, or several of them, make a dict, and algo {config.algo!r} takes none. "
            "Keep one camera and set observation.parts to [], or choose another algo."
        )


def task_class(config: Config) -> Any:
    """Return the task's class, or None for an environment that is not ours."""
    if not config.env_name.startswith(NAMESPACE):
        return None
    return resolve(tasks[_fixed(config, "task") or config.task_type])


def _fixed(config: Config, argument: str) -> str | None:
    """Return an argument that the config's environment id fixes, if it does."""
    import gymnasium

    value: str | None = gymnasium.registry[config.env_name].kwargs.get(argument)
    return value


# Classes that are only ever built as parts of a network; whatever else a run folder names needs its user's consent.
_HARMLESS = re.compile(
    r"(torch\.nn|torch\.optim|stable_baselines3\.common\.torch_layers|flax\.linen|optax):[A-Za-z]\w*"
)


def named_imports(config: Config) -> list[str]:
    """Return the modules and addresses of code that a configuration names, parts of networks aside."""
    keys = {"algo", "loop", "policy", "policy_kwargs", "algo_kwargs", "task_kwargs", "env_kwargs"}
    places = config.model_dump(include=keys)
    named = [*config.plugins, *(text for text in _texts(places) if ADDRESS.fullmatch(text))]
    return [name for name in dict.fromkeys(named) if not _HARMLESS.fullmatch(name)]


def foreign_imports(config: Config) -> list[str]:
    """Return the modules and addresses a configuration names that are no part of an installed plugin."""
    from importlib.metadata import entry_points

    foreign = named_imports(config)
    installed = {point.module for point in entry_points(group="armature.algos")} if foreign else set()
    return [name for name in foreign if name.partition(":")[0] not in installed]


def refuse_foreign_imports(config: Config, allowed: Collection[str]) -> None:
    """Raise `PluginError` if the configuration of a run folder, perhaps a stranger's, would import code.

    What is registered, and modules of installed entry points, may be named; `allowed` holds what the user consents to.
    """
    if refused := [name for name in foreign_imports(config) if name not in allowed]:
        raise PluginError(
            f"this run's config.json would import code: {', '.join(refused)}. "
            f"If you trust it, add: {consent_flags(refused)}"
        )


def consent_flags(names: Iterable[str]) -> str:
    """Return the flags that let a run folder import these modules and addresses."""
    return " ".join(f"--allow-import {name}" for name in names)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
