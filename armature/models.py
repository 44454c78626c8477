"""Models: saved in folders, loaded again without unpickling.

    save_model(model, run / "final", config)
    loaded = load_model(run)                # of `best`, else `final`, else the newest checkpoint
    actions, state = loaded.predict(observation, deterministic=True)

A folder holds what rebuilds the model as data (`model.json`), so a fresh one is built from that and only numbers are
read from files (`armature.weights`, `armature.state`, `armature.replay`).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from armature.arrays import read_any_arrays
from armature.checkpoints import MANIFEST, is_sound, newest, read_json, settled, verify, write_folder, write_json
from armature.checks import refuse_foreign_imports
from armature.combos import implemented_combos
from armature.config import Config
from armature.episodes import restore_episodes, save_episodes
from armature.errors import ConfigError, PluginError, RunError, UnknownNameError
from armature.evaluation import Evaluation
from armature.making import build_for_replay
from armature.plugins import load_extensions
from armature.policies import find_policy, home
from armature.registry import resolve
from armature.replay import FOLDER, ReplayFiles
from armature.runs import find_run
from armature.schema import short
from armature.state import (
    carried,
    counters,
    load_statistics,
    random_state,
    save_statistics,
    set_carried,
    set_counters,
    set_random_state,
    space_from_json,
    space_to_json,
)
from armature.vec import SpacesOnly, normalized
from armature.weights import jax_arrays, load_weights, no_more_weights_than, refuse_diverged

log = logging.getLogger(__name__)

# ---------------------------------------------------------------------------------------------- saving


def save_model(model: Any, folder: Path, config: Config, evaluation: Evaluation | None = None) -> Path:
    """Save a model for replay; return the folder, which is the old one or the new one whatever happens.

    Raises `DivergedError` for a model whose weights are not finite.

    Args:
        model: the model.
        folder: is made, or replaced.
        config: what the model was made from.
        evaluation: what is known of the model's worth, kept in `model.json`.
    """
    return write_folder(folder, model.num_timesteps, lambda draft: _write(model, draft, config, evaluation))


def save_checkpoint(
    model: Any, folder: Path, config: Config, callbacks: Mapping[str, Any], replay: ReplayFiles | None
) -> Path:
    """Save a model between two rollouts, so that training goes on from there as if it had never been interrupted.

    Args:
        model: the model, in training.
        folder: is made.
        config: what the model was made from.
        callbacks: their states by name, as JSON values.
        replay: writes the replay buffer; None leaves it out.
    """
    if getattr(model, "replay_buffer", None) is None:
        replay = None
    earlier = replay.earlier() if replay else None

    def write(draft: Path) -> None:
        _write(model, draft, config, None)
        if replay:
            replay.save(model, draft, earlier)
        np.savez(draft / "carried.npz", **carried(model))  # type: ignore[arg-type]
        state = {"random": random_state(model), "callbacks": callbacks, "num_envs": model.n_envs}
        state |= save_episodes(model, draft)
        write_json(draft / "state.json", state)

    write_folder(folder, model.num_timesteps, write, earlier)
    if replay:
        replay.saved(model, folder)
    return folder


@dataclass(frozen=True)
class RolloutStart:
    """What a rollout begins with besides what was there before `learn`: random states, and what is carried over."""

    random: Mapping[str, Any]
    carried: Mapping[str, np.ndarray]

    def put_into(self, model: Any) -> None:
        """Let the rollout that begins be the one that began after the checkpoint."""
        if self.carried:
            set_carried(model, self.carried)
        set_random_state(model, self.random)


def _write(model: Any, folder: Path, config: Config, evaluation: Evaluation | None) -> None:
    refuse_diverged(model)
    own = model.get_state() if hasattr(model, "get_state") else {}
    own_arrays = {name: value for name, value in own.items() if isinstance(value, np.ndarray)}
    description = {
        "algo": config.algo,
        "train_framework": config.train_framework,
        "policy": home(type(model.policy)),
        "observation_space": space_to_json(model.observation_space),
        "action_space": space_to_json(model.action_space),
        "counters": counters(model),
        "evaluation": evaluation.to_dict() if evaluation else None,
        "demonstrations": _demonstrations_of(model),
        "state": {name: value for name, value in own.items() if name not in own_arrays},
        "config": config.model_dump(exclude=set(config.idle_keys)),
    }
    write_json(folder / "model.json", description)
    model.save(folder / getattr(model, "file_name", "model.zip"))
    if arrays := jax_arrays(model):
        np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]
    if own_arrays:
        np.savez(folder / "state.npz", **own_arrays)  # type: ignore[arg-type]
    if (statistics := model.get_vec_normalize_env()) is not None:
        save_statistics(statistics, folder / "normalization.npz")


def _demonstrations_of(model: Any) -> str | None:
    """Return the SHA-256 of the demonstrations that a model learns from."""
    return getattr(getattr(model, "replay_buffer", None), "fingerprint", None)


# ---------------------------------------------------------------------------------------------- finding and loading


@dataclass(frozen=True)
class Player:
    """A model that acts on observations as environments give them: it normalises them first, if it was trained so."""

    model: Any
    """The SB3 model; its own `predict` expects normalised observations if the run normalised them."""

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Return the actions for observations, and the state of a recurrent policy."""
        if (statistics := self.model.get_vec_normalize_env()) is not None:
            observation = statistics.normalize_obs(observation)
        return self.model.predict(observation, state, episode_start, deterministic)


