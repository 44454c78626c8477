"""Reach: bring the end effector to a point in the air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.rewards import Facts, tracking
from armature.envs.tasks.base import Layout, Task, Waypoint, parameter

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot


@dataclass
class Reach(Task):
    """Bring the end effector to a point in a box above the table.

    ## Goal
    A point drawn uniformly from a cube of `goal_size` metres, its lower face 2 cm above the table.

    ## Success
    The end effector is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `goal` | 1 | 1 - tanh(distance / 0.2 m) |
    | `success` | 1 | 1 on success |

    ## Version
    2
    """

    goal_size: float = parameter(0.3, "Metres; edge of the cube that goals are drawn from.")

    version = 2
    substeps = 5
    parts = ("ee_position", "ee_velocity", "lag")
    reward_terms = {"goal": 1.0, "success": 1.0}

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw a goal; there are no objects."""
        half = self.goal_size / 2
        low = np.array([-half, -half, 0.02])
        return Layout(rng.uniform(low, low + self.goal_size))

    def achieved_goal(self, now: Snapshot) -> Vector:
        """Return the end effector's position."""
        return now.robot.ee_point

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return the tracking of the goal."""
        return {"goal": tracking(self.distance(achieved, desired), 0.2)}

    def expert(self, now: Snapshot) -> Waypoint:
        """Go straight to the goal."""
        return Waypoint(now.goal, 0.0)
