"""What all action modes share: the gripper's number, and the limits that hold whatever an action asks for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.actions.limits import Limits, clipped, within
from armature.envs.bodies import Vector
from armature.errors import ConfigError
from armature.registry import resolve, robot_actions, tasks

if TYPE_CHECKING:  # whether a mode suits a task is checked without loading PyBullet
    from armature.envs.robots.base import Robot
    from armature.envs.robots.state import RobotState
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
    substeps: ClassVar[int] = 1
    """How many steps of the engine a control step has at least, so that the arm keeps to its limits."""
    WIDTH_STEP: ClassVar[float] = 0.03
    """Change of the gripper's target opening in a control step, in metres, for a number of 1."""

    WIDTH_LEASH: ClassVar[float] = 0.01
    """Metres a closing gripper's target may run ahead of what blocks it, so that it opens at once when asked to."""

    before_substep: Callable[[], None] | None = None
    """Called before each substep of the simulation, in modes that have it."""

    def __init__(self, robot: Robot, workspace: Workspace, gripper_action: str) -> None:
        self.robot, self.gripper_action = robot, gripper_action
        self.limits = Limits(robot, workspace)
        self.size = self.arm_size + (gripper_action != "blocked")

    @property
    @abstractmethod
    def arm_size(self) -> int:
        """How many numbers move the arm."""

    @abstractmethod
    def move_arm(self, action: Sequence[float]) -> None:
        """Send the robot's motors what the arm's part of an action asks for, arm_size numbers."""

    @abstractmethod
    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the arm's part of the action that moves the end effector towards a pose, unclipped."""

    @abstractmethod
    def lag(self, now: RobotState) -> list[float]:
        """Return what is still to come of earlier actions, in metres and radians."""

    def apply(self, action: Sequence[float]) -> None:
        """Turn an action of size numbers, which are quicker to handle than an array, into what motors are told."""
        if self.gripper_action != "blocked":
            self._move_gripper(action[-1])
        self.move_arm(action[: self.arm_size])

    def towards(self, waypoint: Waypoint) -> np.ndarray:
        """Return the action of shape (size,) that moves towards a waypoint."""
        quaternion = self.robot.description.ee_quaternion if waypoint.quaternion is None else waypoint.quaternion
        parts = [self.arm_action(clipped(waypoint.position, self.limits.low, self.limits.high), quaternion)]
        if self.gripper_action != "blocked":
            parts.append(np.array([(waypoint.width - self.robot.width_target) / self.WIDTH_STEP]))
        return np.clip(np.concatenate(parts), -1, 1).astype(np.float32)

    # -------------------------------------------------------------------------------------------- given

    def _move_gripper(self, number: float) -> None:
        """Move the target opening; `open_close` looks at the number's sign alone."""
        if self.gripper_action == "open_close":
            number = float(np.sign(number))
        blocked_at = self.robot.now.gripper_width - self.WIDTH_LEASH
        width = max(self.robot.width_target, blocked_at) + number * self.WIDTH_STEP
        self.robot.width_target = within(width, 0.0, self.robot.max_width)

    def go(self, joint_targets: Vector) -> None:
        """Drive the joints (n_arm,) towards positions in radians, as far as limits and borders allow."""
        robot = self.robot
        joints = robot.now.joint_positions
        self.limits.look()
        joint_targets = robot.within_limits(joint_targets)
        motion = np.array(robot.slowed((joint_targets - joints).tolist()))
        allowed = self.limits.allowed_motion(motion)
        robot.joint_targets = (joint_targets if np.array_equal(allowed, motion) else joints + allowed).tolist()
        robot.drive()

    # -------------------------------------------------------------------------------------------- checked early

    @classmethod
    def check(cls, *, task: str, robot: str, has_gripper: bool, robot_action: str, gripper_action: str) -> None:
        """Raise `ConfigError` if task and robot, given by their names, cannot work in this mode."""
        needs = resolve(tasks[task])
        if needs.turns_hand and not cls.turns_hand:
            able = ", ".join(name for name in robot_actions if resolve(robot_actions[name]).turns_hand)
            raise ConfigError(
                f"task_type {task!r} turns the end effector, which robot_action {robot_action!r} cannot. "
                f"These can: {able}."
            )
        if gripper_action not in GRIPPER_ACTIONS:
            raise ConfigError(f"gripper_action is {gripper_action!r}; allowed: {', '.join(GRIPPER_ACTIONS)}.")
        if needs.uses_gripper and not has_gripper:
            raise ConfigError(f"task_type {task!r} needs a gripper, and robot {robot!r} has none.")
        if needs.uses_gripper and gripper_action == "blocked":
            raise ConfigError(
                f"task_type {task!r} needs the gripper, and gripper_action is 'blocked'. "
                "Use 'auto', 'width' or 'open_close'."
            )
        if gripper_action in ("width", "open_close") and not has_gripper:
            raise ConfigError(
                f"gripper_action is {gripper_action!r}, and robot {robot!r} has no gripper. Use 'auto' or 'blocked'."
            )
