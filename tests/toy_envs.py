"""A point that learns to move to a goal: an environment that any algorithm improves in within seconds.

Tests name this file in `plugins`; importing it registers `toy/Point-v0` (a goal dict, sparse reward) and
`toy/PointFlat-v0` (one vector, dense reward).
"""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

RADIUS = 0.3
"""Distance to the goal that counts as success."""


class Point(gymnasium.Env):
    """A point in [-1, 1] x [-1, 1] that moves by up to 0.25 a step; an episode has 20 steps."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}

    def __init__(self, flat: bool = False, dense: bool = False, render_mode: str | None = None) -> None:
        self.flat, self.dense, self.render_mode = flat, dense, render_mode
        self.max_episode_steps = 20
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        plane = spaces.Box(-1, 1, (2,), np.float32)
        goal_dict = spaces.Dict({"observation": plane, "achieved_goal": plane, "desired_goal": plane})
        self.observation_space = spaces.Box(-2, 2, (4,), np.float32) if flat else goal_dict

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        """Draw a position and a goal."""
        super().reset(seed=seed)
        self.position, self.goal = self.np_random.uniform(-1, 1, (2, 2)).astype(np.float32)
        self.steps = 0
        return self._observe(), {}

    def step(self, action):
        """Move."""
        self.position = np.clip(self.position + 0.25 * np.clip(action, -1, 1), -1, 1).astype(np.float32)
        self.steps += 1
        distance = float(np.linalg.norm(self.position - self.goal))
        info = {
            "is_success": distance < RADIUS,
            "reward_terms": {"distance": -distance},
            "facts": {"distance": distance},
            "more": {},
        }
        reward = float(self.compute_reward(self.position, self.goal, info))
        return self._observe(), reward, False, self.steps >= self.max_episode_steps, info

    def expert_action(self):
        """Go straight to the goal."""
        return np.clip((self.goal - self.position) / 0.25, -1, 1).astype(np.float32)

    def compute_reward(self, achieved_goal, desired_goal, info):
        """Return the reward of one pair of points or of many."""
        distance = np.linalg.norm(achieved_goal - desired_goal, axis=-1)
        return -distance if self.dense else -(distance >= RADIUS).astype(np.float32)

    def render(self):
        """Draw the point in blue and the goal in red."""
        picture = np.full((48, 64, 3), 255, np.uint8)
        for place, colour in ((self.goal, (220, 60, 60)), (self.position, (40, 90, 200))):
            row, column = ((place + 1) / 2 * (43, 59)).astype(int)
            picture[row : row + 5, column : column + 5] = colour
        return picture

    def _observe(self):
        if self.flat:
            return np.concatenate([self.position, self.goal - self.position]).astype(np.float32)
        position, goal = self.position.copy(), self.goal.copy()
        return {"observation": position, "achieved_goal": position.copy(), "desired_goal": goal}


gymnasium.register("toy/Point-v0", entry_point=Point)
gymnasium.register("toy/PointFlat-v0", entry_point=Point, kwargs={"flat": True, "dense": True})
