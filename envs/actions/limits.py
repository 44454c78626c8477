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

    Along each of some directions of joint space, the rows of a Jacobian, a motion has some room in metres: until the
    end effector is at a border of the workspace, or a link at its surface, the plane z = 0.

    Args:
        robot: whose arm it is.
        workspace: its borders hold for the end effector.
    """

    WATCHED = 0.1
    """Metres above the surface below which a link is watched."""
    BRAKING = 3.0
    """Metres per second squared with which the end effector can be stopped in any direction."""
    JOINT_BRAKING = 10.0
    """Radians per second squared with which any joint can be stopped."""

    def __init__(self, robot: Robot, workspace: Workspace) -> None:
        self.robot = robot
        self.low, self.high = np.array(workspace.low), np.array(workspace.high)
        self.box = self.low.tolist(), self.high.tolist()
        """The borders' lowest and highest x, y, z as floats, which are faster to handle one by one."""
        self.velocities = np.array(robot.description.max_velocities)
        self._period = robot.simulation.control_period

    def look(self) -> None:
        """Find what motions must respect, where the arm was measured last."""
        point, across = self.robot.now.ee_position, self.robot.jacobian()[:3]
        links = self.robot.low_links(self.WATCHED)
        self._rows = np.concatenate([across, -across, *(lowering[None] for _, lowering in links)])
        self._room = np.concatenate([self.high - point, point - self.low, [height for height, _ in links]])
        joints = self.robot.now.joint_positions
        self._down, self._up = joints - self.robot.low, self.robot.high - joints

    def allowed_motion(self, motion: np.ndarray) -> np.ndarray:
        """Return the motion of a control step (n_arm,), in radians, changed as little as need be."""
        fastest = self._period * self.velocities
        low, high = -np.minimum(self._down, fastest), np.minimum(self._up, fastest)
        return nearest(motion, self._rows, self._room, low, high)

    def allowed_velocities(self, velocities: np.ndarray, moved: np.ndarray, notice: float) -> np.ndarray:
        """Return velocities (n_arm,) in radians per second, so that the arm can still stop in time, changed little.

        `moved` are the radians (n_arm,) that the joints have moved since `look`. No room is used up in less than
        `notice` seconds.
        """
        speeds = _stopping(self._room - self._rows @ moved, self.BRAKING, notice)
        down, up = (_stopping(room, self.JOINT_BRAKING, notice) for room in (self._down + moved, self._up - moved))
        low, high = -np.minimum(down, self.velocities), np.minimum(up, self.velocities)
        return nearest(velocities, self._rows, speeds, low, high)


def _stopping(room: np.ndarray, braking: float, notice: float) -> np.ndarray:
    """Return the largest speeds from which a stop needs no more room; negative ones lead back."""
    return np.minimum(room / notice, np.sqrt(2 * braking * np.maximum(room, 0.0)))


def nearest(wanted: np.ndarray, rows: np.ndarray, most: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return a vector x near `wanted` with low <= x <= high and, where these leave the choice, rows @ x <= most.

    Where a row is broken the excess is taken off along it, one row after the other, some rounds (Kaczmarz's method of
    projections). Shapes: wanted, low, high (n,); rows (m, n) in metres; most (m,).
    """
    x = clipped(wanted, low, high)
    for _ in range(10):
        broken = np.flatnonzero(rows @ x > most)
        if not len(broken):
            break
        for row, limit in zip(rows[broken], most[broken], strict=True):
            excess = max(0.0, float(row @ x - limit))
            x = x - excess / (float(row @ row) + 0.05**2) * row  # damped: calm where a row is nearly zero
        x = clipped(x, low, high)
    return x


def within(number: float, low: float, high: float) -> float:
    """Return a number, or the limit that is nearest to it."""
    return min(max(number, low), high)


def clipped(values: np.ndarray, low: Vector, high: Vector) -> np.ndarray:
    """Return what `np.clip` does, in a fifth of its time for a few numbers."""
    return np.minimum(np.maximum(values, low), high)
