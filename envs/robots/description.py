"""What a URDF does not say of a robot: one description is all that a new robot needs. No physics engine needed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class Hand(NamedTuple):
    """What a robot touches things with, as far as tasks and their experts need to know."""

    max_width: float
    """Opening of the open gripper in metres; 0 without a gripper."""
    radius: float
    """Metres from the end effector to the side of what pushes: closed fingers, or a rod."""


@dataclass(frozen=True)
class Gripper:
    """A gripper whose joints move together, from closed to open."""

    joints: tuple[str, ...]
    """Names of all joints that move, those that mimic others too."""
    open: tuple[float, ...]
    """Positions of these joints when the gripper is fully open, in metres or radians."""
    closed: tuple[float, ...]
    """Their positions when it is closed."""
    fingers: tuple[str, ...]
    """Names of the links that touch what is grasped."""
    max_width: float
    """Distance in metres between the fingers when they are fully open."""
    force: float
    """Largest force (newtons) or torque (newton metres) of each motor."""
    friction: float
    """Lateral friction of the fingers."""


@dataclass(frozen=True)
class RobotDescription:
    """A robot arm: a URDF, its joints, its end effector, its limits."""

    urdf: str
    """Path of the URDF, absolute or inside PyBullet's data folder."""
    arm_joints: tuple[str, ...]
    """Names of the arm's joints from base to wrist."""
    ee_link: str
    """Name of the link that holds the end effector."""
    rest_pose: tuple[float, ...]
    """Joint positions at the start of an episode, in radians."""
    ee_quaternion: tuple[float, float, float, float]
    """Orientation (x, y, z, w) kept by the position modes of the end effector; usually looking down."""
    forces: tuple[float, ...]
    """Largest torques of the arm's motors in newton metres."""
    max_velocities: tuple[float, ...]
    """Velocity limits of the arm's joints in radians per second."""
    gripper: Gripper | None = None
    """The gripper, or None for an arm without one."""
    ee_offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Metres from the frame of `ee_link` to the end effector, along that frame's axes."""
    radius: float = 0.012
    """Metres from the end effector to the side of what pushes: closed fingers, or a rod."""
    distance: float = 0.6
    """Metres from the base to the middle of the surface it works on."""
    unsuited: tuple[str, ...] = ()
    """Tasks that this arm cannot do although it has what they ask for, such as those beyond its reach."""

    @property
    def hand(self) -> Hand:
        """What the robot touches things with."""
        return Hand(self.gripper.max_width if self.gripper else 0.0, self.radius)
