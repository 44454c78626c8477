"""Rotations: quaternions are x, y, z, w; rotation vectors point along the axis and are as long as the angle."""

from __future__ import annotations

import math

from armature.envs.bodies import Vector

Quaternion = tuple[float, float, float, float]


def product(first: Vector, second: Vector) -> Quaternion:
    """Return the quaternion of turning by `second` and then by `first`, both about the world's axes."""
    ax, ay, az, aw = first
    bx, by, bz, bw = second
    return (
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
        aw * bw - ax * bx - ay * by - az * bz,
    )


def turned(quaternion: Vector, turn: Vector) -> Quaternion:
    """Return an orientation turned by a rotation vector (3,) in the world's axes."""
    x, y, z = turn
    angle = math.sqrt(x * x + y * y + z * z)
    share = math.sin(angle / 2) / angle if angle > 1e-9 else 0.5
    return product((share * x, share * y, share * z, math.cos(angle / 2)), quaternion)


def turn_between(start: Vector, end: Vector) -> tuple[float, float, float]:
    """Return the rotation vector, at most pi long, that turns one orientation into another in the world's axes."""
    sx, sy, sz, sw = start
    x, y, z, w = product(end, (-sx, -sy, -sz, sw))
    length = math.sqrt(x * x + y * y + z * z)
    share = 2 * math.atan2(length, abs(w)) / length if length > 1e-9 else 2.0
    share = share if w >= 0 else -share
    return share * x, share * y, share * z
