"""A robot arm in a simulation: reads its state, solves its kinematics, drives its motors."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.engine import p
from armature.envs.robots.description import RobotDescription
from armature.envs.simulation import Simulation
from armature.registry import Table

Floats = Sequence[float]


class RobotState:
    """What was measured after a control step; world frame, SI units.

    Kept as the engine gave it and made into arrays when asked for, since most of it rarely is.
    """

    __slots__ = ("_joints", "_motion", "ee_point", "ee_quaternion", "gripper_width")

    def __init__(
        self,
        joints: Sequence[Floats],
        ee_point: Floats,
        ee_quaternion: Floats,
        motion: tuple[Floats, Floats],
        width: float,
    ) -> None:
        self._joints, self._motion = joints, motion
        self.ee_point = ee_point
        """Position of the end effector as three floats, in metres."""
        self.ee_quaternion = ee_quaternion
        """Its orientation: x, y, z, w."""
        self.gripper_width = width
        """Metres; 0 without a gripper."""

    @property
    def joint_positions(self) -> np.ndarray:
        """(n_arm,) radians."""
        return np.array([joint[0] for joint in self._joints])

    @property
    def joint_velocities(self) -> np.ndarray:
        """(n_arm,) radians per second."""
        return np.array([joint[1] for joint in self._joints])

    @property
    def ee_position(self) -> np.ndarray:
        """(3,) metres."""
        return np.array(self.ee_point)

    @property
    def ee_velocity(self) -> np.ndarray:
        """(3,) metres per second."""
        return np.array(self._motion[0])

    @property
    def ee_spin(self) -> np.ndarray:
        """(3,) angular velocity in radians per second."""
        return np.array(self._motion[1])


class Robot:
    """A robot in a simulation.

    Args:
        simulation: the world to load the robot into.
        description: what to load and how to drive it.
        base_position: where the base stands, in metres.
    """

    DAMPING = 0.05
    """Damping of inverse kinematics, in metres: larger is calmer near singular poses and less exact."""
    POSTURE_GAIN = 0.1
    """Share of the way to the rest pose that redundant joints go in a control step."""

    def __init__(self, simulation: Simulation, description: RobotDescription, base_position: Vector) -> None:
        self.simulation, self.description = simulation, description
        self.body = simulation.load_urdf(description.urdf, base_position)
        joints, links, limits = self._read_joints()
        self.arm = [joints[name] for name in description.arm_joints]
        self.ee_link = links[description.ee_link]
        self._read_gripper(joints, links)
        self._set_order(sorted(limits))
        self.low, self.high = (np.array([limits[joint][side] for joint in self.arm]) for side in (0, 1))
        self.max_step = np.array(description.max_velocities) * simulation.control_period
        """Radians (n_arm,) that the velocity limits allow in a control step."""
        self._per_step = (1 / self.max_step).tolist()
        self.rest_pose = np.array(description.rest_pose)
        self._damping = self.DAMPING**2 * np.eye(len(self.arm))
        # A motor removes this share of its error in a substep: an error of `max_step` is met at the velocity limit.
        self._gains = [1 / simulation.substeps] * len(self._motors)
        self._set_dynamics()
        self.joint_targets = self.rest_pose
        self.ee_target: Floats = (0.0, 0.0, 0.0)
        self.ee_target_quaternion: Floats = description.ee_quaternion
        self.width_target = 0.0
        self.measure()

    def _read_joints(self) -> tuple[Table[int], Table[int], dict[int, tuple[float, float]]]:
        """Return joint and link indices by name, and the limits of the movable joints."""
        joints: Table[int] = Table(f"joint of {self.description.urdf}")
        links: Table[int] = Table(f"link of {self.description.urdf}")
        limits = {}
        client = self.simulation.client
        for index in range(p.getNumJoints(self.body, physicsClientId=client)):
            info = p.getJointInfo(self.body, index, physicsClientId=client)
            joints[info[1].decode()], links[info[12].decode()] = index, index
            if info[2] != p.JOINT_FIXED:
                limits[index] = (info[8], info[9])
        return joints, links, limits

    def _read_gripper(self, joints: Table[int], links: Table[int]) -> None:
        gripper = self.description.gripper
        self.gripper_joints = [joints[name] for name in gripper.joints] if gripper else []
        self.fingers = [links[name] for name in gripper.fingers] if gripper else []
        self._motors = self.arm + self.gripper_joints
        self._closed = gripper.closed if gripper else ()
        self._travel = [far - near for far, near in zip(gripper.open, gripper.closed, strict=True)] if gripper else []
        """How far each joint of the gripper moves from closed to open."""
        self._forces = [*self.description.forces, *[gripper.force if gripper else 0.0] * len(self.gripper_joints)]

    def _set_order(self, movable: list[int]) -> None:
        """Choose the order in which joints are read: motors first; Jacobians have the order of the URDF."""
        self._read = self._motors + [joint for joint in movable if joint not in self._motors]
        self._urdf_order = [self._read.index(joint) for joint in movable]
        columns = [movable.index(joint) for joint in self.arm]
        first = columns[0]
        side_by_side = columns == list(range(first, first + len(columns)))
        self._arm_columns = slice(first, first + len(columns)) if side_by_side else columns  # a slice is faster
        self._no_speeds = [0.0] * len(movable)

    def _set_dynamics(self) -> None:
        client = self.simulation.client
        for link in range(-1, p.getNumJoints(self.body, physicsClientId=client)):
            p.changeDynamics(
                self.body, link, activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING, physicsClientId=client
            )
        if gripper := self.description.gripper:
            for finger in self.fingers:
                p.changeDynamics(
                    self.body, finger, lateralFriction=gripper.friction, spinningFriction=0.001, physicsClientId=client
                )

    # -------------------------------------------------------------------------------------------- episodes

    def reset(self, width: float) -> None:
        """Return to the rest pose, at rest, the gripper open by `width` metres. Motors keep their old targets."""
        joints = [*self.arm, *self.gripper_joints]
        for joint, position in zip(joints, [*self.rest_pose, *self._gripper_positions(width)], strict=True):
            p.resetJointState(self.body, joint, position, physicsClientId=self.simulation.client)

    def hold(self, width: float) -> None:
        """Aim every motor at the rest pose: Bullet keeps motor targets over any reset of joints."""
        self.joint_targets, self.width_target = self.rest_pose, width
        self.ee_target = self.measure().ee_point
        self.ee_target_quaternion = self.description.ee_quaternion
        self.drive()

    # -------------------------------------------------------------------------------------------- measuring

    def measure(self) -> RobotState:
        """Measure joints, end effector and gripper with two calls into the engine; `now` keeps the result."""
        client = self.simulation.client
        joints = p.getJointStates(self.body, self._read, physicsClientId=client)
        link = p.getLinkState(
            self.body, self.ee_link, computeLinkVelocity=1, computeForwardKinematics=1, physicsClientId=client
        )
        self._positions = [joint[0] for joint in joints]
        self._mass_centre = link[2]
        count = len(self.arm)
        point, velocity = link[4], link[6]
        if any(self.description.ee_offset):
            arm = np.array(p.rotateVector(link[5], self.description.ee_offset))
            point, velocity = (arm + link[4]).tolist(), (np.cross(link[7], arm) + link[6]).tolist()
        width = self._width(self._positions[count : len(self._motors)])
        self.now = RobotState(joints[:count], point, link[5], (velocity, link[7]), width)
        return self.now

    def _width(self, positions: list[float]) -> float:
        """Return the opening of the gripper in metres: the mean over its joints of how far each is open."""
        shares = [(now - near) / way for now, near, way in zip(positions, self._closed, self._travel, strict=True)]
        return sum(shares) / len(shares) * self.description.hand.max_width if shares else 0.0

    def grasps(self, body: int) -> bool:
        """Return whether all fingers touch a body."""
        return bool(self.fingers) and self.simulation.touching(self.body, body).issuperset(self.fingers)

    # -------------------------------------------------------------------------------------------- moving

    def joints_towards(self, position: Floats, quaternion: Floats) -> np.ndarray:
        """Return arm joint positions (n_arm,) that bring the end effector closer to a pose (metres; x, y, z, w).

        One step of damped least squares from the measured pose: the smallest motion that makes the error small and,
        where joints are free to choose, goes towards the rest pose (Siciliano et al., Robotics, 2009, section 3.7).
        """
        now, positions = self.now, self._positions
        # Bullet takes the point of a Jacobian relative to the link's centre of mass.
        point = [offset - mass for offset, mass in zip(self.description.ee_offset, self._mass_centre, strict=True)]
        linear, angular = p.calculateJacobian(
            self.body,
            self.ee_link,
            point,
            [positions[index] for index in self._urdf_order],
            self._no_speeds,
            self._no_speeds,
            physicsClientId=self.simulation.client,
        )
        jacobian = np.array(linear + angular)[:, self._arm_columns]
        x, y, z, w = p.getDifferenceQuaternion(now.ee_quaternion, quaternion)
        turn = 2.0 if w >= 0 else -2.0
        error = [*map(operator.sub, position, now.ee_point), turn * x, turn * y, turn * z]
        joints = np.array(positions[: len(self.arm)])
        posture = (self.POSTURE_GAIN * self.DAMPING**2) * (self.rest_pose - joints)
        transposed = jacobian.T
        return joints + np.linalg.solve(transposed @ jacobian + self._damping, transposed @ error + posture)

    def within_limits(self, joints: np.ndarray) -> np.ndarray:
        """Return joint positions (n_arm,) clipped to the joints' limits, in radians."""
        return np.minimum(np.maximum(joints, self.low), self.high)

    def drive(self) -> None:
        """Send `joint_targets` (radians) and `width_target` (metres) to the motors.

        If a joint would exceed its velocity limit, all are slowed by the same factor, so that the path stays straight.
        """
        joints = self._positions[: len(self.arm)]
        motion = list(map(operator.sub, self.joint_targets.tolist(), joints))
        share = 1 / max(1.0, *map(abs, map(operator.mul, motion, self._per_step)))
        p.setJointMotorControlArray(
            self.body,
            self._motors,
            p.POSITION_CONTROL,
            targetPositions=[
                *(joint + share * way for joint, way in zip(joints, motion, strict=True)),
                *self._gripper_positions(self.width_target),
            ],
            forces=self._forces,
            positionGains=self._gains,
            physicsClientId=self.simulation.client,
        )

    def _gripper_positions(self, width: float) -> list[float]:
        """Return the positions of the gripper's joints for an opening in metres."""
        share = width / (self.description.hand.max_width or 1.0)
        return [near + share * way for near, way in zip(self._closed, self._travel, strict=True)]
