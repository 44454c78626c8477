"""Modes with one number a joint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.actions.base import ActionMode
from armature.envs.actions.limits import clipped
from armature.envs.bodies import Vector

if TYPE_CHECKING:
    from armature.envs.robots.state import RobotState


class JointMode(ActionMode):
    """Base of the modes with one number a joint."""

    turns_hand = True
    parts = ("joints",)
    LEASH: ClassVar[float] = 2.0
    """How many steps of its largest velocity a joint's target may run ahead of a blocked arm."""

    @property
    def arm_size(self) -> int:
        """One number for each arm joint."""
        return len(self.robot.arm)

    def leashed(self, targets: np.ndarray) -> np.ndarray:
        """Return joint targets (n_arm,), not too far from where the joints are."""
        joints, leash = self.robot.now.joint_positions, self.LEASH * self.robot.max_step
        return clipped(targets, joints - leash, joints + leash)

    def lag(self, now: RobotState) -> list[float]:
        """Return the way of each joint to its target, radians (n_arm,)."""
        return (self.robot.joint_targets - now.joint_positions).tolist()


class JointDelta(JointMode):
    """One number a joint moves its target by up to what its velocity limit allows in a control step."""

    def move_arm(self, action: Sequence[float]) -> None:
        """Move each joint's target, keep it near the joint and inside its limits."""
        self.go(self.leashed(self.robot.joint_targets + np.array(action) * self.robot.max_step))

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the joint motion that inverse kinematics asks for, in steps."""
        robot = self.robot
        return np.subtract(robot.joints_towards(position.tolist(), quaternion), robot.joint_targets) / robot.max_step


class JointAbsolute(JointMode):
    """One number a joint says where it goes: -1 and 1 are its limits. All joints arrive at the same time."""

    def move_arm(self, action: Sequence[float]) -> None:
        """Go towards the positions."""
        self.go(self._middle + np.array(action) * self._half_range)

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the joint positions that inverse kinematics asks for, in shares of their ranges."""
        return (self.robot.joints_towards(position.tolist(), quaternion) - self._middle) / self._half_range

    def lag(self, now: RobotState) -> list[float]:
        """Return the way each joint goes in a control step at its present speed, radians (n_arm,)."""
        return (now.joint_velocities * self.robot.simulation.control_period).tolist()

    @property
    def _middle(self) -> np.ndarray:
        return (self.robot.high + self.robot.low) / 2

    @property
    def _half_range(self) -> np.ndarray:
        return (self.robot.high - self.robot.low) / 2


class JointVelocity(JointMode):
    """One number a joint is its velocity: -1 and 1 are its limits.

    Velocities are summed up to targets, and what the joints have missed of them is added to the next velocity: motors
    that hold a velocity alone let the arm sink by a centimetre a second.
    """

    substeps = 10
    SETTLING: ClassVar[float] = 0.1
    """Seconds in which the expert removes most of an error."""

    def move_arm(self, action: Sequence[float]) -> None:
        """Drive the joints at the velocities, less what would break a limit."""
        robot, joints, period = self.robot, self.robot.now.joint_positions, self.robot.simulation.control_period
        self.limits.look()
        wanted = (self.leashed(robot.joint_targets + np.array(action) * robot.max_step) - joints) / period
        allowed = self.limits.allowed_velocities(wanted, moved=np.zeros(self.arm_size), notice=2 * period)
        robot.joint_targets = (joints + allowed * period).tolist()
        robot.drive_velocities(allowed, robot.torque_limits)
        robot.drive_gripper()

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return velocities towards what inverse kinematics asks for."""
        robot = self.robot
        error = np.subtract(robot.joints_towards(position.tolist(), quaternion), robot.joint_targets)
        return error / self.SETTLING / self.limits.velocities
