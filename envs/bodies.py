"""What bodies are and do, in words that need no physics engine: poses, states, mechanisms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

Vector = Sequence[float] | np.ndarray
UPRIGHT = (0.0, 0.0, 0.0, 1.0)


class Pose(NamedTuple):
    """Where a body is and how it is turned."""

    position: Vector
    """(3,) metres."""
    quaternion: Vector = UPRIGHT
    """x, y, z, w."""


def quaternion_of(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Return x, y, z, w of turns about the fixed axes x, y and z in this order, in radians."""
    (sr, sp, sy), (cr, cp, cy) = (fn(np.array([roll, pitch, yaw]) / 2).tolist() for fn in (np.sin, np.cos))
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )


@dataclass(frozen=True)
class Mechanism:
    """A fixed body with one joint that is moved by hand: a button, a lever, a drawer."""

    body: int
    joint: int
    handle: int
    """The link whose frame is where a hand pushes or pulls; its x axis points where the joint opens to."""
    resistance: float
    """Newtons or newton metres that hold the joint where it is, or push it back."""
    returns_to: float | None
    """Position (metres or radians) that a spring pushes the joint back to; None for a joint that stays."""


@dataclass(slots=True)
class MechanismState:
    """A mechanism after a control step; world frame, SI units."""

    handle: np.ndarray
    """(3,) metres: the frame of the handle's link."""
    motion: np.ndarray
    """(3,) unit vector: which way the handle goes as the joint opens."""
    opening: float
    """Position of the joint, in metres or radians."""
    speed: float
    """Metres or radians per second."""


class ObjectState:
    """A free body after a control step; world frame, SI units. Kept as the engine gave it, as a robot's state is."""

    __slots__ = ("motion", "point", "quaternion")

    def __init__(self, pose: tuple[Vector, Vector], motion: tuple[Vector, Vector]) -> None:
        self.point, self.quaternion = pose
        """Position as three floats in metres, and orientation as x, y, z, w."""
        self.motion = motion
        """Linear (m/s) and angular (rad/s) velocity, three floats each."""

    @property
    def position(self) -> np.ndarray:
        """(3,) metres."""
        return np.array(self.point)

    @property
    def velocity(self) -> np.ndarray:
        """(3,) metres per second."""
        return np.array(self.motion[0])

    @property
    def spin(self) -> np.ndarray:
        """(3,) angular velocity in radians per second."""
        return np.array(self.motion[1])
