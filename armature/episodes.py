"""The episodes that are under way, in a checkpoint: which they are, and what the environments were told in them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecNormalize, unwrap_vec_wrapper

from armature.arrays import Arrays, read_any_arrays
from armature.errors import RunError
from armature.journal import EpisodeState
from armature.journaled_vec_env import JournaledVecEnv
from armature.vec import EpisodeLog

log = logging.getLogger(__name__)

FILE = "episodes.npz"
"""Numbers (n_envs,) of the episodes, lengths (n_envs,) so far, and the actions of one environment after the other."""


def save_episodes(model: Any, folder: Path) -> dict[str, Any]:
    """Write the episodes of a model's environments to a folder; return what else belongs to them, as JSON values.

    Environments that keep no journal, which `make_vec_env` never makes, begin anew after a resume.
    """
    if not isinstance(model.env.unwrapped, JournaledVecEnv):
        return {"episodes": None}
    states = model.env.unwrapped.episode_states()
    np.savez(
        folder / FILE,
        numbers=np.array([state.episode for state in states]),
        lengths=np.array([len(state.actions) for state in states]),
        actions=np.concatenate([state.actions for state in states]),
    )
    episodes = _episode_log(model.env)
    return {"episodes": episodes.get_state(), "seen": fingerprint(episodes.last_step[:1])}


def restore_episodes(model: Any, folder: Path, state: Mapping[str, Any]) -> None:
    """Bring the environments of a fresh model to where `save_episodes` found them, by playing their episodes again.

    Says so if they show something else than they did.
    """
    if state["episodes"] is None:
        return
    env, path = model.env, folder / FILE
    found = read_any_arrays(path)
    try:
        env.unwrapped.resume_with(_states(found, env))
        model._last_obs = _reset(env)
        _episode_log(env).set_state(state["episodes"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise RunError(f"{path} does not hold the episodes of {env.num_envs} environments: {error}.") from error
    if model.get_vec_normalize_env() is not None:
        model._last_original_obs = model.get_vec_normalize_env().get_original_obs()
    model._last_episode_starts = np.ones(env.num_envs, dtype=bool)  # `carried` knows better
    if fingerprint(_episode_log(env).last_step[:1]) != state["seen"]:
        log.warning("resume: diverged at step %d: the environments do not show what they did", model.num_timesteps)


def _states(found: Arrays, env: VecEnv) -> list[EpisodeState]:
    numbers, lengths, actions = found["numbers"], found["lengths"], found["actions"]
    if numbers.shape != (env.num_envs,) or lengths.shape != (env.num_envs,) or not (lengths >= 0).all():
        raise ValueError(f"{numbers.size} numbers and {lengths.size} lengths")
    if lengths.sum() != len(actions) or actions.shape[1:] != env.unwrapped.action_space.shape:
        raise ValueError(f"actions of shape {actions.shape}")
    if not ((numbers >= -1) & (numbers < 1 << 53)).all() or not np.isfinite(actions).all():
        raise ValueError("numbers that no environment was given")
    parts = np.split(actions, np.cumsum(lengths)[:-1])
    return [EpisodeState(int(number), part) for number, part in zip(numbers, parts, strict=True)]


def fingerprint(value: Any) -> str:
    """Return a hash of arrays, or of dicts and tuples of them; equal for equal bits."""
    digest = hashlib.blake2b(digest_size=8)
    for part in _parts(value):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def _parts(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return [leaf for key in sorted(value) for leaf in _parts(value[key])]
    if isinstance(value, tuple):
        return [leaf for part in value for leaf in _parts(part)]
    return [value]


def _reset(env: VecEnv) -> Any:
    """Reset through all wrappers, which must not take what they see for something new."""
    statistics = unwrap_vec_wrapper(env, VecNormalize)
    if statistics is None:
        return env.reset()
    training, statistics.training = statistics.training, False
    try:
        return env.reset()
    finally:
        statistics.training = training


def _episode_log(env: VecEnv) -> EpisodeLog:
    found = unwrap_vec_wrapper(env, EpisodeLog)
    assert isinstance(found, EpisodeLog), "environments to train in are made by make_vec_env(config, 'train', ...)"
    return found
