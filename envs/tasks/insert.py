"""Insert: grasp a peg that stands on the table and put it into a hole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.bodies import Pose
from armature.envs.objects import Spot
from armature.envs.rewards import Facts, closing_in, tracking, way_from_above
from armature.envs.tasks.base import Bodies, Layout, Waypoint, parameter
from armature.envs.tasks.block import BlockTask
from armature.scene import ObjectConfig

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


@dataclass
class Insert(BlockTask):
    """Grasp a square peg that stands on the table, and put it into a hole that fits.

    Grasping is part of the task: how the peg lies in the hand is what makes inserting difficult.

    ## Goal
    Where the peg's centre is as it stands on the table in the hole. Peg and hole are drawn uniformly from a square of
    `area` metres, at least `min_distance` apart. The hole is as wide as the peg and `clearance`, and `depth` deep.

    ## Success
    The peg's centre is within `success_distance` of the goal: it is in the hole, and all but down on the table.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 1 | 1 - tanh(distance from end effector to where the peg is grasped / 0.2 m) |
    | `grasp` | 0.5 | 1 while all fingers touch the peg, or on success |
    | `goal` | 8 | mean of 1 - tanh(way from peg to goal / scale) for the scales 0.2 m and 0.05 m, while grasped or on success; the way leads above the hole and down into it |
    | `success` | 4 | 1 on success |

    ## Version
    1
    """  # noqa: E501 - a row of a table

    success_distance: float = parameter(0.01, "Metres between the peg and its place in the hole that count as success.")
    min_distance: float = parameter(0.13, "Metres; least distance between peg and hole at the start.")
    clearance: float = parameter(0.006, "Metres by which the hole is wider than the peg.")
    depth: float = parameter(0.04, "Metres; depth of the hole.")

    RIM: ClassVar[float] = 0.03
    """Width of the walls around the hole, in metres."""

    horizon = 80
    parts = (*BlockTask.parts, "gripper_width", "grasped")
    # Every step on the way has to pay far better than staying where one is.
    reward_terms = {"reach": 1.0, "grasp": 0.5, "goal": 8.0, "success": 4.0}
    own_objects = (ObjectConfig(kind="box", size=[0.03, 0.03, 0.08], mass=0.2, color=[0.92, 0.35, 0.22]),)
    further_objects = False
    uses_gripper = True

    def build(self, simulation: Simulation) -> Bodies:
        """Add the peg, and four walls around the hole."""
        peg = super().build(simulation).objects
        x, y, rim = self._hole[0], self._hole[1], self.RIM
        sizes = [(rim, y + 2 * rim, self.depth)] * 2 + [(x, rim, self.depth)] * 2
        walls = [simulation.add_shape("box", size, color=(0.35, 0.42, 0.5, 1)) for size in sizes]
        for wall in walls:
            simulation.set_friction(wall, 0.3, 0.0, 0.0)
            simulation.make_episodic(wall)
        return Bodies(peg, fixtures=walls)

    @property
    def _hole(self) -> np.ndarray:
        """Width of the hole along x and y, in metres."""
        return np.array(self.block.size[:2]) + self.clearance

    @property
    def _grip(self) -> np.ndarray:
        """From the peg's centre to where it is grasped: as far above the hole as a finger is wide, (3,) metres."""
        return np.array([0, 0, max(0.0, self.depth + 0.02 - self.block.low)])

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw peg and hole, again while they are too close."""
        peg, goal = self.draw_block(rng), self.draw_goal(rng)
        while np.linalg.norm(peg[:2] - goal[:2]) < self.min_distance:
            goal = self.draw_goal(rng)
        middle = np.array([*goal[:2], self.depth / 2])
        x, y = (self._hole + self.RIM) / 2
        walls = [Pose(middle + offset) for offset in np.array([(x, 0, 0), (-x, 0, 0), (0, y, 0), (0, -y, 0)])]
        room = Spot(np.array([*goal[:2], 0.0]), float(np.hypot(x, y)) + self.RIM, self.depth)
        return Layout(goal, [Pose(peg, self.block.quaternion)], fixtures=walls, clear=[room])

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return reaching, grasping, and tracking of a way that leads into the hole from above."""
        kept = np.maximum(facts["grasped"], self.success(achieved, desired))
        way = way_from_above(achieved, desired, 1.25 * self.depth, slope=4.0)
        return {
            "reach": tracking(self.distance(facts["ee_position"], achieved + self._grip), 0.2),
            "grasp": kept,
            "goal": kept * closing_in(way),
        }

    def expert(self, now: Snapshot) -> Waypoint:
        """Grasp the peg near its top, carry it above the hole, and let it down once it is right above."""
        peg = now.objects[0].position
        if not self.holds(now):
            return self.to_grasp(now, peg + self._grip)
        to_goal = now.goal - peg
        beside = float(np.linalg.norm(to_goal[:2]))
        outside = to_goal[2] < -0.9 * self.depth
        if beside > (self.clearance / 3 if outside else self.clearance):
            to_goal = self.over(to_goal, 1.25 * self.depth)
            if beside < 0.01:
                to_goal[:2] *= 2.0  # arms stop a millimetre short of small steps
        else:
            to_goal[2] = max(to_goal[2], -0.02)
        return Waypoint(now.robot.ee_position + to_goal, 0.0)
