"""A robot arm in a simulation: reads its state, solves its kinematics, drives its motors."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Mapping

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.engine import p
from armature.envs.robots.description import RobotDescription
from armature.envs.robots.joining import Place
from armature.envs.robots.loading import load
from armature.envs.robots.state import Floats, RobotState, point_velocity
from armature.envs.simulation import Simulation, farthest
from armature.registry import Table

solve = np.linalg._umath_linalg.solve1
"""Solves a system of equations. What `numpy.linalg.solve` does around it takes twice as long as everything else."""


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
    REFLECTED_INERTIA = 0.01
    """Inertia in kg m^2 of a gripper's motor as its turning joints feel it through the gears; their bars weigh little,
    and the solver would let what they hold bend them."""
    FINGER_MARGIN = 0.05
    """Metres beyond the boxes around open and closed fingers in which they may touch something: what Bullet counts as
    contact at a distance, 0.02, and fingers that swing."""

    def __init__(self, simulation: Simulation, description: RobotDescription, base_position: Vector) -> None:
        self.simulation, self.description = simulation, description
        self.max_width = description.hand.max_width
        """Metres that the gripper opens at most; 0 without one."""
        self.body, places, boxes = load(simulation, description, base_position)
        joints, links, limits = self._read_joints(places)
        self.arm = [joints[name] for name in description.arm_joints]
        self.ee_link = links[description.ee_link]
        self._read_end_effector(places[description.ee_link])
        self._read_gripper(joints, links)
        self._watched = self._links_to_watch(links, boxes)
        self._set_order(sorted(limits))
        self._hold_idle_joints(limits)
        self._lowest, self._highest = ([limits[joint][side] for joint in self.arm] for side in (0, 1))
        self.low, self.high = np.array(self._lowest), np.array(self._highest)
        """Limits (n_arm,) of the arm's joints in radians."""
        self.max_step = np.array(description.max_velocities) * simulation.control_period
        """Radians (n_arm,) that the velocity limits allow in a control step."""
        self._per_step = (1 / self.max_step).tolist()
        self.rest_pose = list(description.rest_pose)
        self._posture_gain = self.POSTURE_GAIN * self.DAMPING**2
        self._damping = self.DAMPING**2 * np.eye(len(self.arm))
        # A motor removes this share of its error in a substep: an error of `max_step` is met at the velocity limit.
        self._gains = [1 / simulation.substeps] * len(self._motors)
        self._set_dynamics()
        self.set_strength(1.0)
        self.joint_targets: Floats = self.rest_pose
        self.ee_target: Floats = (0.0, 0.0, 0.0)
        self.ee_target_quaternion: Floats = description.ee_quaternion
        self.width_target = 0.0
        self._jacobian: np.ndarray | None = None
        self._finger_reach = max(map(self._reach_of_fingers, (0.0, self.max_width)))
        self.measure()

    def _read_joints(self, places: dict[str, Place]) -> tuple[Table[int], Table[int], dict[int, tuple[float, float]]]:
        """Return indices of movable joints and of links by name, and the limits of these joints.

        A link that was joined into another has that one's index.
        """
        joints: Table[int] = Table(f"movable joint of {self.description.urdf}")
        links: Table[int] = Table(f"link of {self.description.urdf}")
        limits = {}
        client = self.simulation.client
        for index in range(p.getNumJoints(self.body, physicsClientId=client)):
            info = p.getJointInfo(self.body, index, physicsClientId=client)
            links[info[12].decode()] = index
            if info[2] in (p.JOINT_REVOLUTE, p.JOINT_PRISMATIC):
                joints[info[1].decode()] = index
                endless = info[8] > info[9]
                limits[index] = (-2 * math.pi, 2 * math.pi) if endless else (info[8], info[9])
        links.update({name: links[place.link] for name, place in places.items() if place.link in links})
        return joints, links, limits

    def _read_end_effector(self, place: Place) -> None:
        """Remember where the end effector is in the frame of the link that carries it."""
        point = place.position + place.axes @ self.description.ee_offset
        self._ee_place = point.tolist(), place.quaternion
        self._ee_point = self._in_axes_of_inertia(self.ee_link, point).tolist()

    def _in_axes_of_inertia(self, link: int, points: np.ndarray) -> np.ndarray:
        """Return points (..., 3) of a link's frame along the axes that Bullet takes for those of Jacobians."""
        turn = p.getDynamicsInfo(self.body, link, physicsClientId=self.simulation.client)[4]
        return points @ np.reshape(p.getMatrixFromQuaternion(turn), (3, 3))

    def _read_gripper(self, joints: Table[int], links: Table[int]) -> None:
        gripper = self.description.gripper
        self.gripper_joints = [joints[name] for name in gripper.joints] if gripper else []
        self.fingers = [links[name] for name in gripper.fingers] if gripper else []
        self._motors = self.arm + self.gripper_joints
        self._closed = gripper.closed if gripper else ()
        self._travel = [far - near for far, near in zip(gripper.open, gripper.closed, strict=True)] if gripper else []
        """How far each joint of the gripper moves from closed to open."""
        self._ways = list(zip(self._closed, self._travel, strict=True))
        """Where each is when closed, and how far it moves."""
        strengths = [0.0 if name in gripper.passive else gripper.force for name in gripper.joints] if gripper else []
        self._full_forces = [*self.description.forces, *strengths]
        for leader, follower in gripper.gears if gripper else ():
            self._couple(joints[leader], joints[follower])

    def _couple(self, leader: int, follower: int) -> None:
        """Tie two joints of the gripper by a gear: Bullet knows no mimic joints."""
        way = dict(zip(self.gripper_joints, self._travel, strict=True))
        gear = p.createConstraint(
            *(self.body, leader, self.body, follower, p.JOINT_GEAR),
            *((0, 1, 0), (0, 0, 0), (0, 0, 0)),
            physicsClientId=self.simulation.client,
        )
        ratio = -way[leader] / way[follower]
        p.changeConstraint(gear, gearRatio=ratio, maxForce=1000, erp=1.0, physicsClientId=self.simulation.client)

    def _set_order(self, movable: list[int]) -> None:
        """Choose the order in which joints are read: motors first; Jacobians have the order of the URDF."""
        self._idle = [joint for joint in movable if joint not in self._motors]
        self._read = self._motors + self._idle
        # Empty where joints are read in that order anyway.
        self._urdf_order = [] if self._read == movable else [self._read.index(joint) for joint in movable]
        columns = [movable.index(joint) for joint in self.arm]
        first = columns[0]
        side_by_side = columns == list(range(first, first + len(columns)))
        self._arm_columns = slice(first, first + len(columns)) if side_by_side else columns  # a slice is faster
        self._no_speeds = [0.0] * len(movable)

    def _reach_of_fingers(self, width: float) -> float:
        """Return how far from the end effector fingers can touch something, while they are open by `width` metres."""
        self.reset(width)
        ee = self.measure().ee_position
        boxes = [self.simulation.box(self.body, finger) for finger in self.fingers]
        return self.FINGER_MARGIN + max((farthest(ee, *box) for box in boxes), default=0.0)

    def _links_to_watch(self, links: Table[int], boxes: dict[str, np.ndarray]) -> dict[int, np.ndarray]:
        """Return the links that can touch the table and should not, and the corners (n, 3) of the boxes around them.

        These are all but the first two of the arm, and fingers.
        """
        corners: dict[int, list[np.ndarray]] = {}
        for name, box in boxes.items():
            link = links.get(name, -1)
            if link >= self.arm[:3][-1] and link not in self.fingers:
                corners.setdefault(link, []).append(box)
        return {link: np.concatenate(found) for link, found in corners.items()}

    def _hold_idle_joints(self, limits: Mapping[int, tuple[float, float]]) -> None:
        """Fix joints that are neither arm nor gripper at 0, or as near as their limits allow."""
        self._idle_positions = [min(max(0.0, limits[joint][0]), limits[joint][1]) for joint in self._idle]
        strength = [max(self.description.forces)] * len(self._idle)
        p.setJointMotorControlArray(
            self.body,
            self._idle,
            p.POSITION_CONTROL,
            targetPositions=self._idle_positions,
            forces=strength,
            physicsClientId=self.simulation.client,
        )

    def _set_dynamics(self) -> None:
        client = self.simulation.client
        for link in range(-1, p.getNumJoints(self.body, physicsClientId=client)):
            p.changeDynamics(
                self.body,
                link,
                activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
                maxJointVelocity=max(self.description.max_velocities),
                physicsClientId=client,
            )
        for joint in self.gripper_joints:
            inertia = p.getDynamicsInfo(self.body, joint, physicsClientId=client)[2]
            inertia = [max(value, self.REFLECTED_INERTIA) for value in inertia]
            p.changeDynamics(self.body, joint, localInertiaDiagonal=inertia, physicsClientId=client)
        if gripper := self.description.gripper:
            for finger in self.fingers:
                p.changeDynamics(
                    self.body, finger, lateralFriction=gripper.friction, spinningFriction=0.001, physicsClientId=client
                )

    def set_strength(self, share: float) -> None:
        """Let every motor have this share of its largest force."""
        self._forces = [share * force for force in self._full_forces]
        self.torque_limits = np.array(self._forces[: len(self.arm)])
        """Newton metres (n_arm,)."""

    # -------------------------------------------------------------------------------------------- episodes

    def reset(self, width: float) -> None:
        """Return to the rest pose, at rest, the gripper open by `width` metres. Motors keep their old targets."""
        positions = [*self.rest_pose, *self._gripper_positions(width), *self._idle_positions]
        p.resetJointStatesMultiDof(
            self.body, self._read, [[position] for position in positions], physicsClientId=self.simulation.client
        )

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
        joints = p.getJointStates(self.body, self._read, client)
        link = p.getLinkState(self.body, self.ee_link, 1, 1, client)  # with velocities, from the present joints
        self._positions = [joint[0] for joint in joints]
        self._jacobian = None
        count = len(self.arm)
        point, quaternion = p.multiplyTransforms(link[4], link[5], *self._ee_place)
        velocity = point_velocity(point, link)
        width = self._width(self._positions[count : len(self._motors)])
        self.now = RobotState(joints[:count], point, quaternion, (velocity, link[7]), width)
        return self.now

    def measure_joints(self) -> tuple[np.ndarray, np.ndarray]:
        """Return positions and velocities (n_arm,) of the arm's joints between control steps; `now` stays."""
        joints = np.array(
            [joint[:2] for joint in p.getJointStates(self.body, self.arm, physicsClientId=self.simulation.client)]
        )
        return joints[:, 0], joints[:, 1]

    def _width(self, positions: list[float]) -> float:
        """Return the opening of the gripper in metres: the mean over its joints of how far each is open."""
        shares = map(operator.truediv, map(operator.sub, positions, self._closed), self._travel)
        return sum(shares) / len(positions) * self.max_width if positions else 0.0

    def grasps(self, body: int, point: Floats) -> bool:
        """Return whether all fingers touch a body, whose base is at a point (3,) in metres."""
        # Asking for contacts takes long, and most of the time the body is nowhere near.
        near = math.dist(point, self.now.ee_point) <= self._finger_reach + self.simulation.radius(body)
        return near and bool(self.fingers) and self.simulation.touching(self.body, body).issuperset(self.fingers)

    def touch(self, body: int) -> list[float]:
        """Return for each finger 1 while it touches a body, else 0; an arm without fingers has one number."""
        links = self.simulation.touching(self.body, body)
        return [float(finger in links) for finger in self.fingers] if self.fingers else [float(bool(links))]

    # -------------------------------------------------------------------------------------------- moving

    def jacobian(self) -> np.ndarray:
        """Return how the end effector moves and turns with the arm's joints (6, n_arm), where they were measured."""
        if self._jacobian is None:
            self._jacobian = self._link_jacobian(self.ee_link, self._ee_point)
        return self._jacobian

    def _link_jacobian(self, link: int, point: Floats) -> np.ndarray:
        """Return the Jacobian (6, n_arm) of a point of a link, from its frame along the axes of its inertia."""
        client, still = self.simulation.client, self._no_speeds
        linear, angular = p.calculateJacobian(self.body, link, point, self._in_urdf_order(), still, still, client)
        return np.array(linear + angular)[:, self._arm_columns]

    def _in_urdf_order(self) -> list[float]:
        """Return the measured positions of the joints in the order of the URDF, which the engine's mathematics has."""
        return list(map(self._positions.__getitem__, self._urdf_order)) if self._urdf_order else self._positions

    def mass_matrix(self) -> np.ndarray:
        """Return the inertia of the arm's joints (n_arm, n_arm), in kg m^2, where they were measured."""
        full = np.array(p.calculateMassMatrix(self.body, self._in_urdf_order(), physicsClientId=self.simulation.client))
        return full[self._arm_columns][:, self._arm_columns]

    def gravity_torques(self) -> np.ndarray:
        """Return the torques (n_arm,) in newton metres that hold the arm where it was measured."""
        client, still = self.simulation.client, self._no_speeds
        torques = p.calculateInverseDynamics(self.body, self._in_urdf_order(), still, still, physicsClientId=client)
        return np.array(torques)[self._arm_columns]

    def low_links(self, height: float) -> list[tuple[float, np.ndarray]]:
        """Return how high (metres) each link that is lower than `height` is, and how joints lower it (n_arm,)."""
        found, client = [], self.simulation.client
        for link, corners in self._watched.items():
            # Quickly known, but of links that were joined not the tightest box.
            if p.getAABB(self.body, link, physicsClientId=client)[0][2] < height:
                *_, position, turn = p.getLinkState(
                    self.body, link, computeForwardKinematics=1, physicsClientId=client
                )[:6]
                heights = corners @ p.getMatrixFromQuaternion(turn)[6:] + position[2]
                lowest = int(heights.argmin())
                if heights[lowest] < height:
                    point = self._in_axes_of_inertia(link, corners[lowest]).tolist()
                    found.append((float(heights[lowest]), -self._link_jacobian(link, point)[2]))
        return found

    def joints_towards(self, position: Floats, quaternion: Floats) -> list[float]:
        """Return arm joint positions (n_arm,) within limits that bring the end effector closer to a pose.

        The pose is in metres, and x, y, z, w.

        One step of damped least squares from the measured pose: the smallest motion that makes the error small and,
        where joints are free to choose, goes towards the rest pose (Siciliano et al., Robotics, 2009, section 3.7).
        """
        weight = self.description.orientation_weight
        now, jacobian, joints = self.now, self.jacobian(), self._positions[: len(self.arm)]
        x, y, z, w = p.getDifferenceQuaternion(now.ee_quaternion, quaternion)
        turn = 2.0 * weight if w >= 0 else -2.0 * weight
        error = np.array([*map(operator.sub, position, now.ee_point), turn * x, turn * y, turn * z])
        if weight != 1:  # in a copy: limits need the Jacobian, too
            jacobian = np.concatenate([jacobian[:3], weight * jacobian[3:]])
        gain = self._posture_gain
        posture = np.array([gain * (rest - at) for rest, at in zip(self.rest_pose, joints, strict=True)])
        wanted = list(map(operator.add, joints, self._least_squares(jacobian, error, posture).tolist()))
        if all(map(operator.le, self._lowest, wanted)) and all(map(operator.le, wanted, self._highest)):
            return wanted
        # The other joints do what those at their limits cannot.
        allowed = self.within_limits(wanted)
        stopped = allowed != wanted
        fixed = np.where(stopped, allowed - joints, 0.0)
        free = self._least_squares(np.where(stopped, 0.0, jacobian), error - jacobian @ fixed, posture)
        return self.within_limits(joints + np.where(stopped, fixed, free)).tolist()

    def _least_squares(self, jacobian: np.ndarray, error: np.ndarray, posture: np.ndarray) -> np.ndarray:
        transposed = jacobian.T
        return solve(transposed @ jacobian + self._damping, transposed @ error + posture)

    def within_limits(self, joints: Vector) -> np.ndarray:
        """Return joint positions (n_arm,) clipped to the joints' limits, in radians."""
        return np.minimum(np.maximum(joints, self.low), self.high)

    def slowed(self, motion: Iterable[float]) -> list[float]:
        """Return a motion (n_arm,) of a control step, in radians, that no joint is too slow for.

        All joints are slowed by the same factor, so that the path stays straight.
        """
        ways = list(motion)
        excess = max(map(abs, map(operator.mul, ways, self._per_step)))
        return [way / excess for way in ways] if excess > 1 else ways

    def drive(self) -> None:
        """Send `joint_targets` (radians) and `width_target` (metres) to the motors, no faster than the joints can."""
        joints = self._positions[: len(self.arm)]
        targets = list(map(operator.add, joints, self.slowed(map(operator.sub, self.joint_targets, joints))))
        p.setJointMotorControlArray(
            self.body,
            self._motors,
            p.POSITION_CONTROL,
            targetPositions=targets + self._gripper_positions(self.width_target),
            forces=self._forces,
            positionGains=self._gains,
            physicsClientId=self.simulation.client,
        )

    def drive_velocities(self, velocities: np.ndarray, forces: np.ndarray) -> None:
        """Let the arm's motors hold velocities (n_arm,) (rad/s) with no more than some torques (n_arm,)."""
        p.setJointMotorControlArray(
            self.body,
            self.arm,
            p.VELOCITY_CONTROL,
            targetVelocities=velocities.tolist(),
            forces=forces.tolist(),
            physicsClientId=self.simulation.client,
        )

    def push(self, torques: np.ndarray) -> None:
        """Apply torques (n_arm,) in newton metres to the arm's joints for the next substep alone."""
        p.setJointMotorControlArray(
            self.body, self.arm, p.TORQUE_CONTROL, forces=torques.tolist(), physicsClientId=self.simulation.client
        )

    def drive_gripper(self) -> None:
        """Send `width_target` (metres) to the gripper's motors, if there is one."""
        count = len(self.arm)
        if self.gripper_joints:
            p.setJointMotorControlArray(
                self.body,
                self.gripper_joints,
                p.POSITION_CONTROL,
                targetPositions=self._gripper_positions(self.width_target),
                forces=self._forces[count:],
                positionGains=self._gains[count:],
                physicsClientId=self.simulation.client,
            )

    def _gripper_positions(self, width: float) -> list[float]:
        """Return the positions of the gripper's joints for an opening in metres."""
        share = width / (self.max_width or 1.0)
        return [near + share * way for near, way in self._ways]
