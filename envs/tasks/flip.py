"""Flip: turn a cube over to its side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.bodies import Pose, Vector
from armature.envs.rewards import Facts, tracking
from armature.envs.rotations import turn_between, turned
from armature.envs.tasks.base import Layout, Waypoint, parameter
from armature.envs.tasks.block import BlockTask
from armature.scene import ObjectConfig

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot

DIE = str(Path(__file__).parents[1] / "assets" / "die.urdf")
"""A cube whose faces differ."""


@dataclass
class Flip(BlockTask):
    """Bring a cube that lies on the table into a given orientation, in the hand or lying.

    ## Goal
    A quaternion x, y, z, w with w >= 0: the cube, turned about the vertical by up to `max_turn` either way, and then
    tilted to its left or its right by an angle between `min_tilt` and `max_tilt`. The direction of tilting differs by
    up to `spread` from straight sideways, where all arms can turn their hands to.

    ## Success
    The angle of the rotation between cube and goal is below `success_distance`, which is in radians.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 1 | 1 - tanh(distance from end effector to cube / 0.2 m) |
    | `grasp` | 0.5 | 1 while all fingers touch the cube, or on success |
    | `lift` | 1 | height of the cube above the table / 0.1 m, while grasped, or 1 on success |
    | `goal` | 8 | mean of 1 - tanh(angle between cube and goal / scale) for the scales 1 and 0.3 rad, while grasped or on success |
    | `success` | 4 | 1 on success |

    ## Version
    1
    """  # noqa: E501 - a row of a table

    success_distance: float = parameter(0.25, "Radians between the cube's orientation and the goal: success below it.")
    min_tilt: float = parameter(0.6, "Radians; least angle by which the cube is to be tilted.")
    max_tilt: float = parameter(1.5, "Radians; greatest angle by which the cube is to be tilted.")
    max_turn: float = parameter(0.6, "Radians; greatest turn about the vertical, either way.")
    spread: float = parameter(0.35, "Radians; how far the direction of tilting may be from straight sideways.")

    TURNING_PLACE: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.25)
    """Where the expert turns the cube, in metres."""
    SHOWN_AT: ClassVar[tuple[float, float, float]] = (0.1, 0.3, 0.3)
    """Where pictures show the goal, in metres."""

    horizon = 60
    parts = (*BlockTask.parts, "gripper_width", "grasped")
    # Every step on the way has to pay far better than staying where one is.
    reward_terms = {"reach": 1.0, "grasp": 0.5, "lift": 1.0, "goal": 8.0, "success": 4.0}
    own_objects = (ObjectConfig(kind=DIE),)
    further_objects = False
    uses_gripper = True
    turns_hand = True
    ghost = DIE
    marker_radius = 0.015

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw where the cube lies, and how it is to be turned."""
        block = self.draw_block(rng)
        turn = (0.0, 0.0, rng.uniform(-self.max_turn, self.max_turn))
        aside = rng.uniform(-self.spread, self.spread)
        tilt = rng.choice((-1, 1)) * rng.uniform(self.min_tilt, self.max_tilt)
        goal = turned(turned((0, 0, 0, 1), turn), (tilt * np.cos(aside), tilt * np.sin(aside), 0.0))
        return Layout(_upper(goal), self.poses(block, block, rng))

    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return the cube's orientation, of both quaternions that stand for it the one with w >= 0."""
        return _upper(now.objects[0].quaternion)

    def success(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return whether orientations (n, 4) agree, shape (n,)."""
        return self.angle(achieved, desired) < self.success_distance

    @staticmethod
    def angle(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the angles (n,) of the rotations between quaternions (n, 4), in radians."""
        cosine = np.abs(np.add.reduce(achieved.astype(float) * desired, axis=1))
        return 2 * np.arccos(np.minimum(cosine, 1.0))

    def facts(self, now: Snapshot) -> dict[str, np.ndarray]:
        """Return the positions (3,) of end effector and cube in metres, and whether it is grasped."""
        return {**super().facts(now), "position": now.objects[0].position}

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return reaching, grasping, lifting and turning."""
        angle, success = self.angle(achieved, desired), self.success(achieved, desired)
        kept = np.maximum(facts["grasped"], success)
        height = np.clip((facts["position"][:, 2] - self.block.low) / 0.1, 0, 1)
        return {
            "reach": tracking(self.distance(facts["ee_position"], facts["position"]), 0.2),
            "grasp": kept,
            "lift": np.maximum(facts["grasped"] * height, success),
            "goal": kept * (tracking(angle, 1.0) + tracking(angle, 0.3)) / 2,
        }

    def marker(self, goal: np.ndarray) -> Pose:
        """Return a place beside the table, as the goal has none of its own, turned as the goal is."""
        return Pose(self.SHOWN_AT, goal)

    def expert(self, now: Snapshot) -> Waypoint:
        """Grasp the cube, lift it, and turn it in the air."""
        cube = now.objects[0]
        if not self.holds(now):
            return self.to_grasp(now, cube.position)
        place = np.array(self.TURNING_PLACE)
        if now.robot.ee_point[2] < 0.6 * place[2]:
            return Waypoint(now.robot.ee_position + np.array([0, 0, 0.05]), 0.0)
        turn = np.array(turn_between(cube.quaternion, now.goal))
        return Waypoint(place, 0.0, np.array(turned(now.robot.ee_quaternion, turn)))


def _upper(quaternion: Vector) -> np.ndarray:
    """Return a quaternion (4,) or its negative, which stands for the same orientation, so that w >= 0."""
    array = np.array(quaternion, dtype=float)
    return -array if array[3] < 0 else array
