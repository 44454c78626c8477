"""Push: bring a block on the table to a place on the table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.rewards import Facts, closing_in, tracking
from armature.envs.tasks.base import Layout, Waypoint, parameter
from armature.envs.tasks.block import BlockTask

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot


@dataclass
class Push(BlockTask):
    """Bring a block that lies on the table to another place on the table.

    ## Goal
    Block and goal are drawn uniformly from a square of `area` metres, at least `min_distance` apart.

    ## Success
    The block's centre is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `behind` | 1.5 | 1 - tanh(distance from end effector to the place from which to push / 0.2 m) |
    | `goal` | 2 | mean of 1 - tanh(distance from block to goal / scale) for the scales 0.2 m and 0.05 m |
    | `success` | 1.5 | 1 on success |

    ## Version
    1
    """

    min_distance: float = parameter(0.05, "Metres; least distance between block and goal at the start.")

    SLIDE_TIME: ClassVar[float] = 0.05
    """Seconds that a released block goes on sliding, as far as the expert is concerned."""

    reward_terms = {"behind": 1.5, "goal": 2.0, "success": 1.5}

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw block and goal, again while they are too close."""
        block, goal = self.draw_block(rng), self.draw_goal(rng)
        while np.linalg.norm(block - goal) < self.min_distance:
            goal = self.draw_goal(rng)
        return Layout(goal, self.poses(block, goal, rng), clear=[self.block.at(goal)])

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return tracking of the place to push from, and of the goal."""
        return {
            "behind": tracking(self.distance(facts["ee_position"], self.behind(achieved, desired)), 0.2),
            "goal": closing_in(self.distance(achieved, desired)),
        }

    def behind(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the points (n, 3) beside the block from which fingers push it to the goal."""
        away = (achieved - desired) / np.maximum(self.distance(achieved, desired), 1e-3)[:, None]
        return achieved + (self.block.radius + self.hand.radius) * away

    def expert(self, now: Snapshot) -> Waypoint:
        """Go round the block to the side away from the goal, come down, and push with closed fingers."""
        block, ee = now.objects[0].position[:2], now.robot.ee_position
        resting = block + self.SLIDE_TIME * now.objects[0].velocity[:2]
        to_goal = now.goal[:2] - resting
        left = float(np.linalg.norm(to_goal))
        if left < self.success_distance / 2:
            return Waypoint(ee, 0.0)
        direction = to_goal / left
        offset = ee[:2] - block
        behind = -float(offset @ direction)
        beside = float(np.linalg.norm(offset + behind * direction))
        contact = self.block.radius + self.hand.radius
        height = min(self.block.low, self.block.radius)  # higher up, what is tall would topple
        # A block that is being pushed may get a little out of line before it has to be approached anew.
        lane = 0.015 if behind > contact + 0.01 else 0.022
        if behind > contact / 2 and beside < lane and ee[2] < height + 0.025:
            # In the lane: aim where the fingers stand when the block has moved on by a part of what is left.
            ahead = min(0.6 * left, 0.025) - min(contact, behind)
            return Waypoint(np.array([*(block + ahead * direction), height]), 0.0)
        start = block - (contact + 0.035) * direction
        if float(np.linalg.norm(ee[:2] - start)) < 0.015:
            return Waypoint(np.array([*start, height]), 0.0)
        above = self.block.size[2] + 0.06
        if ee[2] < self.block.size[2] + 0.03:
            return Waypoint(np.array([*ee[:2], above]), 0.0)
        # Short ways: on longer ones joints that are moved by themselves come down before they are there.
        way = start - ee[:2]
        travel = ee[:2] + way * min(1.0, 0.05 / float(np.linalg.norm(way)))
        return Waypoint(np.array([*travel, above]), 0.0)
