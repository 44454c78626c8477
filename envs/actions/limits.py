"""What holds whatever an action asks for: limits of the joints, borders of the workspace, and no link in the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from armature.envs.bodies import Vector

if TYPE_CHECKING:
    from armature.envs.robots.base import Robot
    from armature.envs.workspaces.base import Workspace


class Limits:
    """Cuts motions of an arm back to what is allowed.

    Args:
        robot: whose arm it is.
        workspace: its borders hold for the end effector; its surface, the plane z = 0, for every link.
    """

    ROUNDS = 10
    """How often a motion is corrected in turn for everything it violates."""
    NEAR = 0.1
    """Metres above the surface below which a link is watched."""

    def __init__(self, robot: Robot, workspace: Workspace) -> None:
        self.robot = robot
        self.low, self.high = np.array(workspace.low), np.array(workspace.high)
        self.velocities = np.array(robot.description.max_velocities)

    def look(self) -> None:
        """Find what a motion must respect, where the arm was measured last."""
        robot = self.robot
        point, across = robot.now.ee_position, robot.jacobian()[:3]
        low_links = robot.low_links(self.NEAR)
        self._rows = np.concatenate([across, -across, *(lowering[None] for _, lowering in low_links)])
        self._room = np.concatenate([self.high - point, point - self.low, [height for height, _ in low_links]])
        joints = robot.now.joint_positions
        self._least, self._most = robot.low - joints, robot.high - joints

    def allowed(self, motion: np.ndarray, seconds: float) -> np.ndarray:
        """Return a motion (n_arm,) of the joints in radians from where `look` found them, changed as little as need be.

        Along each of some directions of joint space (`rows`) a motion has some `room`, in metres. Where it goes further,
        the excess is taken off along that direction, and so on in turn (Kaczmarz's method of projections). `seconds` is
        how long the motion takes.
        """
        fastest = seconds * self.velocities
        least, most = np.maximum(self._least, -fastest), np.minimum(self._most, fastest)
        motion = clipped(motion, least, most)
        for _ in range(self.ROUNDS):
            beyond = np.flatnonzero(self._rows @ motion > self._room)
            if not len(beyond):
                break
            for index in beyond:
                row = self._rows[index]
                excess = max(0.0, float(row @ motion - self._room[index]))
                motion = motion - excess / (float(row @ row) + self.robot.DAMPING**2) * row
            motion = clipped(motion, least, most)
        return motion


def clipped(values: np.ndarray, low: Vector, high: Vector) -> np.ndarray:
    """Return what `np.clip` does, in a fifth of its time for a few numbers."""
    return np.minimum(np.maximum(values, low), high)
