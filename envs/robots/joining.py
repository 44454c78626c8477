"""Joins the links of a URDF that are fixed to others, since every link costs the engine time in every substep.

Frames, masses and inertia stay what they are, which PyBullet's own flag `URDF_MERGE_FIXED_LINKS` does not achieve.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from armature.envs.bodies import Vector, quaternion_of
from armature.envs.engine import p

_TENSOR = ("ixx", "ixy", "ixz", "ixy", "iyy", "iyz", "ixz", "iyz", "izz")


class Place(NamedTuple):
    """Where something is in the frame of a link."""

    link: str
    matrix: np.ndarray = np.eye(4)
    """(4, 4): rotation, and metres in the last column."""

    def of(self, item: Element) -> Place:
        """Return where an element is whose `<origin>` is told in the frame at this place."""
        origin = item.find("origin")
        if origin is None:
            return self
        inner = np.eye(4)
        turn = quaternion_of(*_numbers(origin, "rpy"))
        inner[:3, :3] = np.reshape(p.getMatrixFromQuaternion(turn), (3, 3))
        inner[:3, 3] = _numbers(origin, "xyz")
        return Place(self.link, self.matrix @ inner)

    @property
    def position(self) -> np.ndarray:
        """(3,) metres."""
        return self.matrix[:3, 3]

    @property
    def axes(self) -> np.ndarray:
        """(3, 3) the axes as columns."""
        return self.matrix[:3, :3]

    @property
    def quaternion(self) -> tuple[float, float, float, float]:
        """x, y, z, w."""
        return quaternion_of(*_angles(self.axes))


def join_fixed_links(robot: Element, apart: Collection[str] = ()) -> dict[str, Place]:
    """Join each link of a URDF that is fixed to another into the one that carries it; return where every link is.

    Links named in `apart`, and those with `<contact>` values of their own, stay links. A link without `<inertial>`
    weighs nothing.
    """
    _spell_out_materials(robot)
    links = {link.get("name", ""): link for link in robot.findall("link")}
    joints = {_end(joint, "child"): joint for joint in robot.findall("joint")}
    fixed = {
        name: joint
        for name, joint in joints.items()
        if joint.get("type") == "fixed" and name not in apart and links[name].find("contact") is None
    }
    places = {name: _place(name, fixed) for name in links}
    # A root stands still, and the axes of its inertia are those in which Bullet tells Jacobians: it keeps them.
    for carrier in {_end(joint, "parent") for joint in fixed.values()} & (joints.keys() - fixed.keys()):
        _weigh(links[carrier], [(links[name], place) for name, place in places.items() if place.link == carrier])
    for name, joint in fixed.items():
        for item in (*links[name].findall("visual"), *links[name].findall("collision")):
            _put(item, places[name].of(item))
            links[places[name].link].append(item)
        robot.remove(links[name])
        robot.remove(joint)
    for joint in robot.findall("joint"):
        place = places[_end(joint, "parent")]
        _put(joint, place.of(joint))
        for parent in joint.findall("parent"):
            parent.set("link", place.link)
    return places


def set_inertial(link: Element, mass: float, moments: Vector, centre: Vector, axes: np.ndarray) -> None:
    """Let a link have a mass (kg), and principal moments (3,) (kg m^2) about the columns of `axes` at a centre."""
    for old in link.findall("inertial"):
        link.remove(old)
    inertial = SubElement(link, "inertial")
    SubElement(inertial, "origin", xyz=_text(centre), rpy=_text(_angles(axes)))
    SubElement(inertial, "mass", value=_text([mass]))
    SubElement(inertial, "inertia", dict(zip(_TENSOR, map(repr, np.diag(moments).ravel().tolist()), strict=True)))


def _place(name: str, fixed: Mapping[str, Element]) -> Place:
    """Return where a link is in the one that carries it."""
    joint = fixed.get(name)
    return Place(name) if joint is None else _place(_end(joint, "parent"), fixed).of(joint)


def _weigh(carrier: Element, parts: Iterable[tuple[Element, Place]]) -> None:
    """Give a link the inertia of all its parts, about their common centre of mass by the theorem of parallel axes."""
    bodies = [(place.of(inertial), inertial) for link, place in parts for inertial in link.findall("inertial")]
    masses = np.array([_numbers(inertial.find("mass"), "value")[0] for _, inertial in bodies])
    if not masses.any():
        return
    centres = np.array([place.position for place, _ in bodies])
    centre = masses @ centres / masses.sum()
    total = np.zeros((3, 3))
    for (place, inertial), mass, way in zip(bodies, masses, centres - centre, strict=True):
        own = np.reshape([_numbers(inertial.find("inertia"), name)[0] for name in _TENSOR], (3, 3))
        total += place.axes @ own @ place.axes.T + mass * (way @ way * np.eye(3) - np.outer(way, way))
    moments, axes = np.linalg.eigh(total)
    # Rounding must not make them those of no body, which Bullet would take for zeros.
    moments = np.maximum(moments, 1e-9 * moments[-1])
    set_inertial(carrier, masses.sum(), moments, centre, axes * np.linalg.det(axes))


def _spell_out_materials(robot: Element) -> None:
    """Write colours where they are used: Bullet knows a name only after the link that defines it."""
    known: dict[str | None, Element] = {}
    for material in (*robot.findall("material"), *robot.iterfind("link//material")):
        if len(material):
            known[material.get("name")] = material
        elif material.get("name") in known:
            material.extend(copy.deepcopy(list(known[material.get("name")])))


def _put(item: Element, place: Place) -> None:
    for old in item.findall("origin"):
        item.remove(old)
    SubElement(item, "origin", xyz=_text(place.position), rpy=_text(_angles(place.axes)))


def _angles(axes: np.ndarray) -> tuple[float, float, float]:
    """Return the turns about the fixed axes x, y and z in this order that make a rotation matrix, at any pitch."""
    yaw = math.atan2(axes[1, 0], axes[0, 0])
    sine, cosine = math.sin(yaw), math.cos(yaw)
    pitch = math.atan2(-axes[2, 0], math.hypot(axes[0, 0], axes[1, 0]))
    return math.atan2(sine * axes[0, 2] - cosine * axes[1, 2], cosine * axes[1, 1] - sine * axes[0, 1]), pitch, yaw


def _end(joint: Element, tag: str) -> str:
    """Return the name of the link at an end of a joint: its `parent` or its `child`."""
    end = joint.find(tag)
    return "" if end is None else end.get("link", "")


def _numbers(item: Element | None, name: str) -> list[float]:
    """Return the numbers that an element has under a name, or zeros as URDFs mean it where there are none."""
    text = None if item is None else item.get(name)
    return [0.0, 0.0, 0.0] if text is None else [float(number) for number in text.split()]


def _text(numbers: Sequence[float] | np.ndarray) -> str:
    """Return numbers as text that is read back bit for bit."""
    return " ".join(repr(float(number)) for number in numbers)
