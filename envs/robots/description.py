"""What a URDF does not say of a robot: one description is all that a new robot needs. No physics engine needed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from armature.errors import ConfigError
from armature.registry import resolve, tasks

Positive = Annotated[float, Field(gt=0, le=1e6)]
STRICT = {"extra": "forbid", "strict": True, "allow_inf_nan": False, "use_attribute_docstrings": True}
"""How pydantic reads a description from a file."""


class Hand(NamedTuple):
    """What a robot touches things with, as far as tasks and their experts need to know."""

    max_width: float
    """Opening of the open gripper in metres; 0 without a gripper."""
    radius: float
    """Metres from the end effector to the side of what pushes: closed fingers, or a rod."""


@dataclass(frozen=True)
class Gripper:
    """A gripper whose joints move together, from closed to open."""

    __pydantic_config__: ClassVar = STRICT

    joints: tuple[str, ...]
    """Names of all joints that move, those that mimic others too."""
    open: tuple[float, ...]
    """Positions of these joints when the gripper is fully open, in metres or radians."""
    closed: tuple[float, ...]
    """Their positions when it is closed."""
    fingers: tuple[str, ...]
    """Names of the links that touch what is grasped."""
    max_width: Positive
    """Distance in metres between the fingers when they are fully open."""
    force: Positive
    """Largest force (newtons) or torque (newton metres) of each motor."""
    friction: Positive
    """Lateral friction of the fingers."""
    gears: tuple[tuple[str, str], ...] = ()
    """Pairs of joints that a mechanism keeps in step, such as a joint and one that mimics it."""
    passive: tuple[str, ...] = ()
    """Joints without a motor of their own: gears alone move them."""

    def problems(self) -> Iterator[str]:
        """Say what does not fit together."""
        for name in ("open", "closed"):
            if (given := len(getattr(self, name))) != len(self.joints):
                yield f"gripper.{name} has {given} numbers, and gripper.joints {len(self.joints)} names."
        if any(far == near for far, near in zip(self.open, self.closed, strict=False)):
            yield "gripper.open and gripper.closed are equal for a joint, which then does not move."
        for name in (*(joint for pair in self.gears for joint in pair), *self.passive):
            if name not in self.joints:
                yield f"gripper.gears or gripper.passive names {name!r}, which is not in gripper.joints."


@dataclass(frozen=True)
class RobotDescription:
    """A robot arm: a URDF, its joints, its end effector, its limits."""

    __pydantic_config__: ClassVar = STRICT

    urdf: str
    """Path of the URDF or SDF: absolute, inside PyBullet's data folder, or inside the folder of `package`."""
    arm_joints: tuple[str, ...]
    """Names of the arm's joints from base to wrist."""
    ee_link: str
    """Name of the link that holds the end effector."""
    rest_pose: tuple[float, ...]
    """Joint positions at the start of an episode, in radians."""
    ee_quaternion: tuple[float, float, float, float]
    """Orientation (x, y, z, w) kept by the position modes of the end effector; usually looking down."""
    forces: tuple[Positive, ...]
    """Largest torques of the arm's motors in newton metres."""
    max_velocities: tuple[Positive, ...]
    """Velocity limits of the arm's joints in radians per second."""
    gripper: Gripper | None = None
    """The gripper, or None for an arm without one."""
    ee_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres from the frame of `ee_link` to the end effector, along that frame's axes."""
    radius: Positive = 0.012
    """Metres from the end effector to the side of what pushes: closed fingers, or a rod."""
    ghosts: tuple[str, ...] = ()
    """Names of links that collide with nothing, such as bars within a gripper whose meshes would cost time."""
    rod: bool = False
    """Whether a rod of `radius` leads from the frame of `ee_link` to the end effector: a bare flange pushes badly."""
    orientation_weight: Positive = 1.0
    """What a radian of orientation weighs against a metre in inverse kinematics; less for arms of five joints."""
    distance: Positive = 0.6
    """Metres from the base to the middle of the surface it works on."""
    task_kwargs: dict[str, float] = field(default_factory=dict)
    """Parameters of tasks that suit the arm's size, such as the area of objects; for tasks that have them."""
    unsuited: tuple[str, ...] = ()
    """Tasks that this arm cannot do although it has what they ask for, such as those beyond its reach."""
    package: str = ""
    """Package that brings the URDF, if it is an optional one."""

    def __post_init__(self) -> None:
        """Raise `ConfigError` where fields do not fit together."""
        for problem in self._problems():
            raise ConfigError(f"description of the robot {self.urdf}: {problem}")

    def _problems(self) -> Iterator[str]:
        count = len(self.arm_joints)
        if not count:
            yield "arm_joints is empty; name at least one joint."
        for name in ("rest_pose", "forces", "max_velocities"):
            if (given := len(getattr(self, name))) != count:
                yield f"{name} has {given} numbers, and arm_joints {count} names; give one for each joint."
        if abs(math.hypot(*self.ee_quaternion) - 1) > 0.01:
            yield f"ee_quaternion {self.ee_quaternion} is no rotation: its length must be 1."
        if self.gripper:
            yield from self.gripper.problems()

    @property
    def hand(self) -> Hand:
        """What the robot touches things with."""
        return Hand(self.gripper.max_width if self.gripper else 0.0, self.radius)

    # -------------------------------------------------------------------------------------------- asked

    def can(self, task: str) -> bool:
        """Return whether this robot claims a task; every claim is proven by the task's expert."""
        needs_gripper = getattr(resolve(tasks[task]), "uses_gripper", False)
        return task not in self.unsuited and (self.gripper is not None or not needs_gripper)

    def check(self, robot: str, task: str) -> None:
        """Raise `ConfigError` if the robot's package is missing, or if it cannot do a task."""
        self.folder()
        if not self.can(task):
            why = (
                "is beyond its reach, speed or joints" if task in self.unsuited else "needs a gripper, and it has none"
            )
            able = ", ".join(sorted(name for name in tasks if self.can(name)))
            raise ConfigError(f"robot {robot!r} cannot do task_type {task!r}, which {why}. It can do: {able}.")

    def folder(self) -> Path | None:
        """Return the folder that `package` keeps its files in, or None; raise `ConfigError` if it is not installed."""
        if not self.package:
            return None
        try:
            return Path(str(metadata.distribution(self.package).locate_file("cmeel.prefix/share")))
        except metadata.PackageNotFoundError:
            raise ConfigError(
                f"the robot {Path(self.urdf).stem} comes with the package {self.package}, which is not installed. "
                'Install it with: pip install "armature[robots]", or in a checkout: pip install -e ".[robots]"'
            ) from None
