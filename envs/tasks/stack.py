"""Stack: put one block on another and let go of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from armature.envs import objects
from armature.envs.bodies import Pose
from armature.envs.rewards import Facts, closing_in, tracking, way_from_above
from armature.envs.tasks.base import Layout, Waypoint, parameter
from armature.envs.tasks.block import BlockTask
from armature.scene import ObjectConfig

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot


@dataclass
class Stack(BlockTask):
    """Put a block on another one, which stays where it is, and let go of it.

    ## Goal
    Seven numbers: the upper block's position on top of the lower block, the lower block's position at the start, and 0
    for a hand that does not hold the upper block (0.1 for one that does, a number like those of positions). Both blocks are drawn uniformly from a square of
    `area` metres, at least `min_distance` apart.

    ## Success
    Each block's centre is within `success_distance` of its goal, and the hand has let go: a block that is held above the
    other is not stacked, and neither is one on a lower block that was bumped away.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 1 | 1 - tanh(distance from end effector to upper block / 0.2 m) |
    | `grasp` | 0.5 | 1 while all fingers touch the upper block, or while it lies at its goal |
    | `goal` | 8 | mean of 1 - tanh(way from upper block to goal / scale) for the scales 0.2 m and 0.05 m, while grasped or at its goal; the way leads over the lower block and comes down on it |
    | `release` | 4 | while the upper block is at its goal: 1 once the hand has let go, before that half of how far it is told to open |
    | `success` | 12 | 1 on success |

    ## Version
    2
    """  # noqa: E501 - a row of a table

    success_distance: float = parameter(0.02, "Metres between each block and its goal that count as success.")
    min_distance: float = parameter(0.1, "Metres; least distance between the blocks at the start.")

    HELD: ClassVar[float] = 0.1
    """Stands for a held block in the goal. With a number that is larger than those of positions, what learners think of
    letting go depends on little else, and they do not at the goal either."""

    version = 2
    horizon = 80
    parts = (*BlockTask.parts, "object_to_object", "gripper_width", "grasped")
    # Every step on the way has to pay far better than staying where one is.
    reward_terms = {"reach": 1.0, "grasp": 0.5, "goal": 8.0, "release": 4.0, "success": 12.0}
    own_objects = (*BlockTask.own_objects, ObjectConfig(kind="box", size=[0.04], mass=0.2, color=[0.2, 0.45, 0.75]))
    further_objects = False
    uses_gripper = True

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw both blocks, again while they are too close."""
        upper, lower = self.draw_block(rng), self._draw_lower(rng)
        while np.linalg.norm(upper[:2] - lower[:2]) < self.min_distance:
            lower = self._draw_lower(rng)
        place = lower + np.array([0, 0, self._step])
        turns = [objects.turned(room, one.rotation, rng) for room, one in zip(self.rooms, self.objects, strict=True)]
        return Layout(np.array([*place, *lower, 0.0]), [Pose(upper, turns[0]), Pose(lower, turns[1])])

    def _draw_lower(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a position (3,) of the lower block, at rest."""
        return self._draw(self.objects[1].area, rng) + np.array([0, 0, self.rooms[1].low - self.block.low])

    @property
    def _step(self) -> float:
        """Metres from the lower block's centre up to that of a block on top of it."""
        return self.rooms[1].size[2] - self.rooms[1].low + self.block.low

    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return both blocks' positions and whether the upper one is held, shape (7,)."""
        upper, lower = now.objects[0], now.objects[1]
        return np.array([*upper.position, *lower.position, self.HELD * now.grasped])

    def success(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return whether blocks lie where they should and are held or not as they should, shape (n,)."""
        return self._placed(achieved, desired) & (np.abs(achieved[:, 6] - desired[:, 6]) < self.HELD / 2)

    def _placed(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        upper = self.distance(achieved[:, :3], desired[:, :3])
        lower = self.distance(achieved[:, 3:6], desired[:, 3:6])
        return np.maximum(upper, lower) < self.success_distance

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres, and from 0 to 1 how far the hand was told to open.

        Whether it grasps is part of the achieved goal.
        """
        return {"ee_position": now.robot.ee_position, "opening": (1 + now.previous_action[-1]) / 2}

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return reaching, grasping, tracking of a way that leads over the lower block, and letting go.

        Fingers that squeeze a block less do not move, so that opening them is not found by chance once holding is what
        pays: what they are told has to count.
        """
        upper, held = achieved[:, :3], achieved[:, 6] / self.HELD
        placed = self._placed(achieved, desired)
        kept = np.maximum(held, placed)
        way = way_from_above(upper, desired[:, :3], self._step)
        return {
            "reach": tracking(self.distance(facts["ee_position"], upper), 0.2),
            "grasp": kept,
            "goal": kept * closing_in(way),
            "release": placed * np.maximum(facts["opening"] / 2, 1 - held),
        }

    def expert(self, now: Snapshot) -> Waypoint:
        """Grasp the upper block, carry it over the lower one, come down, open, and rise."""
        upper, ee = now.objects[0].position, now.robot.ee_position
        to_goal = now.goal[:3] - upper
        placed = float(np.linalg.norm(to_goal)) < self.success_distance / 2
        if not self.holds(now):
            above = now.goal[:3] + np.array([0, 0, 2 * self._step])
            return Waypoint(above, self.hand.max_width) if placed else self.to_grasp(now, upper)
        if placed and abs(to_goal[2]) < 0.004:
            return Waypoint(ee, self.hand.max_width)
        if float(np.linalg.norm(to_goal[:2])) > 0.005:
            to_goal = self.over(to_goal, self._step)
        return Waypoint(ee + to_goal, 0.0)
