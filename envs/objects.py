"""Objects: boxes, spheres, cylinders and URDFs with the size, mass, friction and colour that a config gives them.

Kinds are checked without PyBullet; it is loaded when the first object is added to a world.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

import numpy as np
import pybullet_data

from armature.envs.bodies import UPRIGHT, Pose
from armature.errors import ConfigError, closest
from armature.scene import FrictionConfig, LooseConfig, SceneConfig, ShapeConfig

if TYPE_CHECKING:
    from armature.envs.simulation import Simulation

SHAPES = ("box", "cylinder", "sphere")
GREY = (0.5, 0.5, 0.5, 1.0)
EDGE, MASS = 0.04, 0.2
"""Size in metres and mass in kilograms of a shape of which the config says nothing."""
GAP = 0.01
"""Metres between objects that are placed beside each other, at least."""


class Spot(NamedTuple):
    """Room that is taken: an upright cylinder."""

    position: np.ndarray
    """(3,) the middle of its underside, in metres."""
    radius: float
    height: float

    def clear_of(self, others: Iterable[Spot]) -> bool:
        """Return whether there is a gap between this and all others."""
        return all(
            np.hypot(*(self.position - other.position)[:2]) > self.radius + other.radius + GAP
            or self.position[2] > other.position[2] + other.height
            or other.position[2] > self.position[2] + self.height
            for other in others
        )


class Extent(NamedTuple):
    """How much room an object takes as it rests on a surface."""

    size: tuple[float, float, float]
    """Metres along x, y, z."""
    low: float
    """Metres from its underside up to its position, the centre of mass."""
    quaternion: tuple[float, float, float, float] = UPRIGHT
    """How it rests."""

    @property
    def radius(self) -> float:
        """Metres from its middle to its side: half of its longer edge."""
        return max(self.size[:2]) / 2

    @property
    def reach(self) -> float:
        """Metres from its middle to its corners, seen from above."""
        return math.hypot(*self.size[:2]) / 2

    def at(self, position: np.ndarray) -> Spot:
        """Return the room it takes at a position (3,)."""
        x, y, z = position.tolist()
        return Spot(np.array([x, y, z - self.low]), self.reach, self.size[2])


# ------------------------------------------------------------------------------------------------ kinds


def check(scene: SceneConfig) -> None:
    """Raise `ConfigError` for kinds of objects that do not exist; PyBullet is not needed."""
    for name in ("task_objects", "distractors"):
        for index, config in enumerate(getattr(scene, name)):
            check_kind(config, f"{name}.{index}")
    for index, config in enumerate(scene.clutter.objects if scene.clutter else ()):
        check_kind(config, f"clutter.objects.{index}")


def check_kind(config: ShapeConfig, where: str) -> None:
    """Raise `ConfigError` unless a kind is a shape of as many numbers as its size has, or a URDF without joints."""
    allowed = {"sphere": (1,), "cylinder": (1, 2), "box": (1, 3)}.get(config.kind or "box", (1,))
    if config.size and len(config.size) not in allowed:
        raise ConfigError(
            f"{where}.size has {len(config.size)} numbers; a {config.kind or 'box'} has "
            f"{' or '.join(map(str, allowed))}."
        )
    if config.kind and config.kind not in SHAPES:
        _check_urdf(urdf_file(config.kind, f"{where}.kind"), f"{where}.kind")


@cache
def urdf_file(kind: str, where: str) -> Path:
    """Return the file of a kind that is no simple shape: beside us, or in PyBullet's data; raise `ConfigError`."""
    data = Path(pybullet_data.getDataPath())
    procedural = re.fullmatch(r"random_urdfs/(\d{3})", kind)
    inside = f"{kind}/{procedural[1]}.urdf" if procedural else kind
    for file in (Path(kind).expanduser(), data / inside):
        if file.suffix == ".urdf" and file.is_file():
            return file.resolve()
    known = [*SHAPES, *(file.relative_to(data).as_posix() for file in sorted(data.glob("**/*.urdf")))]
    raise ConfigError(
        f"{where} is {kind!r}{closest(kind, known) or ', which is no file.'} Allowed: {', '.join(SHAPES)}, the path of "
        "a URDF (your own or in PyBullet's data, such as duck_vhacd.urdf), random_urdfs/000 to random_urdfs/999."
    )


@cache
def _check_urdf(file: Path, where: str) -> None:
    try:
        root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, OSError) as error:
        raise ConfigError(f"{where}: {file} is no XML: {error}.") from None
    if root.tag != "robot" or root.find("link/collision") is None:
        raise ConfigError(f"{where}: {file} is no URDF of an object: it needs <robot> with a <link> with <collision>.")
    moving = [joint.get("name") for joint in root.iter("joint") if joint.get("type") != "fixed"]
    if moving:
        raise ConfigError(f"{where}: {file} has joints that move ({', '.join(map(str, moving))}); objects have none.")


# ------------------------------------------------------------------------------------------------ making


def full_size(config: ShapeConfig) -> tuple[float, float, float]:
    """Return metres along x, y, z of a box, sphere or cylinder that stands."""
    first, *rest = config.size or [EDGE]
    across, height = (rest[0], rest[1]) if len(rest) == 2 else (first, rest[0] if rest else first)
    return first, across, height


