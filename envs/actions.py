"""Action modes: what the numbers of an action mean. All are in [-1, 1]; a gripper in use adds one number at the end.

Deltas are added to the last *target*, not to the measured position, so an arm that is told to stand still does not sag.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.robots.base import Robot, RobotState
from armature.envs.tasks.base import Waypoint
from armature.envs.workspaces.base import Workspace


class ActionMode(ABC):
    """Base of the action modes.

    Args:
        robot: the robot to drive.
        workspace: its borders hold for end-effector targets.
        gripper: whether the last number of an action moves the gripper; without it the gripper stays as it is.
    """

    WIDTH_STEP: ClassVar[float] = 0.03
    """Change of the gripper's target opening for an action of 1, in metres."""

    def __init__(self, robot: Robot, workspace: Workspace, gripper: bool) -> None:
        self.robot, self.gripper = robot, gripper
        self.low, self.high = workspace.low, workspace.high
        self.size = self.arm_size + gripper

    @property
    @abstractmethod
    def arm_size(self) -> int:
        """How many numbers move the arm."""

    @abstractmethod
    def move_arm(self, action: np.ndarray) -> None:
        """Set the robot's `joint_targets` from the arm's part of an action, shape (arm_size,)."""

    @abstractmethod
    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the arm's part of the action that moves the end effector towards a pose, unclipped."""

    @abstractmethod
    def lag(self, now: RobotState) -> np.ndarray:
        """Return the way from where the arm is to its target: what is still to come of earlier actions."""

    def apply(self, action: np.ndarray) -> None:
        """Turn an action of shape (size,) into motor targets."""
        self.move_arm(action[: self.arm_size])
        if self.gripper:
            width = self.robot.width_target + float(action[-1]) * self.WIDTH_STEP
            self.robot.width_target = min(max(width, 0.0), self.robot.description.hand.max_width)
        self.robot.drive()

    def towards(self, waypoint: Waypoint) -> np.ndarray:
        """Return the action of shape (size,) that moves towards a waypoint."""
        quaternion = self.robot.description.ee_quaternion if waypoint.quaternion is None else waypoint.quaternion
        parts = [self.arm_action(np.clip(waypoint.position, self.low, self.high), quaternion)]
        if self.gripper:
            parts.append(np.array([(waypoint.width - self.robot.width_target) / self.WIDTH_STEP]))
        return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)


class EndEffectorDelta(ActionMode):
    """Three numbers move the end effector's target by up to 5 cm along x, y, z; the orientation stays."""

    POSITION_STEP: ClassVar[float] = 0.05
    """Metres for an action of 1."""
    LEASH: ClassVar[float] = 0.05
    """Metres a target may run ahead of a blocked arm on each axis, so that it comes back at once when asked to."""

    @property
    def arm_size(self) -> int:
        """Three: x, y, z."""
        return 3

    def move_arm(self, action: np.ndarray) -> None:
        """Move the end effector's target, keep it inside the workspace, and go there."""
        robot = self.robot
        robot.ee_target = [
            min(max(target + self.POSITION_STEP * push, low, now - self.LEASH), high, now + self.LEASH)
            for target, push, now, low, high in zip(
                robot.ee_target, action.tolist(), robot.now.ee_point, self.low, self.high, strict=True
            )
        ]
        joints = robot.joints_towards(robot.ee_target, robot.description.ee_quaternion)
        robot.joint_targets = robot.within_limits(joints)

    def lag(self, now: RobotState) -> np.ndarray:
        """Return metres (3,)."""
        return np.subtract(self.robot.ee_target, now.ee_point)

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the distance from the target, in steps."""
        return (position - self.robot.ee_target) / self.POSITION_STEP


class JointDelta(ActionMode):
    """One number a joint moves its target by up to what its velocity limit allows in a control step."""

    LEASH: ClassVar[float] = 2.0
    """How many steps a joint's target may run ahead of a blocked arm."""

    @property
    def arm_size(self) -> int:
        """One number for each arm joint."""
        return len(self.robot.arm)

    def move_arm(self, action: np.ndarray) -> None:
        """Move each joint's target, keep it near the joint and inside its limits."""
        robot, joints = self.robot, self.robot.now.joint_positions
        leash = self.LEASH * robot.max_step
        target = _clipped(robot.joint_targets + action * robot.max_step, joints - leash, joints + leash)
        robot.joint_targets = robot.within_limits(target)

    def lag(self, now: RobotState) -> np.ndarray:
        """Return radians (n_arm,)."""
        return self.robot.joint_targets - now.joint_positions

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the joint motion that inverse kinematics asks for, in steps."""
        return (
            self.robot.joints_towards(position.tolist(), quaternion) - self.robot.joint_targets
        ) / self.robot.max_step


def _clipped(values: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return what `np.clip` does, in a fifth of its time for a few numbers."""
    return np.minimum(np.maximum(values, low), high)
