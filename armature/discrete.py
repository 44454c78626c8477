"""Continuous actions seen as a list: what lets DQN and its relatives move a robot arm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from armature.errors import ConfigError


class DiscreteActions(gymnasium.ActionWrapper[Any, int, np.ndarray]):
    """A grid over a Box of actions that moves one dimension at a time.

    Action 0 is no motion. Then follows, for each dimension in order, one action per level: that dimension at the level,
    all others at rest. Levels are fractions of the Box: -1 its lower bound, 0 its middle, 1 its upper bound. Two
    dimensions within [-1, 1] and the levels -1, -0.3, 0.3, 1 give `2 * 4 + 1 = 9` actions:

    | action | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 |
    | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
    | dimension 0 | 0 | -1 | -0.3 | 0.3 | 1 | 0 | 0 | 0 | 0 |
    | dimension 1 | 0 | 0 | 0 | 0 | 0 | -1 | -0.3 | 0.3 | 1 |

    The grid grows linearly with the number of dimensions, where a full grid would grow exponentially.

    Args:
        env: an environment with a bounded Box of actions.
        levels: fractions of the Box, from -1 to 1.
    """

    def __init__(self, env: gymnasium.Env[Any, np.ndarray], levels: Sequence[float]) -> None:
        super().__init__(env)
        self.table = action_table(env.action_space, levels)
        """The continuous actions, shape (number of actions, *shape of the Box)."""
        self.action_space = spaces.Discrete(len(self.table))  # type: ignore[assignment]

    def action(self, action: int) -> np.ndarray:
        """Return the continuous action that a number stands for."""
        return self.table[int(action)].copy()

    def expert_action(self) -> int:
        """Return the action nearest to what the environment's scripted expert would do."""
        wanted = self.env.get_wrapper_attr("expert_action")()
        gaps = (self.table - wanted).reshape(len(self.table), -1)
        return int(np.argmin(np.linalg.norm(gaps, axis=1)))


def action_table(box: spaces.Space[Any], levels: Sequence[float]) -> np.ndarray:
    """Return the grid of `DiscreteActions`; raise `ConfigError` if the space or the levels cannot make one."""
    if not isinstance(box, spaces.Box) or not box.is_bounded():
        raise ConfigError(f"discrete actions need a bounded Box of actions, and this environment has {box}.")
    if not levels or not all(-1 <= level <= 1 for level in levels):
        raise ConfigError(f"action_levels is {list(levels)}; write one or more numbers from -1 to 1.")
    low, high = box.low.ravel().astype(np.float64), box.high.ravel().astype(np.float64)
    middle, half = (low + high) / 2, (high - low) / 2
    rest = np.clip(np.zeros_like(low), low, high)
    table = np.tile(rest, (low.size * len(levels) + 1, 1))
    row = 1
    for dimension in range(low.size):
        for level in levels:
            table[row, dimension] = middle[dimension] + level * half[dimension]
            row += 1
    return table.reshape(-1, *box.shape).astype(box.dtype)
