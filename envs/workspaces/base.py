"""A workspace: what stands around the robot, what the robot may reach, from where one looks. No physics engine needed.

A workspace is data: a file here, or a JSON file of one's own that a configuration names.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, model_validator

from armature import jsonc
from armature.config import anchored
from armature.envs import objects
from armature.envs.bodies import Pose, quaternion_of
from armature.errors import ConfigError
from armature.scene import Area, Point, ShapeConfig, refuse
from armature.schema import Strict, parse, short

if TYPE_CHECKING:
    from armature.envs.simulation import Simulation


class ViewConfig(Strict):
    """Where a camera stands: on a sphere around its target. Metres and radians."""

    target: Point = [-0.2, 0.0, 0.2]
    """Metres; the point it looks at."""
    distance: float = Field(default=1.4, gt=0, le=100)
    """Metres from the target."""
    yaw: float = Field(default=0.9, ge=-7, le=7)
    """Radians about the vertical: 0 looks along y, pi/2 against x, towards the robot."""
    pitch: float = Field(default=-0.4, ge=-1.6, le=1.6)
    """Radians; negative looks down, -pi/2 straight down."""
    fov: float = Field(default=0.84, ge=0.1, le=2.5)
    """Radians; vertical angle of view."""


class Body(ShapeConfig):
    """A body that stays where it is."""

    position: Point
    """Metres; the centre of a shape, or where the base of a URDF is."""
    rotation: Point = [0.0, 0.0, 0.0]
    """Roll, pitch and yaw in radians."""


class Workspace(Strict):
    """What a robot works in. The origin is the middle of the working surface, which is z = 0; the robot stands at -x.

    How far from the middle it stands is the robot's own affair: the arms reach differently far.
    """

    bodies: Annotated[list[Body], Field(max_length=64)]
    """What stands around."""
    low: Point
    """Metres; lowest corner of the box that end-effector targets are kept in."""
    high: Point
    """Metres; highest corner of that box."""
    area: Area = [-0.2, 0.2, -0.25, 0.25]
    """Where further objects, distractors and clutter lie, unless they have an area of their own."""
    camera: ViewConfig = ViewConfig()
    """From where one looks."""
    robot_offset: Point = [0.0, 0.0, 0.0]
    """Metres by which the robot's base is moved."""

    @model_validator(mode="after")
    def _has_room(self) -> Workspace:
        if not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise refuse("low below high in x, y and z", {"low": self.low, "high": self.high})
        return self

    def build(self, simulation: Simulation) -> None:
        """Add the bodies."""
        for body in self.bodies:
            objects.add_fixed(simulation, body, Pose(body.position, quaternion_of(*body.rotation)))


def read(file: Path) -> Workspace:
    """Read a workspace from JSON with comments; raise `ConfigError` for whatever is wrong with it.

    A relative path of a URDF is looked for beside the file, then in the working directory, then in PyBullet's data.
    """
    values = jsonc.read(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {short(values)}; a workspace is an object: {{ ... }}.")
    workspace = parse(Workspace, anchored(values, file.parent), file)
    for index, body in enumerate(workspace.bodies):
        objects.check_kind(body, f"{file}: bodies.{index}")
    return workspace
