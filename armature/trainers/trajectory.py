"""Trajectories: what one environment went through, step after step, and the collector that makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from armature.nested import at, each

Observations = Any
"""An array of observations, first axis the steps or the environments; for Dict observations a dict of such arrays."""


@dataclass(frozen=True)
class Trajectory:
    """T consecutive steps of one environment, T at most `time_horizon`.

    It ends where the episode ends, where `time_horizon` is reached, or where an update begins. Only where the episode
    *terminated* the future is worth nothing; everywhere else it goes on in `next_obs`, and must be estimated.
    """

    obs: Observations
    """What was seen before each step, shape (T, *observation); a dict of arrays for Dict observations."""
    next_obs: Observations
    """What was seen after the last step, shape (*observation): never that of the next episode."""
    action: np.ndarray
    """What the policy chose, shape (T, *action), before it is clipped to the bounds of the environment."""
    reward: np.ndarray
    """What is learned from, float32 (T,): with on-policy trainers the weighted sum of all reward signals."""
    environment_reward: np.ndarray
    """What the environment gave, float32 (T,)."""
    terminated: np.ndarray
    """Whether the episode ended for good with this step, bool (T,)."""
    truncated: np.ndarray
    """Whether the episode was stopped from outside after this step, bool (T,)."""
    episode_start: np.ndarray
    """Whether this step is the first one of an episode, bool (T,)."""
    env_index: int
    """Which environment it was."""
    log_prob: np.ndarray | None = None
    """Log-probabilities of the actions, float32 (T,); None where the policy tells none."""
    value: np.ndarray | None = None
    """What the critic expected before each step, float32 (T,); None in off-policy trainers."""
    next_value: float = 0.0
    """What the critic expects after the last step: 0 if the episode terminated."""

    def __len__(self) -> int:
        return len(self.environment_reward)

    @property
    def done_reached(self) -> bool:
        """Whether the episode is over."""
        return bool(self.terminated[-1] or self.truncated[-1])

    @property
    def interrupted(self) -> bool:
        """Whether it was cut: the future after the last step is worth something."""
        return not self.terminated[-1]

    def next_observations(self) -> Observations:
        """Return what was seen after each step, as `obs` what was seen before."""
        return each(lambda seen, last: np.concatenate([seen[1:], last[None]]), self.obs, self.next_obs)


@dataclass(frozen=True)
class Step:
    """One step of all environments; the first axis of everything is the environment."""

    obs: Observations
    next_obs: Observations
    action: np.ndarray
    reward: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    episode_start: np.ndarray
    log_prob: np.ndarray | None


class Collector:
    """Cuts the steps of many environments into the trajectories of each.

    Args:
        n_envs: how many environments there are.
        time_horizon: the most steps of a trajectory.
    """

    def __init__(self, n_envs: int, time_horizon: int) -> None:
        self.time_horizon = time_horizon
        self._steps: list[Step] = []
        self._begin = [0] * n_envs
        """Index in `_steps` of the first step of each environment's open trajectory."""

    def add(self, step: Step) -> list[Trajectory]:
        """Take a step; return the trajectories that it closes."""
        self._steps.append(step)
        done = step.terminated | step.truncated
        count = len(self._steps)
        return self._close([i for i, begin in enumerate(self._begin) if done[i] or count - begin >= self.time_horizon])

    def cut(self) -> list[Trajectory]:
        """Close and return every open trajectory."""
        return self._close([i for i, begin in enumerate(self._begin) if begin < len(self._steps)])

    def _close(self, environments: list[int]) -> list[Trajectory]:
        closed = [_trajectory(self._steps[self._begin[index] :], index) for index in environments]
        for index in environments:
            self._begin[index] = len(self._steps)
        oldest = min(self._begin)
        del self._steps[:oldest]
        self._begin = [begin - oldest for begin in self._begin]
        return closed


def _trajectory(steps: list[Step], index: int) -> Trajectory:
    def column(name: str) -> np.ndarray:
        return np.stack([getattr(step, name)[index] for step in steps])

    reward = column("reward").astype(np.float32)
    return Trajectory(
        obs=each(lambda *parts: np.stack([part[index] for part in parts]), *[step.obs for step in steps]),
        next_obs=at(steps[-1].next_obs, index),
        action=column("action"),
        reward=reward,
        environment_reward=reward,
        terminated=column("terminated"),
        truncated=column("truncated"),
        episode_start=column("episode_start"),
        env_index=index,
        log_prob=None if steps[0].log_prob is None else column("log_prob"),
    )


def gae(trajectory: Trajectory, gamma: float, lambd: float) -> np.ndarray:
    """Return generalised advantage estimates, float32 (T,): Schulman et al. 2016, equation 16."""
    if trajectory.value is None:
        raise ValueError("the trajectory has no value estimates")
    following = np.append(trajectory.value[1:], trajectory.next_value)
    surprise = trajectory.reward + gamma * following - trajectory.value
    advantages, running = np.zeros(len(trajectory), np.float32), 0.0
    for step in reversed(range(len(trajectory))):
        advantages[step] = running = float(surprise[step]) + gamma * lambd * running
    return advantages
