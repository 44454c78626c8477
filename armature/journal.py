"""What environments were told: to restore an episode is to begin it again and to play its actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EpisodeState:
    """Where an environment is in its present episode."""

    episode: int
    """Number of the episode under way; -1 before the first reset."""
    actions: np.ndarray
    """Actions since it began, (n, *action_shape)."""


class Journal:
    """The actions that each environment has taken since its present episode began.

    Args:
        num_envs: number of environments.
        like: an action, for shape and type.
    """

    def __init__(self, num_envs: int, like: np.ndarray | float = 0.0) -> None:
        self._none = np.zeros((0, *np.shape(like)), np.asarray(like).dtype)
        self._actions: list[np.ndarray] = []  # one array of the actions of all environments for each step
        self._begins = np.zeros(num_envs, dtype=np.int64)  # where in that list each present episode begins

    def reset(self) -> None:
        """Begin an episode in every environment."""
        self._actions.clear()
        self._begins[:] = 0

    def step(self, actions: np.ndarray, dones: np.ndarray) -> None:
        """Take in a step of all environments, given actions (num_envs, ...); those that are done begin an episode."""
        self._actions.append(actions.copy())
        if np.count_nonzero(dones):  # which answers faster than any()
            self.begin(dones)

    def begin(self, which: Any) -> None:
        """Begin an episode in some environments, given as an index of an array (num_envs,)."""
        self._begins[which] = len(self._actions)
        oldest = int(self._begins.min())  # what no present episode needs is dropped
        del self._actions[:oldest]
        self._begins -= oldest

    @property
    def lengths(self) -> np.ndarray:
        """How many actions each environment has taken in its present episode, (num_envs,)."""
        return len(self._actions) - self._begins

    def of(self, index: int) -> np.ndarray:
        """Return the actions (n, ...) of an environment in its present episode."""
        told = [actions[index] for actions in self._actions[self._begins[index] :]]
        return np.array(told) if told else self._none

    def fill(self, actions: Sequence[np.ndarray]) -> None:
        """Put what `of` gave for each environment in the place of everything."""
        total = max(map(len, actions))
        table = np.zeros((total, len(actions), *self._none.shape[1:]), self._none.dtype)
        for index, own in enumerate(actions):
            table[total - len(own) :, index] = np.reshape(own, (-1, *self._none.shape[1:]))
        self._actions, self._begins[:] = list(table), [total - len(own) for own in actions]
