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
    """The link whose frame is where a hand pushes or pulls."""
    resistance: float
    """Newtons or newton metres that hold the joint where it is, or push it back."""
    returns_to: float | None
    """Position (metres or radians) that a spring pushes the joint back to; None for a joint that stays."""


@dataclass(slots=True)
class MechanismState:
    """A mechanism after a control step; world frame, SI units."""

    handle: np.ndarray
    """(3,) metres: the frame of the handle's link."""
    opening: float
    """Position of the joint, in metres or radians."""
    speed: float
    """Metres or radians per second."""


@dataclass(slots=True)
class ObjectState:
    """A free body after a control step; world frame, SI units, quaternion as x, y, z, w."""

    position: np.ndarray
    quaternion: tuple[float, ...]
    velocity: np.ndarray
    spin: np.ndarray
    """Angular velocity."""
