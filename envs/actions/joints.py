"""Modes with one number a joint."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.actions.base import ActionMode, clipped
from armature.envs.bodies import Vector

if TYPE_CHECKING:
    from armature.envs.robots.base import RobotState


class JointMode(ActionMode):
    """Base of the modes with one number a joint."""

    turns_hand = True
    parts = ("joints",)

    @property
    def arm_size(self) -> int:
        """One number for each arm joint."""
        return len(self.robot.arm)

    def lag(self, now: RobotState) -> np.ndarray:
        """Return the way of each joint to its target, radians (n_arm,)."""
        return self.robot.joint_targets - now.joint_positions


class JointDelta(JointMode):
    """One number a joint moves its target by up to what its velocity limit allows in a control step."""

    LEASH: ClassVar[float] = 2.0
    """How many steps a joint's target may run ahead of a blocked arm."""

    def move_arm(self, action: np.ndarray) -> None:
        """Move each joint's target, keep it near the joint and inside its limits."""
        robot, joints = self.robot, self.robot.now.joint_positions
        leash = self.LEASH * robot.max_step
        self.go(clipped(robot.joint_targets + action * robot.max_step, joints - leash, joints + leash))

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the joint motion that inverse kinematics asks for, in steps."""
        robot = self.robot
        return (robot.joints_towards(position.tolist(), quaternion) - robot.joint_targets) / robot.max_step