@dataclass(frozen=True)
class LoadedModel(Player):
    """A trained model and where it comes from."""

    config: Config
    folder: Path
    step: int
    """Environment steps that it was trained for."""

    @property
    def run(self) -> Path:
        """The run folder that the model's folder is in."""
        parent = self.folder.parent
        return parent.parent if parent.name == "checkpoints" else parent


def find_model(path: str | Path | None = None, logdir: str | Path = "trained_models") -> Path:
    """Return the model folder that a path means.

    Args:
        path: a model folder, or a run folder, which means its `best`, else its `final`, else its newest checkpoint;
            None means the newest run in `logdir`.
        logdir: where runs are.
    """
    if path is not None and (folder := settled(Path(path))) and (folder / MANIFEST).is_file():
        return folder
    run = find_run(path, logdir)
    for name in ("best", "final"):
        if (folder := settled(run / name)) and is_sound(folder):
            return folder
    return newest(run)


def load_model(
    path: str | Path | None = None,
    device: str = "cpu",
    allow_import: Collection[str] = (),
    policy: type | None = None,
) -> LoadedModel:
    """Load a model for replay. Nothing is unpickled, and no module is imported that only the folder names.

    Building it seeds the process's random generators, as SB3 does.

    Args:
        path: as for `find_model`.
        device: where its networks shall live.
        allow_import: plugins and class addresses of the folder's config that may be imported.
        policy: the class of its policy, for one that is no longer where the folder says.

    Raises:
        RunError: there is no model, it is damaged, or its weights are of another one.
        PluginError: its config names code that is neither registered nor allowed.
    """
    folder = find_model(path)
    manifest, description = verify(folder), _read_description(folder)
    config = _config_of(description, folder).model_copy(
        update={"device": device, **({"policy": None} if policy else {})}
    )
    refuse_foreign_imports(config, allow_import)
    load_extensions(config)
    env: VecEnv = SpacesOnly(*_spaces_of(description), num_envs=config.num_envs)
    policy = policy or _policy_of(config, description)
    model = _build_from(folder, normalized(env, training=False) if config.normalize else env, config, policy)
    load_weights(model, folder, optimizers=False)
    _restore_own_state(model, folder, description)
    _restore_statistics(model, folder)
    return LoadedModel(model, config, folder, manifest["step"])


def load_pretrained(model: Any, path: str | Path) -> None:
    """Start a fresh model from the weights, and the statistics, of a saved one; counters and optimizers stay fresh."""
    folder = find_model(path)
    verify(folder)
    description = _read_description(folder)
    _check_spaces(model, description, folder)
    try:
        load_weights(model, folder, optimizers=False)
    except RunError as error:
        stored, given = description["config"].get("policy_kwargs"), getattr(model, "policy_kwargs", None)
        raise RunError(
            f"{error} It was trained as {description.get('policy')} with policy_kwargs {short(stored)}; this model is "
            f"{home(type(model.policy))} with {given}."
        ) from error
    if hasattr(model, "load_file"):  # what it has learned may stand in its own state
        _restore_own_state(model, folder, description)
    _restore_statistics(model, folder)


