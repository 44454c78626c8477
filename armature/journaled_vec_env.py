"""What both vectorised environments have in common: results in arrays, and a journal of what was told."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from armature.env_group import Info
from armature.errors import Fault
from armature.journal import EpisodeState, Journal
from armature.shared_arrays import SharedArrays

_FLAGS: list[Info] = [
    {"TimeLimit.truncated": False, "is_success": False},
    {"TimeLimit.truncated": True, "is_success": False},
    {"TimeLimit.truncated": False, "is_success": True},
    {"TimeLimit.truncated": True, "is_success": True},
    {"TimeLimit.truncated": False},  # from here on at negative places: success is unknown, -1
    {"TimeLimit.truncated": True},
]
"""Infos that say nothing but flags, at twice the success plus whether time ran out."""


class JournaledVecEnv(VecEnv):
    """Environments whose present episodes can be begun and played again.

    They have an attribute `episode`: the number of the episode that the next reset begins. An episode must depend on
    nothing but its number and its actions.

    Args:
        arrays: where actions go to and results come from.
        observation_space: of each environment.
        action_space: of each environment.
        num_envs: number of environments.
    """

    shown: VecEnvObs
    """The observations that were returned last."""
    twin: gymnasium.Env[Any, Any]
    """An environment like the others, in this process: calling its pure functions takes no message."""

    def __init__(
        self,
        arrays: SharedArrays,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        num_envs: int,
    ) -> None:
        self._arrays = arrays
        self._journal = Journal(num_envs, arrays.actions[0])
        self._flags: tuple[bytes, ...] = ()
        self._plain_infos: list[Info] = []  # that say nothing but these flags
        self._to_resume: Sequence[EpisodeState] | None = None
        self.episodes = np.full(num_envs, -1)
        """Number of the episode under way of each environment; -1 before the first reset."""
        self._following = np.zeros(num_envs, dtype=np.int64)  # number of the episode that the next reset begins
        super().__init__(num_envs, observation_space, action_space)

    @abstractmethod
    def _ask(
        self, method: str, indices: Iterable[int], *arguments: Any, each: Sequence[Any] | None = None
    ) -> list[Any]:
        """Call a method of `EnvGroup` for some environments; `each` has one more argument for each of them."""

    @abstractmethod
    def _begin_step(self) -> None:
        """Begin a step; the actions are there."""

    @abstractmethod
    def _finish_step(self) -> dict[int, Info]:
        """Wait until the results are there; return what infos say besides, by environment."""

    # -------------------------------------------------------------------------------------------- stepping

    def reset(self) -> VecEnvObs:
        """Begin an episode in every environment, or go on with those that `resume_with` was given."""
        if self._to_resume is not None:
            states, self._to_resume = self._to_resume, None
            return self.restore_episodes(states)
        told = list(zip(self._seeds, self._options, strict=True))
        self.reset_infos = self._ask("reset", range(self.num_envs), each=told)
        self._begun(slice(None))
        self._journal.reset()
        self._reset_seeds()
        self._reset_options()
        return self._show()

    def step_async(self, actions: np.ndarray) -> None:
        """Begin a step with actions (num_envs, ...)."""
        self._arrays.actions[:] = actions
        self._begin_step()

    def step_wait(self) -> VecEnvStepReturn:
        """Return what came of the step: observations, rewards, dones, infos."""
        more = self._finish_step()
        arrays = self._arrays
        rewards, dones = arrays.rewards.copy(), arrays.dones.copy()
        self._journal.step(arrays.actions, dones)
        if np.count_nonzero(dones):  # which answers faster than any()
            self._begun(dones)
        return self._show(), rewards, dones, self._infos(more)

    @property
    def steps(self) -> np.ndarray:
        """How many steps each environment has taken in its present episode, (num_envs,)."""
        return self._journal.lengths

    def _show(self) -> VecEnvObs:
        self.shown = self._arrays.seen()
        return self.shown

    def _begun(self, which: Any) -> None:
        """Count the episodes that some environments have begun."""
        self.episodes[which] = self._following[which]
        self._following[which] += 1

    def _infos(self, more: dict[int, Info]) -> list[Info]:
        arrays = self._arrays
        flags = arrays.success.tobytes(), arrays.truncated.tobytes()
        if flags != self._flags:  # most steps change none
            self._flags = flags
            self._plain_infos = [_FLAGS[each] for each in (2 * arrays.success + arrays.truncated).tolist()]
        infos = list(map(dict.copy, self._plain_infos))
        for index, info in more.items():
            if "reset_info" in info:
                self.reset_infos[index] = info.pop("reset_info")
                infos[index]["terminal_observation"] = arrays.ended_with(index)
            infos[index] |= info
        return infos

    def begin_anew(self, indices: Sequence[int]) -> VecEnvObs:
        """End the episodes of some environments where they are, and begin their next ones; return all observations."""
        infos = self._ask("reset", indices, each=[(None, {})] * len(indices))
        for index, info in zip(indices, infos, strict=True):
            self.reset_infos[index] = info
        self._begun(list(indices))
        self._journal.begin(list(indices))
        return self._show()

    # -------------------------------------------------------------------------------------------- going back

    def episode_states(self) -> list[EpisodeState]:
        """Return where each environment is in its present episode."""
        return [EpisodeState(int(episode), self._journal.of(index)) for index, episode in enumerate(self.episodes)]

    def resume_with(self, states: Sequence[EpisodeState]) -> None:
        """Let the next `reset` be `restore_episodes(states)`: wrappers see what it returns as they see any reset."""
        self._to_resume = states

    def restore_episodes(self, states: Sequence[EpisodeState]) -> VecEnvObs:
        """Bring each environment to where it was when its state was taken; return the observations, as `reset` does.

        What had not begun then begins with its first episode.
        """
        self.episodes[:] = [max(state.episode, 0) for state in states]
        self._following[:] = self.episodes + 1
        self._journal.fill([state.actions for state in states])
        self.reset_infos = self._ask("restore", range(self.num_envs), each=self._tellings(range(self.num_envs)))
        return self._show()

    def _tellings(self, indices: Iterable[int]) -> list[tuple[int, np.ndarray, int]]:
        """Return what `EnvGroup.restore` needs to bring environments to where they are."""
        return [(int(self.episodes[i]), self._journal.of(i), int(self._following[i])) for i in indices]

    def _fault_of(self, index: int, what: str, doing: str, step: int) -> Fault:
        """Return the facts of what happened to an environment; `step` is where it was in playing its episode again."""
        if doing == "reset":
            return Fault(what, doing, index, int(self._following[index]), self._journal.of(index)[:0])
        actions = self._journal.of(index)
        if doing == "restore":
            actions = actions[:step]
        elif doing == "step":
            actions = np.concatenate([actions, self._arrays.actions[index : index + 1]])
        return Fault(what, doing, index, int(self.episodes[index]), actions)

    # -------------------------------------------------------------------------------------------- asking

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of some environments."""
        if attr_name == "episode":  # which is known here, also when an environment is beyond asking
            return [int(self._following[index]) for index in self._get_indices(indices)]
        return self._ask("get_attr", self._get_indices(indices), attr_name)

    def has_attr(self, attr_name: str) -> bool:
        """Return whether every environment has an attribute."""
        return all(self._ask("has_attr", range(self.num_envs), attr_name))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of some environments."""
        self._ask("set_attr", chosen := list(self._get_indices(indices)), attr_name, value)
        if attr_name == "episode":
            self._following[chosen] = value

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Return what a method of some environments returns."""
        return self._ask("env_method", self._get_indices(indices), method_name, args, kwargs)

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return whether some environments are wrapped in a class."""
        return self._ask("env_is_wrapped", self._get_indices(indices), wrapper_class)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every environment."""
        if self.render_mode != "rgb_array":
            return [None] * self.num_envs
        return self._ask("render", range(self.num_envs))
