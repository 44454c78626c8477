"""A robot arm: a URDF, a small description of it, and the few things that action modes and tasks ask of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from armature.envs.engine import p
from armature.envs.simulation import Simulation, Vector
from armature.registry import Table


@dataclass(frozen=True)
class Gripper:
    """A parallel gripper of two sliding fingers."""

    joints: tuple[str, str]
    """Names of the finger joints; the opening is the sum of their positions."""
    max_width: float
    """Opening of the gripper in metres when it is fully open."""
    force: float
    """Largest force of each finger motor in newtons."""
    friction: float
    """Lateral friction of the fingers."""


@dataclass(frozen=True)
class RobotDescription:
    """What a URDF does not say. One of these is all that a new robot needs."""

    urdf: str
    """Path of the URDF, absolute or inside PyBullet's data folder."""
    arm_joints: tuple[str, ...]
    """Names of the arm's joints from base to wrist."""
    ee_link: str
    """Name of the link whose frame is the end effector."""
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


@dataclass
class RobotState:
    """What was measured after a control step; positions in the world frame, SI units."""

    joint_positions: np.ndarray
    """(n_arm,) radians."""
    joint_velocities: np.ndarray
    """(n_arm,) radians per second."""
    ee_position: np.ndarray
    """(3,) metres: the link's frame, not its centre of mass."""
    ee_velocity: np.ndarray
    """(3,) metres per second."""
    gripper_width: float
    """Metres; 0 without a gripper."""


