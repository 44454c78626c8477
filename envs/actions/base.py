"""What all action modes share: the gripper's number, and the limits that hold whatever an action asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.bodies import Vector
from armature.errors import ConfigError
from armature.registry import resolve, robot_actions, robots, tasks

if TYPE_CHECKING:  # whether a mode suits a task is checked without loading PyBullet
    from armature.envs.robots.base import Robot, RobotState
    from armature.envs.tasks.base import Waypoint
    from armature.envs.workspaces.base import Workspace

GRIPPER_ACTIONS = ("auto", "width", "open_close", "blocked")
"""What the last number of an action means to the gripper; `blocked` has no such number."""


class ActionMode(ABC):
    """Base of the action modes. All numbers of an action are in [-1, 1]; those of the arm come first.

    Args:
        robot: the robot to drive.
        workspace: its borders hold for the end effector.
        gripper_action: what the last number means to the gripper, one of `GRIPPER_ACTIONS` but `auto`.
    """

    turns_hand: ClassVar[bool] = False
    """Whether actions can turn the end effector; otherwise it keeps the orientation of the robot's description."""
    parts: ClassVar[tuple[str, ...]] = ()
    """Observation parts that an agent needs besides the task's own to act in this mode."""
    WIDTH_STEP: ClassVar[float] = 0.03
    """Change of the gripper's target opening in a control step, in metres, for a number of 1."""
    ROUNDS: ClassVar[int] = 4
    """How often a motion is corrected, in turn for the joints' limits and the workspace's borders."""

    before_substep: Callable[[], None] | None = None
    """Called before each substep of the simulation, by modes that need it."""

    def __init__(self, robot: Robot, workspace: Workspace, gripper_action: str) -> None:
        self.robot, self.gripper_action = robot, gripper_action
        self.low, self.high = np.array(workspace.low), np.array(workspace.high)
        self.size = self.arm_size + (gripper_action != "blocked")

    @property
    @abstractmethod
    def arm_size(self) -> int:
        """How many numbers move the arm."""

    @abstractmethod
    def move_arm(self, action: np.ndarray) -> None:
        """Send the robot's motors what the arm's part of an action asks for, shape (arm_size,)."""

    @abstractmethod
    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the arm's part of the action that moves the end effector towards a pose, unclipped."""

    @abstractmethod
    def lag(self, now: RobotState) -> np.ndarray:
        """Return what is still to come of earlier actions, in metres and radians."""

    def apply(self, action: np.ndarray) -> None:
        """Turn an action of shape (size,) into what motors are told."""
        if self.gripper_action != "blocked":
            self._move_gripper(float(action[-1]))
        self.move_arm(action[: self.arm_size])

    def towards(self, waypoint: Waypoint) -> np.ndarray:
        """Return the action of shape (size,) that moves towards a waypoint."""
        quaternion = self.robot.description.ee_quaternion if waypoint.quaternion is None else waypoint.quaternion
        parts = [self.arm_action(np.clip(waypoint.position, self.low, self.high), quaternion)]
        if self.gripper_action != "blocked":
            parts.append(np.array([(waypoint.width - self.robot.width_target) / self.WIDTH_STEP]))
        return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)

    # -------------------------------------------------------------------------------------------- given

    def _move_gripper(self, number: float) -> None:
        """Move the target opening; `open_close` looks at the number's sign alone."""
        if self.gripper_action == "open_close":
            number = float(np.sign(number))
        width = self.robot.width_target + number * self.WIDTH_STEP
        self.robot.width_target = min(max(width, 0.0), self.robot.description.hand.max_width)

    def go(self, joint_targets: np.ndarray) -> None:
        """Drive the joints (n_arm,) towards positions in radians, as far as limits and borders allow."""
        robot = self.robot
        joints = robot.now.joint_positions
        joint_targets = robot.within_limits(joint_targets)
        motion = joint_targets - joints
        share = min(1.0, 1 / float(np.abs(motion / robot.max_step).max(initial=1e-9)))
        allowed = self.inside(share * motion)
        robot.joint_targets = joint_targets if np.array_equal(allowed, share * motion) else joints + allowed
        robot.drive()

    def inside(self, motion: np.ndarray) -> np.ndarray:
        """Return a motion of the joints (n_arm,), changed as little as their limits and the borders ask.

        The Jacobian foretells where the end effector will be; the part of its way that leads out of the workspace is
        taken off by the least change of the joints.
        """
        robot = self.robot
        point, joints, jacobian = robot.now.ee_position, robot.now.joint_positions, robot.jacobian()[:3]
        low, high = robot.low - joints, robot.high - joints
        motion = clipped(motion, low, high)
        for _ in range(self.ROUNDS):
            end = point + jacobian @ motion
            beyond = end - clipped(end, self.low, self.high)
            if not beyond.any():
                break
            square = jacobian @ jacobian.T + robot.DAMPING**2 * np.eye(3)
            motion = clipped(motion - jacobian.T @ np.linalg.solve(square, beyond), low, high)
        return motion

    # -------------------------------------------------------------------------------------------- checked early

    @classmethod
    def check(cls, *, robot: str, robot_action: str, task: str, gripper_action: str) -> None:
        """Raise `ConfigError` if robot, task and gripper cannot work in this mode; all are names."""
        needs = resolve(tasks[task])
        if needs.turns_hand and not cls.turns_hand:
            able = ", ".join(name for name in robot_actions if resolve(robot_actions[name]).turns_hand)
            raise ConfigError(
                f"task_type {task!r} turns the end effector, which robot_action {robot_action!r} cannot. "
                f"These can: {able}."
            )
        if gripper_action not in GRIPPER_ACTIONS:
            raise ConfigError(f"gripper_action is {gripper_action!r}; allowed: {', '.join(GRIPPER_ACTIONS)}.")
        has_gripper = resolve(robots[robot]).gripper is not None
        if needs.uses_gripper and not has_gripper:
            able = ", ".join(name for name in robots if resolve(robots[name]).gripper is not None)
            raise ConfigError(f"task_type {task!r} needs a gripper, and robot {robot!r} has none. These have: {able}.")
        if needs.uses_gripper and gripper_action == "blocked":
            raise ConfigError(
                f"task_type {task!r} needs the gripper, and gripper_action is 'blocked'. "
                "Use 'auto', 'width' or 'open_close'."
            )
        if gripper_action in ("width", "open_close") and not has_gripper:
            raise ConfigError(
                f"gripper_action is {gripper_action!r}, and robot {robot!r} has no gripper. Use 'auto' or 'blocked'."
            )


def clipped(values: np.ndarray, low: Vector, high: Vector) -> np.ndarray:
    """Return what `np.clip` does, in a fifth of its time for a few numbers."""
    return np.minimum(np.maximum(values, low), high)