def add(simulation: Simulation, config: ShapeConfig, loose: bool = True) -> int:
    """Add an object that is placed anew in every episode, or one that no touch moves; return its body."""
    kind, color = config.kind or "box", _rgba(config)
    mass = config.mass if isinstance(config, LooseConfig) else None
    if kind in SHAPES:
        body = simulation.add_shape(kind, full_size(config), (mass or MASS) if loose else 0.0, color or GREY)
    else:
        body = simulation.load_object(str(urdf_file(kind, "kind")), not loose, _scale(config), mass, color)
    # A ball without it would roll off the table.
    _set_friction(simulation, body, config, FrictionConfig(rolling=0.004 if kind == "sphere" else 0.0))
    simulation.make_episodic(body)
    return body


def add_fixed(simulation: Simulation, config: ShapeConfig, pose: Pose) -> int:
    """Add a body that stays where it is; return it."""
    kind, color = config.kind or "box", _rgba(config)
    if kind in SHAPES:
        body = simulation.add_shape(kind, full_size(config), 0.0, color or GREY, *pose)
    else:
        body = simulation.load_object(str(urdf_file(kind, "kind")), True, _scale(config), None, color, *pose)
    _set_friction(simulation, body, config, FrictionConfig(lateral=0.5, spinning=0))
    return body


def _rgba(config: ShapeConfig) -> tuple[float, ...] | None:
    return None if config.color is None else (*config.color, 1.0)[:4]


def _scale(config: ShapeConfig) -> float:
    return (config.size or [1.0])[0]


def _set_friction(simulation: Simulation, body: int, config: ShapeConfig, default: FrictionConfig) -> None:
    friction = config.friction or (default if (config.kind or "box") in SHAPES else None)
    if friction:
        simulation.set_friction(body, friction.lateral, friction.rolling, friction.spinning)


def extent(config: ShapeConfig) -> Extent:
    """Return how much room an object takes."""
    kind = config.kind or "box"
    if kind in SHAPES:
        size = full_size(config)
        return Extent(size, size[2] / 2)
    return _settled(str(urdf_file(kind, "kind")), _scale(config))


@cache
def _settled(file: str, scale: float) -> Extent:
    """Return the extent of a URDF that was let go on a plane in a world of its own, and came to rest.

    What stands in a file is seldom how a thing lies: procedural objects would topple at the start of every episode.
    """
    from armature.envs.simulation import Simulation

    world = Simulation(solver_iterations=50)
    world.add_shape("box", (4, 4, 1), position=(0, 0, -0.5))
    body = world.load_object(file, False, scale)
    world.set_friction(body, 1.0, 0.002, 0.002)  # it must not roll for ever
    low, high = world.bounds(body)
    world.place(body, (0, 0, world.pose(body)[0][2] - low[2] + 0.002))
    for _ in range(60):
        world.step()
    (x, y, z), quaternion = world.pose(body)
    low, high = world.bounds(body)
    world.close()
    # Seen from its position, so that what is placed beside it keeps away from its farther side.
    across = 2 * max(high[0] - x, x - low[0]), 2 * max(high[1] - y, y - low[1])
    return Extent((*across, high[2] - low[2]), z, quaternion)


# ------------------------------------------------------------------------------------------------ placing


def draw_in(area: Sequence[float], rng: np.random.Generator) -> np.ndarray:
    """Return a point (3,) of an area [x0, x1, y0, y1] or [x0, x1, y0, y1, z0, z1]; without z it has height 0."""
    shares: list[float] = rng.random(len(area) // 2).tolist()  # at once, which takes half the time
    point = [low + (high - low) * share for low, high, share in zip(area[::2], area[1::2], shares, strict=True)]
    return np.array(point if len(point) == 3 else [*point, 0.0])


def draw_clear(
    area: Sequence[float], room: Extent, taken: Sequence[Spot], rng: np.random.Generator, tries: int = 200
) -> Spot | None:
    """Return a place in an area that is clear of what is taken, or None if that many tries found none."""
    for _ in range(tries):
        spot = Spot(draw_in(area, rng), room.reach, room.size[2])
        if spot.clear_of(taken):
            return spot
    return None


def draw_all_clear(
    wanted: Sequence[tuple[Sequence[float], Extent]], taken: Sequence[Spot], rng: np.random.Generator
) -> list[Spot] | None:
    """Return places in areas that are clear of what is taken and of each other, or None if there is no room."""
    for _ in range(20):  # the first ones may stand so that the last one has no room
        spots: list[Spot] = []
        for area, room in wanted:
            if spot := draw_clear(area, room, [*taken, *spots], rng):
                spots.append(spot)
        if len(spots) == len(wanted):
            return spots
    return None


def turned(room: Extent, rotation: str | None, rng: np.random.Generator) -> tuple[float, ...]:
    """Return the orientation of a resting object: as it is, or turned about the vertical by chance."""
    if rotation != "yaw":
        return room.quaternion
    half = rng.uniform(-np.pi, np.pi) / 2
    sin, cos = np.sin(half), np.cos(half)
    x, y, z, w = room.quaternion
    return (cos * x - sin * y, cos * y + sin * x, cos * z + sin * w, cos * w - sin * z)


def standing(spot: Spot, room: Extent, quaternion: tuple[float, ...]) -> Pose:
    """Return the pose of an object whose underside is at a spot."""
    return Pose(spot.position + np.array([0, 0, room.low]), quaternion)