class Robot:
    """A robot in a simulation: reads its state, follows position targets.

    Args:
        simulation: the world to load the robot into.
        description: what to load and how to drive it.
        base_position: where the base stands, in metres.
    """

    POSITION_GAIN = 0.1
    """Share of the position error that a motor removes in one substep."""
    DAMPING = 0.05
    """Damping of inverse kinematics, in metres: larger is calmer near singular poses and less exact."""
    POSTURE_GAIN = 0.1
    """Share of the way to the rest pose that redundant joints go in a control step."""

    def __init__(self, simulation: Simulation, description: RobotDescription, base_position: Vector) -> None:
        self.simulation, self.description = simulation, description
        self.body = simulation.load_urdf(description.urdf, base_position)
        joints, links, limits = self._read_joints()
        self.arm = [joints[name] for name in description.arm_joints]
        self.fingers = [joints[name] for name in description.gripper.joints] if description.gripper else []
        self.ee_link = links[description.ee_link]
        self.low, self.high = (np.array([limits[joint][side] for joint in self.arm]) for side in (0, 1))
        self._movable = sorted(limits)
        self._arm_columns = [self._movable.index(joint) for joint in self.arm]
        self.max_step = np.array(description.max_velocities) * simulation.control_period
        self.joint_targets = np.array(description.rest_pose)
        self.ee_target = np.zeros(3)
        self.width_target = 0.0
        self._set_dynamics()

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

    def _set_dynamics(self) -> None:
        client = self.simulation.client
        for link in range(-1, p.getNumJoints(self.body, physicsClientId=client)):
            p.changeDynamics(
                self.body, link, activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING, physicsClientId=client
            )
        for finger in self.fingers:
            assert self.description.gripper is not None
            friction = self.description.gripper.friction
            p.changeDynamics(
                self.body, finger, lateralFriction=friction, spinningFriction=0.001, physicsClientId=client
            )

    # -------------------------------------------------------------------------------------------- episodes

    def reset(self, width: float) -> None:
        """Return to the rest pose, at rest, the gripper open by `width` metres. Motors keep their old targets."""
        for joint, position in zip(self.arm, self.description.rest_pose, strict=True):
            p.resetJointState(self.body, joint, position, physicsClientId=self.simulation.client)
        for finger in self.fingers:
            p.resetJointState(self.body, finger, width / 2, physicsClientId=self.simulation.client)

    def hold(self, width: float) -> None:
        """Aim every motor at the rest pose: Bullet keeps motor targets over any reset of joints."""
        self.joint_targets = np.array(self.description.rest_pose)
        self.width_target = width
        self.ee_target = self.state().ee_position
        self.drive()

    # -------------------------------------------------------------------------------------------- measuring

    @property
    def max_width(self) -> float:
        """Opening of the open gripper in metres; 0 without a gripper."""
        return self.description.gripper.max_width if self.description.gripper else 0.0

    def state(self) -> RobotState:
        """Measure joints, end effector and gripper, with two calls into the engine."""
        client = self.simulation.client
        joints = p.getJointStates(self.body, self.arm + self.fingers, physicsClientId=client)
        link = p.getLinkState(
            self.body, self.ee_link, computeLinkVelocity=1, computeForwardKinematics=1, physicsClientId=client
        )
        count = len(self.arm)
        return RobotState(
            joint_positions=np.array([joint[0] for joint in joints[:count]]),
            joint_velocities=np.array([joint[1] for joint in joints[:count]]),
            ee_position=np.array(link[4]),
            ee_velocity=np.array(link[6]),
            gripper_width=sum(joint[0] for joint in joints[count:]),
        )

    def grasps(self, body: int) -> bool:
        """Return whether all fingers touch a body."""
        return bool(self.fingers) and all(self.simulation.touching(self.body, link, body) for link in self.fingers)

    # -------------------------------------------------------------------------------------------- moving

    def joints_towards(self, position: Vector) -> np.ndarray:
        """Return arm joint positions (n_arm,) that bring the end effector closer to a position (3,), in metres.

        One step of damped least squares from the measured pose, with the description's orientation and, in the null
        space, a pull to the rest pose (Siciliano et al., Robotics, 2009, sections 3.5 and 3.7). All joints are slowed
        by the same factor if one would exceed its velocity limit, so the path stays straight.
        """
        client = self.simulation.client
        joints = p.getJointStates(self.body, self._movable, physicsClientId=client)
        link = p.getLinkState(self.body, self.ee_link, physicsClientId=client)
        # Positions of the frame and its Jacobian: Bullet wants the point relative to the link's centre of mass.
        to_frame = [-offset for offset in link[2]]
        zeros = [0.0] * len(joints)
        linear, angular = p.calculateJacobian(
            self.body, self.ee_link, to_frame, [joint[0] for joint in joints], zeros, zeros, physicsClientId=client
        )
        jacobian = np.array(linear + angular)[:, self._arm_columns]
        x, y, z, w = p.getDifferenceQuaternion(link[5], self.description.ee_quaternion)
        turn = np.copysign(2.0, w) * np.array([x, y, z])
        error = np.concatenate([np.subtract(position, link[4]), turn])
        now = np.array([joints[column][0] for column in self._arm_columns])
        posture = self.POSTURE_GAIN * (np.array(self.description.rest_pose) - now)
        damped = jacobian @ jacobian.T + self.DAMPING**2 * np.eye(6)
        motion = posture + jacobian.T @ np.linalg.solve(damped, error - jacobian @ posture)
        motion /= max(1.0, float(np.max(np.abs(motion) / self.max_step)))
        return np.clip(now + motion, self.low, self.high)

    def drive(self) -> None:
        """Send `joint_targets` (radians) and `width_target` (metres) to the motors."""
        client, description = self.simulation.client, self.description
        # One call a joint: the array form has no velocity limit.
        for joint, target, force, velocity in zip(
            self.arm, self.joint_targets.tolist(), description.forces, description.max_velocities, strict=True
        ):
            p.setJointMotorControl2(
                self.body,
                joint,
                p.POSITION_CONTROL,
                targetPosition=target,
                force=force,
                maxVelocity=velocity,
                positionGain=self.POSITION_GAIN,
                physicsClientId=client,
            )
        if description.gripper:
            share = self.width_target / len(self.fingers)
            p.setJointMotorControlArray(
                self.body,
                self.fingers,
                p.POSITION_CONTROL,
                targetPositions=[share] * len(self.fingers),
                forces=[description.gripper.force] * len(self.fingers),
                physicsClientId=client,
            )
