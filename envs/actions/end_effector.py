"""Modes that move a target of the end effector, which the arm follows by inverse kinematics."""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.actions.base import ActionMode
from armature.envs.bodies import Vector
from armature.envs.rotations import turn_between, turned

if TYPE_CHECKING:
    from armature.envs.robots.state import RobotState


class EndEffectorMode(ActionMode):
    """Base of these modes: three numbers are a position; in modes that turn the hand three more are a rotation vector.

    Rotation vectors are in the world's axes.
    """

    POSITION_LEASH: ClassVar[float] = 0.05
    """Metres a target may run ahead of the arm on each axis, so that a blocked arm comes back at once when asked to."""
    ROTATION_LEASH: ClassVar[float] = 0.3
    """Radians a target orientation may run ahead."""

    @property
    def arm_size(self) -> int:
        """Three: x, y, z; and three for the orientation."""
        return 6 if self.turns_hand else 3

    @abstractmethod
    def wanted_position(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the position (3,) in metres that three numbers ask for."""

    def wanted_orientation(self, numbers: Sequence[float]) -> Vector:
        """Return the quaternion that three numbers ask for, in modes that turn the hand."""
        raise NotImplementedError

    def move_arm(self, action: Sequence[float]) -> None:
        """Move the target, keep it inside the workspace and near the arm, and go there."""
        robot, leash = self.robot, self.POSITION_LEASH
        wanted = self.wanted_position(action[:3])
        robot.ee_target = [
            min(max(min(max(x, low), high), at - leash), at + leash)
            for x, low, high, at in zip(wanted, *self.limits.box, robot.now.ee_point, strict=True)
        ]
        if self.turns_hand:
            robot.ee_target_quaternion = self._on_leash(self.wanted_orientation(action[3:]))
        joints = robot.joints_towards(robot.ee_target, robot.ee_target_quaternion)
        if self.turns_hand:
            self.go(joints)
        else:  # a target in the box, straight ahead, the hand upright: no border and no link is in danger
            robot.joint_targets = joints
            robot.drive()

    def _on_leash(self, quaternion: Vector) -> Vector:
        """Return the orientation, or the one as far on the way to it as the leash allows."""
        start = self.robot.now.ee_quaternion
        turn = turn_between(start, quaternion)
        angle = math.hypot(*turn)
        if angle <= self.ROTATION_LEASH:
            return quaternion
        return turned(start, [self.ROTATION_LEASH / angle * way for way in turn])

    def lag(self, now: RobotState) -> list[float]:
        """Return the way to the target: metres (3,), and in modes that turn the hand radians (3,)."""
        way = list(map(operator.sub, self.robot.ee_target, now.ee_point))
        if self.turns_hand:
            way += turn_between(now.ee_quaternion, self.robot.ee_target_quaternion)
        return way


class EndEffectorDelta(EndEffectorMode):
    """Three numbers move the end effector's target by up to 5 cm along x, y, z; the orientation stays."""

    POSITION_STEP: ClassVar[float] = 0.05
    """Metres for a number of 1."""

    def wanted_position(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the last target, moved."""
        step = self.POSITION_STEP
        return [target + step * number for target, number in zip(self.robot.ee_target, numbers, strict=True)]

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the distance from the target, in steps."""
        return (position - self.robot.ee_target) / self.POSITION_STEP


class EndEffectorDeltaPose(EndEffectorDelta):
    """Three numbers more turn the target by a rotation vector of up to 0.3 rad along each of the world's axes."""

    turns_hand = True
    parts = ("ee_rotation", "ee_spin")
    ROTATION_STEP: ClassVar[float] = 0.3
    """Radians for a number of 1."""

    def wanted_orientation(self, numbers: Sequence[float]) -> Vector:
        """Return the last target's orientation, turned."""
        return turned(self.robot.ee_target_quaternion, self.ROTATION_STEP * np.array(numbers))

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the distance from the target and the turn that is left, in steps."""
        turn = np.array(turn_between(self.robot.ee_target_quaternion, quaternion))
        return np.append(super().arm_action(position, quaternion), turn / self.ROTATION_STEP)


class EndEffectorAbsolute(EndEffectorMode):
    """Three numbers say where in the workspace's box the end effector goes: -1 and 1 are its borders."""

    def wanted_position(self, numbers: Sequence[float]) -> Sequence[float]:
        """Return the point of the box."""
        return [
            low + (number + 1) / 2 * (high - low) for number, low, high in zip(numbers, *self.limits.box, strict=True)
        ]

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the position in shares of the box."""
        low, high = self.limits.low, self.limits.high
        return 2 * (position - low) / (high - low) - 1


class EndEffectorAbsolutePose(EndEffectorAbsolute):
    """Three numbers more are a rotation vector from the orientation of the robot's description, usually looking down.

    A number of 1 is a quarter turn along one of the world's axes: so every vector is shorter than pi, where rotation
    vectors are one to one with orientations and have no jumps (Grassia, Practical parameterization of rotations using
    the exponential map, 1998, section 3).
    """

    turns_hand = True
    parts = ("ee_rotation", "ee_spin")
    ROTATION_RANGE: ClassVar[float] = math.pi / 2
    """Radians for a number of 1."""

    def wanted_orientation(self, numbers: Sequence[float]) -> Vector:
        """Return the orientation of the robot's description, turned."""
        return turned(self.robot.description.ee_quaternion, self.ROTATION_RANGE * np.array(numbers))

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return position and orientation in shares of their ranges."""
        turn = np.array(turn_between(self.robot.description.ee_quaternion, quaternion))
        return np.append(super().arm_action(position, quaternion), turn / self.ROTATION_RANGE)
