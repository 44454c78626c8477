"""Rewards: a sparse one, and a dense one that is the weighted mean of a task's named terms.

Both are vectorised pure functions of goals and facts, so that hindsight relabelling needs no simulator. Facts are the
few things besides the goals that a task's terms need (such as where the end effector is); with goal observations they
stand in `info["facts"]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from armature.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:
    from armature.envs.tasks.base import Task

Facts = Mapping[str, np.ndarray]
"""By name, shape (n,) or (n, 3)."""


def tracking(distance: np.ndarray, scale: float) -> np.ndarray:
    """Return 1 at distance zero, falling to 0: `1 - tanh(distance / scale)`; `scale` in metres."""
    return 1 - np.tanh(distance / scale)


def closing_in(distance: np.ndarray) -> np.ndarray:
    """Return 1 at distance zero, falling to 0, in metres: half leads from afar, half rewards the last centimetres.

    A coarse and a fine term together, as in Isaac Lab's lift task: with the coarse one alone, learners stop just short.
    """
    return (tracking(distance, 0.2) + tracking(distance, 0.05)) / 2


def way_from_above(achieved: np.ndarray, desired: np.ndarray, height: float, slope: float = 1.0) -> np.ndarray:
    """Return the lengths (n,) of ways between points (n, 3) that come down on `desired` from above, all in metres.

    A way leads up or down onto a funnel around the goal, whose walls rise by `slope` metres a metre until they are
    `height` above the goal and level, and then along it: at right angles, each leg counted by itself. The straight way
    would lead through whatever carries or surrounds the goal.
    """
    beside = np.hypot(achieved[:, 0] - desired[:, 0], achieved[:, 1] - desired[:, 1])
    funnel = np.minimum(slope * beside, height)
    return np.abs(achieved[:, 2] - desired[:, 2] - funnel) + funnel + beside


class Computed(NamedTuple):
    """Rewards of n rows."""

    rewards: np.ndarray
    """(n,)."""
    terms: Facts
    """The dense terms, (n,) by name; nothing for sparse rewards."""


class Reward:
    """The reward of a task.

    Args:
        task: defines success and terms.
        kind: `sparse`: 0 on success and -1 otherwise; `dense`: mean of the terms by weight, at most 1.
        weights: replace the task's own weights, by name of the term; raises `UnknownNameError` for other names.
    """

    def __init__(self, task: Task, kind: str, weights: Mapping[str, float]) -> None:
        if kind not in ("sparse", "dense"):
            raise ConfigError(f"reward is {kind!r}; allowed: 'dense', 'sparse'.")
        self.task, self.kind = task, kind
        self.weights = merged_weights(task.reward_terms, weights)
        self._total = sum(self.weights.values())

    @staticmethod
    def sparse(success: Any) -> Any:
        """Return 0 for each success, a bool or an array of them, and -1 otherwise."""
        return success - 1.0

    def compute(self, success: np.ndarray, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> Computed:
        """Return rewards and terms for goals of shape (n, k) and whether they agree, shape (n,)."""
        if self.kind == "sparse":
            return Computed(self.sparse(success), {})
        terms = {**self.task.terms(achieved, desired, facts), "success": success.astype(float)}
        return Computed(sum(weight * terms[name] for name, weight in self.weights.items()) / self._total, terms)


def merged_weights(defaults: Mapping[str, float], given: Mapping[str, float]) -> dict[str, float]:
    """Return the weights of all terms, given ones first; raise `ConfigError` where they make no reward."""
    for name, weight in given.items():
        if name not in defaults:
            raise UnknownNameError("reward_weights term", name, defaults)
        if not np.isfinite(weight) or weight < 0:
            raise ConfigError(f"reward_weights.{name} is {weight!r}; a weight is a number of at least 0.")
    weights = {**defaults, **given}
    if sum(weights.values()) <= 0:
        raise ConfigError("reward_weights are all 0; at least one term must count.")
    return weights
