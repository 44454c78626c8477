"""Brings the URDF or SDF of a description into a simulation.

What is loaded is a copy in which fixed links are joined, ghosts have nothing to collide with, a rod sits at a bare
flange if the description asks, and links look like what they collide with if the simulation does.
"""

from __future__ import annotations

import functools
import math
import tempfile
from pathlib import Path
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


def load(simulation: Simulation, description: RobotDescription, position: Vector) -> tuple[int, dict[str, Place]]:
    """Load a robot, its base fixed at `position` in metres; return the body's id and where the links of a URDF are.

    Raises `ConfigError` if it cannot.
    """
    folder = description.folder()
    path = folder / description.urdf if folder else Path(description.urdf)
    path = path if path.is_file() else Path(pybullet_data.getDataPath()) / path
    try:
        robot = ElementTree.parse(path).getroot()
        locate_files(robot, path.resolve().parent)
        places = _prepare(robot, path, description, simulation.coarse)
        return _load(simulation, _text(robot), position, path.suffix, p.URDF_USE_INERTIA_FROM_FILE), places
    except (p.error, SyntaxError, OSError, ValueError) as error:
        raise ConfigError(f"PyBullet cannot load the robot {path}: {error}") from None


def _prepare(robot: Element, path: Path, description: RobotDescription, coarse: bool) -> dict[str, Place]:
    """Change a model into what is to be loaded; return where the links of a URDF are."""
    urdf = path.suffix != ".sdf"
    if description.rod:
        _add_rod(robot, path, description)
    if urdf:
        inertia = _inertia(_text(robot))
        for link in robot.findall("link"):
            set_inertial(link, *inertia[link.get("name", "")])
    draw_as_it_collides(robot, everything=coarse)
    _make_ghosts(robot, description)
    return join_fixed_links(robot, description.gripper.fingers if description.gripper else ()) if urdf else {}


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
def _inertia(urdf: str) -> dict[str, tuple[float, Vector, Vector, np.ndarray]]:
    """Return mass, principal moments, centre of mass and axes of each link of a URDF as Bullet knows them.

    It takes the moments from the shapes that a link collides with: those in files are often made up.
    """
    simulation = Simulation()
    try:
        body, client = _load(simulation, urdf, (0.0, 0.0, 0.0), ".urdf"), simulation.client
        root = p.getBodyInfo(body, physicsClientId=client)[0].decode()
        # Bullet tells Jacobians along the axes of the root's inertia, which matters to nothing else.
        found = {root: (0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 0.0), np.eye(3))}
        for link in range(p.getNumJoints(body, physicsClientId=client)):
            mass, _, moments, centre, turn = p.getDynamicsInfo(body, link, physicsClientId=client)[:5]
            name = p.getJointInfo(body, link, physicsClientId=client)[12].decode()
            found[name] = mass, moments, centre, np.reshape(p.getMatrixFromQuaternion(turn), (3, 3))
        return found
    finally:
        simulation.close()


def _load(simulation: Simulation, model: str, position: Vector, suffix: str, flags: int = 0) -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"robot{suffix}"
        file.write_text(model, encoding="utf-8")
        return simulation.load_robot(str(file), position, flags)


def _text(robot: Element) -> str:
    return ElementTree.tostring(robot, encoding="unicode")