def restore_model(model: Any, folder: Path, replay: ReplayFiles | None = None) -> tuple[dict[str, Any], RolloutStart]:
    """Bring a fresh model and its environments to where a checkpoint was saved.

    Args:
        model: built from the same configuration, and not used yet.
        folder: the checkpoint.
        replay: reads the replay buffer, and will not write again what stands in the checkpoint.

    Returns:
        The states of the callbacks by name, and what the first rollout begins with: call its `put_into` there.
    """
    verify(folder)
    description, state = _read_description(folder), read_json(folder / "state.json")
    if not isinstance(state, dict) or not {"random", "episodes", "callbacks"} <= set(state):
        raise RunError(f"{folder / 'state.json'} is no state of a training.")
    _check_spaces(model, description, folder)
    load_weights(model, folder, optimizers=True)
    set_counters(model, description["counters"])
    _restore_own_state(model, folder, description)
    _restore_statistics(model, folder)
    if description.get("demonstrations") != _demonstrations_of(model):
        log.warning("demonstrations.path holds other demonstrations than when %s was saved", folder)
    same_envs = state.get("num_envs") == model.n_envs
    if same_envs and (folder / FOLDER).is_dir():
        (replay or ReplayFiles()).load(model, folder)
    elif getattr(model, "replay_buffer", None) is not None:
        log.warning(
            "the checkpoint holds no replay buffer: it is filled anew for %d steps first", model.learning_starts
        )
        model.learning_starts += model.num_timesteps
    if not same_envs:
        log.warning("episodes begin anew: %s has %s environments", folder, state.get("num_envs"))
        return state["callbacks"], RolloutStart(state["random"], {})
    restore_episodes(model, folder, state)
    start = RolloutStart(state["random"], read_any_arrays(folder / "carried.npz"))
    set_carried(model, start.carried, whole=False)  # loops look at some of it before the first rollout
    return state["callbacks"], start


def _read_description(folder: Path) -> dict[str, Any]:
    description = read_json(folder / "model.json")
    needed = ("observation_space", "action_space", "counters", "config", "state")
    if not isinstance(description, dict) or not all(isinstance(description.get(key), dict) for key in needed):
        raise RunError(f"{folder / 'model.json'} is no description of a model.")
    return description


def _config_of(description: Mapping[str, Any], folder: Path) -> Config:
    try:
        return Config.model_validate(description["config"])
    except ConfigError as error:
        raise RunError(
            f"{folder / 'model.json'} holds a config that this version does not understand: {error}"
        ) from error


def _spaces_of(description: Mapping[str, Any]) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    return space_from_json(description["observation_space"]), space_from_json(description["action_space"])


def _policy_of(config: Config, description: Mapping[str, Any]) -> Any:
    """Return the policy that a config or its row names; None if it names none."""
    row = implemented_combos[config.algo][config.train_framework]
    try:
        named = config.policy or row.policy
        return named and find_policy(resolve(row.algo_class), named, config.policy_kwargs.get("net_arch"))
    except (UnknownNameError, PluginError) as error:
        raise RunError(
            f"the policy of this model cannot be found: {error} In training it was {description.get('policy')}. Put it "
            "back, or pass the class in Python: load_model(path, policy=MyPolicy)."
        ) from error


def _build_from(folder: Path, env: VecEnv, config: Config, policy: Any) -> Any:
    """Build the model that a folder describes, no larger than the weights that it brings along."""
    weights = folder / "model.zip"
    size = 4 * weights.stat().st_size + (1 << 16) if weights.is_file() else 1 << 40
    try:
        with no_more_weights_than(size):
            return build_for_replay(env, config, policy)
    except (MemoryError, OverflowError, RuntimeError, TypeError, ValueError, AssertionError, RunError) as error:
        raise RunError(f"{folder / 'model.json'} describes no model that can be built: {error}") from error


def _restore_own_state(model: Any, folder: Path, description: Mapping[str, Any]) -> None:
    """Hand an algorithm back what its `get_state` gave."""
    if hasattr(model, "set_state"):
        path = folder / "state.npz"
        model.set_state({**description["state"], **(read_any_arrays(path) if path.is_file() else {})})


def _restore_statistics(model: BaseAlgorithm, folder: Path) -> None:
    """Restore what observations are normalised with; raise `RunError` if only one side normalises them."""
    statistics, path = model.get_vec_normalize_env(), folder / "normalization.npz"
    if (statistics is not None) != path.is_file():
        wanted = str(path.is_file()).lower()
        raise RunError(f"{folder} fits only a run whose key normalize is {wanted}.")
    if statistics is not None:
        load_statistics(statistics, path)


def _check_spaces(model: BaseAlgorithm, description: Mapping[str, Any], folder: Path) -> None:
    for name, ours in (("observation_space", model.observation_space), ("action_space", model.action_space)):
        if description[name] != space_to_json(ours):
            raise RunError(
                f"{folder} was trained with another {name.replace('_', ' ')}: {space_from_json(description[name])}; "
                f"this configuration makes {ours}."
            )
