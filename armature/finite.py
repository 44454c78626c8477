"""Observations and rewards that are no numbers, caught at the step that they come up in."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from stable_baselines3.common.vec_env import VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from armature.errors import NotFiniteError
from armature.journaled_vec_env import JournaledVecEnv

log = logging.getLogger(__name__)


class FiniteOnly(VecEnvWrapper):
    """Lets nothing pass but finite numbers: one NaN that is learned from makes every weight one.

    Args:
        venv: the environments.
        on_nan: "stop" raises; "skip" ends the episode as one that was cut, at its last finite observation and with
            reward 0, and begins the next one.

    Raises:
        NotFiniteError: with "stop"; with either for an action, or for the first observation of an episode.
    """

    venv: JournaledVecEnv

    def __init__(self, venv: JournaledVecEnv, on_nan: Literal["stop", "skip"] = "stop") -> None:
        super().__init__(venv)
        self.on_nan = on_nan
        self._warned: set[int] = set()

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment."""
        return self._first(self.venv.reset())

    def step_async(self, actions: np.ndarray) -> None:
        """Begin a step with actions (num_envs, ...)."""
        self._seen, self._places = self.venv.shown, (self.venv.episodes.copy(), self.venv.steps + 1)
        actions = np.asarray(actions)
        for index in _rows(actions):
            raise self._error("the action", index, actions[index])
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments."""
        observation, rewards, dones, infos = self.venv.step_wait()
        spoilt = dict(_not_finite(observation, rewards, dones, infos))
        for index, (what, value) in spoilt.items():
            self._note(self._error(what, index, value))
        if spoilt:
            observation = self._skip(list(spoilt), observation, rewards, dones, infos)
        elif dones.any():
            self._first(observation)
        return observation, rewards, dones, infos

    def _first(self, observation: VecEnvObs) -> VecEnvObs:
        """Return observations that episodes go on from; what is not finite by now is the first of an episode."""
        for key, part in _parts(observation):
            for index in _rows(part):
                self._places = self.venv.episodes, self.venv.steps
                raise self._error(f"the first observation{key}", index, part[index])
        return observation

    def _skip(
        self, spoilt: list[int], observation: VecEnvObs, rewards: np.ndarray, dones: np.ndarray, infos: list[Any]
    ) -> VecEnvObs:
        """Make spoilt steps the ends of episodes that are cut; return the observations to go on from."""
        for index in spoilt:
            infos[index] = {**_mended(infos[index]), "TimeLimit.truncated": True}
            infos[index]["terminal_observation"] = _of(self._seen, index)
        rewards[spoilt] = 0.0
        if unfinished := [index for index in spoilt if not dones[index]]:
            observation = self.venv.begin_anew(unfinished)
        dones[spoilt] = True
        return self._first(observation)

    def _error(self, what: str, index: int, value: Any) -> NotFiniteError:
        episode, step = (int(numbers[index]) for numbers in self._places)
        return NotFiniteError(what, np.asarray(value).tolist(), index, episode, step)

    def _note(self, error: NotFiniteError) -> None:
        if self.on_nan == "stop":
            raise error
        if error.index not in self._warned:
            self._warned.add(error.index)
            log.warning("%s The episode is cut; on_nan is skip, so more of these are not told.", error)


def _parts(observation: VecEnvObs) -> list[tuple[str, np.ndarray]]:
    if isinstance(observation, Mapping):
        return [(f" {key!r}", part) for key, part in observation.items()]
    return [("", part) for part in (observation if isinstance(observation, tuple) else (observation,))]


def _of(observation: VecEnvObs, index: int) -> Any:
    """Return a copy of the observation of one environment."""
    if isinstance(observation, Mapping):
        return {key: part[index].copy() for key, part in observation.items()}
    if isinstance(observation, tuple):
        return tuple(part[index].copy() for part in observation)
    return observation[index].copy()


def _rows(array: np.ndarray) -> list[int]:
    """Return the rows that hold numbers that are not finite."""
    if array.dtype.kind not in "fc" or np.isfinite(array).all():
        return []
    return np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(axis=1)).tolist()


def _not_finite(
    observation: VecEnvObs, rewards: np.ndarray, dones: np.ndarray, infos: Sequence[Any]
) -> Iterator[tuple[int, tuple[str, Any]]]:
    """Yield environments whose step was not finite, what of it and the numbers."""
    for index in _rows(rewards):
        yield index, ("the reward", rewards[index])
    for key, part in _parts(observation):
        for index in _rows(part):
            if not dones[index]:
                yield index, (f"the observation{key}", part[index])
    for index in np.flatnonzero(dones).tolist():
        for key, part in _parts(infos[index]["terminal_observation"]):
            if _rows(np.asarray(part)[None]):
                yield index, (f"the last observation{key}", part)


def _mended(info: Any) -> Any:
    """Return an info with zeros in place of what is not finite."""
    if isinstance(info, Mapping):
        return {key: _mended(value) for key, value in info.items()}
    number = isinstance(info, (float, np.floating, np.ndarray)) and np.asarray(info).dtype.kind == "f"
    return info if not number or np.isfinite(info).all() else np.nan_to_num(info, nan=0.0, posinf=0.0, neginf=0.0)[()]
