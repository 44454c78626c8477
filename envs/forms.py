"""Shapes of bodies as PyBullet wants to hear of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from armature.envs.engine import p


class Form(NamedTuple):
    """A shape as arguments of `createCollisionShape` and `createVisualShape`, which differ in names."""

    solid: dict[str, Any]
    seen: dict[str, Any]


def scaled(shape: Sequence[Any], factor: float) -> Form:
    """Return a shape of `getCollisionShapeData`, whose place is relative to the centre of mass, in another size."""
    _, _, kind, size, file, position, quaternion = shape
    x, y, z = (factor * edge for edge in size)
    offset = [factor * place for place in position]
    common: dict[str, Any] = {"shapeType": kind}
    if kind == p.GEOM_BOX:
        common["halfExtents"] = (x / 2, y / 2, z / 2)
    elif kind == p.GEOM_MESH:
        common |= {"fileName": file.decode(), "meshScale": (x, y, z)}
    else:  # a sphere has its radius thrice, cylinders and capsules have height and radius
        common["radius"] = y
    solid = {**common, "collisionFramePosition": offset, "collisionFrameOrientation": quaternion}
    seen = {**common, "visualFramePosition": offset, "visualFrameOrientation": quaternion}
    if kind in (p.GEOM_CYLINDER, p.GEOM_CAPSULE):
        solid["height"] = seen["length"] = x
    return Form(solid, seen)
