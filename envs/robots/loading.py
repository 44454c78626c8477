"""Brings the URDF or SDF of a description into a simulation, with a rod at a bare flange if the description asks."""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path

from armature.envs.bodies import Vector
from armature.envs.engine import p
from armature.envs.robots.description import RobotDescription
from armature.envs.simulation import Simulation
from armature.errors import ConfigError

TIP = 0.008
"""Metres that a rod goes on behind the end effector, as the tips of fingers do."""
_ROD = """
  <link name="{name}">
    <inertial><origin xyz="{middle}"/><mass value="0.05"/>
      <inertia ixx="1e-4" ixy="0" ixz="0" iyy="1e-4" iyz="0" izz="1e-4"/></inertial>
    <visual><origin xyz="{middle}" rpy="{turn}"/>
      <geometry><cylinder radius="{radius}" length="{length}"/></geometry></visual>
    <collision><origin xyz="{middle}" rpy="{turn}"/>
      <geometry><cylinder radius="{radius}" length="{length}"/></geometry></collision>
  </link>
  <joint name="{name}_joint" type="fixed"><parent link="{parent}"/><child link="{name}"/></joint>
</robot>
"""


def load(simulation: Simulation, description: RobotDescription, position: Vector) -> int:
    """Load a robot, its base fixed at `position` in metres; return the body's id. Raises `ConfigError` if it cannot."""
    folder = description.folder()
    path = str(folder / description.urdf) if folder else description.urdf
    try:
        if not description.rod:
            return simulation.load_robot(path, position)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "robot.urdf"
            copy.write_text(_with_rod(Path(path), description), encoding="utf-8")
            return simulation.load_robot(str(copy), position)
    except (p.error, SyntaxError) as error:  # the second where pictures ask for simple shapes
        raise ConfigError(f"PyBullet cannot load the robot {path}: {error}") from None


def _with_rod(file: Path, description: RobotDescription) -> str:
    """Return the text of a URDF with a rod from the frame of `ee_link` to the end effector."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the robot {file} cannot be read: {error}.") from None
    before, end, _ = text.rpartition("</robot>")
    length = math.hypot(*description.ee_offset) + TIP
    if not end or length == TIP:
        raise ConfigError(f"no rod fits the robot {file}: it needs a URDF, and an ee_offset that the rod is to follow.")
    x, y, z = (part / (length - TIP) for part in description.ee_offset)
    rod = _ROD.format(
        name="armature_rod",
        parent=description.ee_link,
        middle=f"{x * length / 2} {y * length / 2} {z * length / 2}",
        turn=f"0 {math.acos(max(-1.0, min(z, 1.0)))} {math.atan2(y, x)}",
        radius=description.radius,
        length=length,
    )
    return re.sub(r'(?<=filename=")[^"]+', lambda name: _found(name[0], file), before) + rod


def _found(name: str, file: Path) -> str:
    """Return the full path of a mesh, which a copy of the URDF elsewhere needs, looked for where PyBullet looks."""
    inner = name.removeprefix("package://")
    places = [folder / inner for folder in file.resolve().parents]
    return next((str(place) for place in places if place.is_file()), name)
