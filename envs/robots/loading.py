"""Brings the URDF or SDF of a description into a simulation.

What is loaded is a copy in which fixed links are joined, ghosts have nothing to collide with, a rod sits at a bare
flange if the description asks, and links look like what they collide with if the simulation does.
"""

from __future__ import annotations

import functools
import itertools
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.engine import p, pybullet_data
from armature.envs.meshes import draw_as_it_collides, locate_files
from armature.envs.robots.description import RobotDescription
from armature.envs.robots.joining import Place, join_fixed_links, set_inertial
from armature.envs.simulation import Simulation
from armature.errors import ConfigError
from armature.registry import Table

TIP = 0.008
"""Metres that a rod goes on behind the end effector, as the tips of fingers do."""
_ROD = """
<rod>
  <link name="{name}">
    <inertial><origin xyz="{middle}"/><mass value="0.05"/>
      <inertia ixx="1e-4" ixy="0" ixz="0" iyy="1e-4" iyz="0" izz="1e-4"/></inertial>
    <visual><origin xyz="{middle}" rpy="{turn}"/>
      <geometry><cylinder radius="{radius}" length="{length}"/></geometry></visual>
    <collision><origin xyz="{middle}" rpy="{turn}"/>
      <geometry><cylinder radius="{radius}" length="{length}"/></geometry></collision>
  </link>
  <joint name="{name}_joint" type="fixed"><parent link="{parent}"/><child link="{name}"/></joint>
</rod>
"""


class Link(NamedTuple):
    """What Bullet makes of a link of a file."""

    mass: float
    """Kilograms."""
    moments: Vector
    """(3,) kg m^2, taken from the shapes that it collides with: those in files are often made up."""
    centre: Vector
    """(3,) of mass, in metres."""
    axes: np.ndarray
    """(3, 3) those of the moments, as columns."""
    corners: np.ndarray
    """(8, 3) of the box around what it collides with, in metres; none if it does not collide."""


class Loaded(NamedTuple):
    """A robot in a simulation."""

    body: int
    """Id of the body."""
    places: dict[str, Place]
    """Where each link of the file is in the link that carries it."""
    boxes: dict[str, np.ndarray]
    """Corners (8, 3) of the box around each link that collides, in the frame of the link that carries it."""


_STILL = Link(0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), np.eye(3), np.zeros((0, 3)))


def load(simulation: Simulation, description: RobotDescription, position: Vector) -> Loaded:
    """Load a robot, its base fixed at `position` in metres. Raises `ConfigError` if that cannot be."""
    folder = description.folder()
    path = folder / description.urdf if folder else Path(description.urdf)
    path = path if path.is_file() else Path(pybullet_data.getDataPath()) / path
    try:
        robot = ElementTree.parse(path).getroot()
        locate_files(robot, path.resolve().parent)
        if description.rod:
            _add_rod(robot, path, description)
        links = _links(_text(robot), path.suffix)
        draw_as_it_collides(robot, everything=simulation.coarse)
        _make_ghosts(robot, description)
        places = {name: Place(name) for name in links} if path.suffix == ".sdf" else _join(robot, description, links)
        body = _load(simulation, _text(robot), position, path.suffix, p.URDF_USE_INERTIA_FROM_FILE)
    except (p.error, SyntaxError, OSError, ValueError) as error:
        raise ConfigError(f"PyBullet cannot load the robot {path}: {error}") from None
    solid = {name: link.corners for name, link in links.items() if len(link.corners) and name not in description.ghosts}
    boxes = {name: places[name].position + corners @ places[name].axes.T for name, corners in solid.items()}
    return Loaded(body, places, boxes)


def _join(robot: Element, description: RobotDescription, links: Mapping[str, Link]) -> dict[str, Place]:
    """Join fixed links other than fingers, with the inertia that Bullet gives them; return where links are."""
    for item in robot.findall("link"):
        # Bullet tells Jacobians along the axes of the root's inertia, which matters to nothing else.
        set_inertial(item, *links.get(item.get("name", ""), _STILL)[:4])
    return join_fixed_links(robot, description.gripper.fingers if description.gripper else ())


def _add_rod(robot: Element, path: Path, description: RobotDescription) -> None:
    """Add a rod from the frame of `ee_link` to the end effector."""
    length = math.hypot(*description.ee_offset) + TIP
    if path.suffix == ".sdf" or length == TIP:
        raise ConfigError(f"no rod fits the robot {path}: it needs a URDF, and an ee_offset that the rod is to follow.")
    x, y, z = (part / (length - TIP) for part in description.ee_offset)
    rod = _ROD.format(
        name="armature_rod",
        parent=description.ee_link,
        middle=f"{x * length / 2} {y * length / 2} {z * length / 2}",
        turn=f"0 {math.acos(max(-1.0, min(z, 1.0)))} {math.atan2(y, x)}",
        radius=description.radius,
        length=length,
    )
    robot.extend(ElementTree.fromstring(rod))


def _make_ghosts(robot: Element, description: RobotDescription) -> None:
    """Let links collide with nothing."""
    links: Table[Element] = Table(f"link of {description.urdf}")
    links.update({link.get("name", ""): link for link in robot.iter("link")})
    for name in description.ghosts:
        for shape in links[name].findall("collision"):
            links[name].remove(shape)


@functools.lru_cache(maxsize=16)
def _links(model: str, suffix: str) -> dict[str, Link]:
    """Return what Bullet makes of the links of a model, but for its root."""
    simulation = Simulation()
    try:
        body = _load(simulation, model, (0.0, 0.0, 0.0), suffix)
        return dict(_read_link(body, link, simulation.client) for link in simulation.links(body)[1:])
    finally:
        simulation.close()


def _read_link(body: int, link: int, client: int) -> tuple[str, Link]:
    name = p.getJointInfo(body, link, physicsClientId=client)[12].decode()
    mass, _, moments, centre, turn = p.getDynamicsInfo(body, link, physicsClientId=client)[:5]
    axes = np.reshape(p.getMatrixFromQuaternion(turn), (3, 3))
    if not p.getCollisionShapeData(body, link, physicsClientId=client):
        return name, Link(mass, moments, centre, axes, np.zeros((0, 3)))
    # With the axes of its inertia along the world's, what Bullet knows to be around the link is a tight box.
    base, turned = p.getBasePositionAndOrientation(body, physicsClientId=client)[1], _pose(body, link, client)[1]
    back = p.multiplyTransforms((0, 0, 0), p.invertTransform((0, 0, 0), turned)[1], (0, 0, 0), base)[1]
    p.resetBasePositionAndOrientation(body, (0, 0, 0), back, physicsClientId=client)
    box = np.array(p.getAABB(body, link, physicsClientId=client)) - _pose(body, link, client)[0]
    corners = np.array(list(itertools.product(*box.T)))
    return name, Link(mass, moments, centre, axes, centre + corners @ axes.T)


def _pose(body: int, link: int, client: int) -> tuple[Vector, Vector]:
    """Return position and orientation of a link's inertia."""
    pose: tuple[Vector, Vector] = p.getLinkState(body, link, computeForwardKinematics=1, physicsClientId=client)[:2]
    return pose


def _load(simulation: Simulation, model: str, position: Vector, suffix: str, flags: int = 0) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"robot{suffix}"
        file.write_text(model, encoding="utf-8")
        return simulation.load_robot(str(file), position, flags)


def _text(robot: Element) -> str:
    return ElementTree.tostring(robot, encoding="unicode")
