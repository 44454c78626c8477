"""The mode whose numbers are torques."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from armature.envs.actions.joints import JointMode
from armature.envs.actions.limits import clipped
from armature.envs.bodies import Vector

if TYPE_CHECKING:
    from armature.envs.robots.state import RobotState


class JointTorque(JointMode):
    """One number a joint is its torque, in shares of its limit, on top of what carries the arm's own weight.

    Gravity is compensated, as it is by the torque interfaces of the arms themselves (Franka's libfranka: commanded
    torques are without gravity), so that an action of 0 lets the arm float. Torques are sent anew in every substep.
    Where the next velocities would break a limit, motors go for the nearest that do not: with no more than the torque
    asked for where it pushes that way, with all their strength against it. So joints and end effector come to rest at
    their limits as at a soft wall.
    """

    parts = ("joints", "joint_velocities")
    substeps = 10
    SETTLING: ClassVar[float] = 0.075
    """Seconds in which the expert's controller removes most of an error."""
    STRIDE: ClassVar[float] = 0.0275
    """Metres on each axis that it looks ahead, so that the end effector does not rush."""

    def move_arm(self, action: Sequence[float]) -> None:
        """Choose the torques of a control step."""
        robot, most = self.robot, self.robot.torque_limits
        self.limits.look()
        self._gravity = clipped(robot.gravity_torques(), -most, most)
        self._torques = clipped(np.array(action) * most, -most - self._gravity, most - self._gravity)
        self._gain = robot.simulation.time_step * np.linalg.solve(robot.mass_matrix(), self._torques)
        self._rest = most - np.abs(self._gravity)
        robot.drive_gripper()

    def before_substep(self) -> None:
        """Send the torques, or velocities to the motors of joints whose next ones would break a limit."""
        robot, torques = self.robot, self._torques
        positions, velocities = robot.measure_joints()
        moved, wanted = positions - robot.now.joint_positions, velocities + self._gain
        allowed = self.limits.allowed_velocities(wanted, moved, notice=robot.simulation.control_period)
        if np.array_equal(allowed, wanted):
            robot.push(self._gravity + torques)
            robot.drive_velocities(allowed, np.zeros(self.arm_size))
        else:
            pushing = (allowed - velocities) * torques > 0
            robot.push(self._gravity)
            robot.drive_velocities(allowed, np.where(pushing, np.abs(torques), self._rest))

    def arm_action(self, position: np.ndarray, quaternion: Vector) -> np.ndarray:
        """Return the torques of a computed-torque controller towards what inverse kinematics asks for.

        In a control step the joints shall get the velocity that removes the error in `SETTLING` (Siciliano et al.,
        Robotics, 2009, section 8.5.2); torques that are too large are all made smaller by the same factor.
        """
        robot = self.robot
        point = robot.now.ee_position
        near = clipped(position, point - self.STRIDE, point + self.STRIDE)
        error = robot.joints_towards(near.tolist(), quaternion) - robot.now.joint_positions
        wanted = clipped(error / self.SETTLING, -self.limits.velocities, self.limits.velocities)
        acceleration = (wanted - robot.now.joint_velocities) / robot.simulation.control_period
        shares = robot.mass_matrix() @ acceleration / robot.torque_limits
        return shares / max(1.0, float(np.abs(shares).max()))

    def lag(self, now: RobotState) -> list[float]:
        """Return the way each joint goes in a control step at its present speed, radians (n_arm,)."""
        return (now.joint_velocities * self.robot.simulation.control_period).tolist()
