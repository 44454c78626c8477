"""Pick and place: bring a block to a point on the table or in the air."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from armature.envs.rewards import Facts, tracking
from armature.envs.tasks.base import Layout, Waypoint, parameter
from armature.envs.tasks.block import BlockTask

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot


@dataclass
class PickAndPlace(BlockTask):
    """Grasp a block and bring it to a point, most often in the air.

    ## Goal
    Block and goal are drawn uniformly from a square of `area` metres; a share `on_table` of the goals lies on the
    table, the others up to `max_height` metres above it.

    ## Success
    The block's centre is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 1 | 1 - tanh(distance from end effector to block / 0.2 m) |
    | `grasp` | 0.5 | 1 while all fingers touch the block |
    | `goal` | 8 | 1 - tanh(distance from block to goal / 0.2 m), while grasped or on success |
    | `success` | 4 | 1 on success |

    ## Version
    1
    """

    max_height: float = parameter(0.2, "Metres; the highest goals lie this far above the resting block.")
    on_table: float = parameter(0.3, "Share of the goals that lie on the table, between 0 and 1.")

    parts = (*BlockTask.parts, "gripper_width", "grasped")
    # With more weight on the grasp some learners hold the block and stand still: carrying it has to pay far better.
    reward_terms = {"reach": 1.0, "grasp": 0.5, "goal": 8.0, "success": 4.0}
    uses_gripper = True

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw block and goal."""
        block, goal = self.draw_block(rng), self.draw_goal(rng)
        area = self.objects[0].goal_area
        if (area is None or len(area) == 4) and rng.random() >= self.on_table:
            goal[2] += self.max_height * rng.random()
        return Layout(goal, self.poses(block, goal, rng), clear=[self.block.at(goal)])

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return reaching, grasping and gated goal tracking."""
        distance = self.distance(achieved, desired)
        held = (facts["grasped"] > 0) | (distance < self.success_distance)
        return {
            "reach": tracking(self.distance(facts["ee_position"], achieved), 0.2),
            "grasp": facts["grasped"],
            "goal": held * tracking(distance, 0.2),
        }

    def expert(self, now: Snapshot) -> Waypoint:
        """Go above the block, come down, close, and carry it to the goal."""
        block = now.objects[0].position
        if self.holds(now):
            way = now.goal - block
            if float(np.hypot(way[0], way[1])) > 0.03:
                way[2] = max(way[2], 0.0)  # down at the end only: there may be an edge on the way
            return Waypoint(now.robot.ee_position + way, 0.0)
        return self.to_grasp(now, block)
