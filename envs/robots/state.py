"""What is measured of a robot after each control step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Floats = Sequence[float]


class RobotState:
    """What was measured after a control step; world frame, SI units.

    Kept as the engine gave it and made into arrays when asked for, since most of it rarely is.
    """

    __slots__ = ("ee_point", "ee_quaternion", "gripper_width", "joints", "motion")

    def __init__(
        self,
        joints: Sequence[Floats],
        ee_point: Floats,
        ee_quaternion: Floats,
        motion: tuple[Floats, Floats],
        width: float,
    ) -> None:
        self.joints, self.motion = joints, motion
        """Position and velocity first of each joint; linear and angular velocity of the end effector."""
        self.ee_point = ee_point
        """Position of the end effector as three floats, in metres."""
        self.ee_quaternion = ee_quaternion
        """Its orientation: x, y, z, w."""
        self.gripper_width = width
        """Metres; 0 without a gripper."""

    @property
    def joint_positions(self) -> np.ndarray:
        """(n_arm,) radians."""
        return np.array([joint[0] for joint in self.joints])

    @property
    def joint_velocities(self) -> np.ndarray:
        """(n_arm,) radians per second."""
        return np.array([joint[1] for joint in self.joints])

    @property
    def ee_position(self) -> np.ndarray:
        """(3,) metres."""
        return np.array(self.ee_point)

    @property
    def ee_velocity(self) -> np.ndarray:
        """(3,) metres per second."""
        return np.array(self.motion[0])

    @property
    def ee_spin(self) -> np.ndarray:
        """(3,) angular velocity in radians per second."""
        return np.array(self.motion[1])


def point_velocity(point: Floats, link: Sequence[Floats]) -> tuple[float, float, float]:
    """Return how fast a point (metres) moves that is fixed to a link, whose velocity is that of its centre of mass."""
    (x, y, z), (mx, my, mz), (vx, vy, vz), (wx, wy, wz) = point, link[0], link[6], link[7]
    x, y, z = x - mx, y - my, z - mz
    return vx + wy * z - wz * y, vy + wz * x - wx * z, vz + wx * y - wy * x
