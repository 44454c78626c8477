"""One PyBullet world with human names for what it does: bodies, time, contacts.

Every call passes the client's id: PyBullet's default is client 0, so a forgotten id works with one environment and
corrupts another with two. Time advances by calling `stepSimulation` as often as there are substeps, never by
`numSubSteps`, which makes force-limited motors stronger.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property

import numpy as np

from armature.envs.bodies import UPRIGHT, Mechanism, MechanismState, ObjectState, Pose, Vector
from armature.envs.display import check_display
from armature.envs.engine import p, pybullet_data
from armature.envs.forms import scaled
from armature.envs.look import Look
from armature.envs.zero_pages import zeros_given_back
from armature.errors import ConfigError

PARKING_Z = -10.0
"""Height far under the floor where bodies wait while a reset empties the contact cache, in metres."""
MOVING, STATIC, ROBOT = 1, 2, 32
"""Bullet's own collision groups; what is static does not collide with what is static, nor a robot with itself."""
TWINS, TWINS_Z = (64, 128), -20.0
"""Groups of two balls that help to forget, and their height in metres."""
PARKED = Pose((0.0, 0.0, PARKING_Z))
"""Where a body is before it is placed for the first time."""


def farthest(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> float:
    """Return the distance in metres from a point (3,) to the farthest corner of a box."""
    return float(np.linalg.norm(np.maximum(np.abs(low - point), np.abs(high - point))))


class Simulation:
    """A physics client: bodies, time, contacts, pictures.

    Args:
        control_period: length of one control step in seconds.
        substeps: into how many steps the engine divides it, `time_step` seconds each.
        solver_iterations: upper limit of the contact solver's iterations in a substep.
        solver_residual: the solver stops early below this residual.
        gui: open PyBullet's window; raises `ArmatureError` if there is no display.
        visuals: load what bodies look like, needed only for pictures.
        coarse: let robots look like what they collide with, which makes pictures cheap.
    """

    def __init__(
        self,
        *,
        control_period: float = 1 / 20,
        substeps: int = 10,
        solver_iterations: int = 10,
        solver_residual: float = 1e-4,
        gui: bool = False,
        visuals: bool = False,
        coarse: bool = False,
    ) -> None:
        if gui:
            check_display()
        self.gui = gui
        self.visuals, self.coarse = visuals or gui, coarse
        self.control_period, self.substeps = control_period, substeps
        self.time_step = control_period / substeps
        self.movers: list[Callable[[float], None]] = []
        """Called before every substep with the seconds since the episode began: they place what moves on its own."""
        self.time = 0.0
        with nullcontext() if gui else zeros_given_back():  # a window has a thread of its own
            self.client = p.connect(p.GUI if gui else p.DIRECT)
        self.look = Look()
        """What cameras go by; randomisation changes it."""
        self._loose: list[int] = []
        """Bodies that are moved out of the way while a reset empties the contact cache."""
        self._robot = -1
        """The body whose links are never tested against each other, which would take 2 % of the time of a substep."""
        self._fixed: set[int] = set()
        """Bodies whose base no force moves."""
        self._radii: dict[int, float] = {}  # of bodies, whose shapes never change
        p.setAdditionalSearchPath(pybullet_data.getDataPath(), physicsClientId=self.client)
        self.set_gravity(9.81)
        p.setPhysicsEngineParameter(
            fixedTimeStep=self.time_step,
            numSolverIterations=solver_iterations,
            solverResidualThreshold=solver_residual,
            deterministicOverlappingPairs=1,
            physicsClientId=self.client,
        )
        if gui:
            p.configureDebugVisualizer(p.COV_ENABLE_GUI, 0, physicsClientId=self.client)

    # -------------------------------------------------------------------------------------------- building

    def load_urdf(
        self,
        path: str,
        position: Vector,
        quaternion: Vector = UPRIGHT,
        fixed: bool = True,
        scale: float = 1.0,
        flags: int = 0,
    ) -> int:
        """Load a URDF from a path or from PyBullet's data folder; return the body's id."""
        body: int = p.loadURDF(
            path,
            position,
            quaternion,
            useFixedBase=fixed,
            flags=flags if self.visuals else flags | p.URDF_IGNORE_VISUAL_SHAPES,
            globalScaling=scale,
            physicsClientId=self.client,
        )
        if fixed:
            self._fixed.add(body)
        return body

    def load_robot(self, path: str, position: Vector, flags: int = 0) -> int:
        """Load a URDF, or the first body of an SDF, its base fixed at `position` in metres; return the body's id.

        Raises `pybullet.error` where PyBullet cannot read the file.
        """
        if not path.endswith(".sdf"):
            self._robot = self.load_urdf(path, position, flags=flags)
            return self._robot
        body: int = p.loadSDF(path, physicsClientId=self.client)[0]
        self._robot = body
        self._fixed.add(body)
        stands, quaternion = self.pose(body)  # of the base's centre of mass, while an SDF begins at the origin
        self.place(body, np.add(position, stands), quaternion)
        return body

    def load_object(
        self,
        path: str,
        fixed: bool,
        scale: float = 1.0,
        mass: float | None = None,
        color: Vector | None = None,
        position: Vector = PARKED.position,
        quaternion: Vector = UPRIGHT,
    ) -> int:
        """Load the URDF of an object; None keeps the file's own mass (kilograms) and colours."""
        try:
            body = self.load_urdf(path, position, quaternion, fixed, scale)
        except p.error:
            raise ConfigError(f"PyBullet cannot load {path}: is a mesh missing that it names?") from None
        if mass is not None:
            self.set_dynamics(body, mass=mass)
        if color is not None:
            self.paint(body, color)
        return body

    def add_shape(
        self,
        kind: str,
        size: Vector,
        mass: float = 0.0,
        color: Vector = (0.5, 0.5, 0.5, 1.0),
        position: Vector = PARKED.position,
        quaternion: Vector = UPRIGHT,
    ) -> int:
        """Add a box, sphere or cylinder of metres along x, y, z; mass 0 (kilograms) is a fixed body; return its id."""
        x, y, z = size
        shape, solid, seen = {
            "box": (p.GEOM_BOX, {"halfExtents": (x / 2, y / 2, z / 2)}, {"halfExtents": (x / 2, y / 2, z / 2)}),
            "sphere": (p.GEOM_SPHERE, {"radius": x / 2}, {"radius": x / 2}),
            "cylinder": (p.GEOM_CYLINDER, {"radius": x / 2, "height": z}, {"radius": x / 2, "length": z}),
        }[kind]
        collision = p.createCollisionShape(shape, **solid, physicsClientId=self.client)
        visual = -1
        if self.visuals:
            visual = p.createVisualShape(shape, **seen, rgbaColor=color, physicsClientId=self.client)
        body: int = p.createMultiBody(mass, collision, visual, position, quaternion, physicsClientId=self.client)
        if mass == 0:
            self._fixed.add(body)
        return body

    def set_friction(self, body: int, lateral: float, rolling: float, spinning: float) -> None:
        """Set the friction of all of a body: a coefficient, and two lengths in metres."""
        for link in self.links(body):
            self.set_dynamics(body, link, lateralFriction=lateral, rollingFriction=rolling, spinningFriction=spinning)

    def make_episodic(self, body: int) -> None:
        """Prepare a body that is placed anew in every episode."""
        for link in self.links(body):
            # A sleeping body's state is not restored, and waking depends on history.
            self.set_dynamics(body, link, activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING)
        self._loose.append(body)

    def box(self, body: int, link: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest corner (3,) of the box around a link."""
        low, high = p.getAABB(body, link, physicsClientId=self.client)
        return np.array(low), np.array(high)

    def bounds(self, body: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the lowest and the highest corner (3,) of the box around a body."""
        boxes = np.array([self.box(body, link) for link in self.links(body)])
        return boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)

    def radius(self, body: int) -> float:
        """Return how far from the base of a rigid body any part of it can be, however it is turned, in metres."""
        if body not in self._radii:
            self._radii[body] = farthest(np.array(self.pose(body)[0]), *self.bounds(body))
        return self._radii[body]

    def links(self, body: int) -> range:
        """Return the indices of a body's links, that of its base, -1, first."""
        return range(-1, p.getNumJoints(body, physicsClientId=self.client))

    def load_ghost(self, path: str, scale: float) -> int:
        """Load a URDF that is seen but never touched; return its id."""
        body = self.load_urdf(path, PARKED.position, scale=scale)
        self._filter(body, touching=False)
        return body

    def add_mechanism(
        self, path: str, joint: str, handle: str, resistance: float, returns_to: float | None = None
    ) -> Mechanism:
        """Load a URDF with one joint that hands move; `joint` and `handle` (a link) are names in it."""
        body = self.load_urdf(path, (0, 0, PARKING_Z))
        self.make_episodic(body)
        # Little friction, so that hands slide along a handle that goes round.
        self.set_friction(body, 0.1, 0.0, 0.0)
        joints, links = {}, {}
        for index in range(p.getNumJoints(body, physicsClientId=self.client)):
            info = p.getJointInfo(body, index, physicsClientId=self.client)
            joints[info[1].decode()], links[info[12].decode()] = index, index
        return Mechanism(body, joints[joint], links[handle], resistance, returns_to)

    def add_scaled(self, body: int, factor: float) -> int:
        """Add a copy of a loose body that is larger by a factor and has the same mass and surface; return its id.

        It looks like its collision shape. Raises `ConfigError` for a body of several shapes.
        """
        client = self.client
        shapes = p.getCollisionShapeData(body, -1, physicsClientId=client)
        if len(shapes) != 1:
            raise ConfigError(
                f"randomize.object_size: an object consists of {len(shapes)} shapes; only one of a single can be had "
                "in other sizes. Leave it out, or choose another object."
            )
        form = scaled(shapes[0], factor)
        shape, visual = p.createCollisionShape(**form.solid, physicsClientId=client), -1
        if self.visuals and (seen := p.getVisualShapeData(body, physicsClientId=client)):
            visual = p.createVisualShape(**form.seen, rgbaColor=seen[0][7], physicsClientId=client)
        mass, friction, *_, bounce, rolling, spinning = p.getDynamicsInfo(body, -1, physicsClientId=client)[:8]
        copy = p.createMultiBody(mass, shape, visual, (0, 0, PARKING_Z), physicsClientId=client)
        self.set_dynamics(
            copy,
            lateralFriction=friction,
            restitution=bounce,
            rollingFriction=rolling,
            spinningFriction=spinning,
        )
        self.make_episodic(copy)
        return copy

    def add_marker(self, radius: float, color: Vector) -> int:
        """Add a sphere that is seen but never touched; return its id."""
        visual = p.createVisualShape(p.GEOM_SPHERE, radius=radius, rgbaColor=color, physicsClientId=self.client)
        return p.createMultiBody(0, -1, visual, (0, 0, PARKING_Z), physicsClientId=self.client)

    # -------------------------------------------------------------------------------------------- bodies

    def place(self, body: int, position: Vector, quaternion: Vector = UPRIGHT) -> None:
        """Put a body somewhere, at rest."""
        p.resetBasePositionAndOrientation(body, position, quaternion, physicsClientId=self.client)
        p.resetBaseVelocity(body, (0, 0, 0), (0, 0, 0), physicsClientId=self.client)

    def park(self, body: int) -> None:
        """Put a loose body where it touches nothing."""
        self.place(body, (self._loose.index(body), 0, PARKING_Z))

    def lowest(self, body: int) -> float:
        """Return the height in metres of the lowest point of a body's base."""
        return p.getAABB(body, -1, physicsClientId=self.client)[0][2]

    def set_dynamics(self, body: int, link: int = -1, **values: float) -> None:
        """Set values of a link's dynamics by PyBullet's names (SI units)."""
        p.changeDynamics(body, link, physicsClientId=self.client, **values)

    def set_gravity(self, downward: float) -> None:
        """Set the downward acceleration in metres per second squared."""
        p.setGravity(0, 0, -downward, physicsClientId=self.client)

    def paint(self, body: int, color: Vector) -> None:
        """Give all of a body one colour: red, green, blue, alpha in [0, 1]. Without visuals there is nothing to do."""
        if self.visuals:
            for link in self.links(body):
                p.changeVisualShape(body, link, rgbaColor=color, physicsClientId=self.client)

    def place_mechanism(self, mechanism: Mechanism, pose: Pose, opening: float) -> None:
        """Put a mechanism somewhere, its joint at `opening` (metres or radians), at rest."""
        body, joint, client = mechanism.body, mechanism.joint, self.client
        p.resetBasePositionAndOrientation(body, *pose, physicsClientId=client)
        p.resetJointState(body, joint, opening, physicsClientId=client)
        if mechanism.returns_to is None:
            how = {"controlMode": p.VELOCITY_CONTROL, "targetVelocity": 0.0}
        else:
            how = {"controlMode": p.POSITION_CONTROL, "targetPosition": mechanism.returns_to}
        p.setJointMotorControl2(body, joint, force=mechanism.resistance, physicsClientId=client, **how)

    def mechanism_state(self, mechanism: Mechanism) -> MechanismState:
        """Measure a mechanism."""
        opening, speed, *_ = p.getJointState(mechanism.body, mechanism.joint, physicsClientId=self.client)
        link = p.getLinkState(mechanism.body, mechanism.handle, computeForwardKinematics=1, physicsClientId=self.client)
        motion = p.getMatrixFromQuaternion(link[5])[0::3]
        return MechanismState(np.array(link[4]), np.array(motion), opening, speed)

    def object_state(self, body: int) -> ObjectState:
        """Measure a free body."""
        client = self.client
        return ObjectState(p.getBasePositionAndOrientation(body, client), p.getBaseVelocity(body, client))

    def pose(self, body: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return position (3) and quaternion (x, y, z, w) of a body's base."""
        return p.getBasePositionAndOrientation(body, self.client)

    def velocity(self, body: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return linear (m/s) and angular (rad/s) velocity of a body's base."""
        return p.getBaseVelocity(body, self.client)

    def touching(self, body: int, other: int) -> set[int]:
        """Return the links of `body` that had contact with `other` in the last substep; -1 is its base."""
        return {contact[3] for contact in p.getContactPoints(body, other, physicsClientId=self.client)}

    # -------------------------------------------------------------------------------------------- time

    def step(self, before_substep: Callable[[], None] | None = None) -> None:
        """Advance by one control step."""
        simulate, client, movers = p.stepSimulation, self.client, self.movers
        if not movers and not before_substep:  # most worlds: each substep is spared two questions
            for _ in range(self.substeps):
                simulate(client)
            return
        for _ in range(self.substeps):
            self.time += self.time_step
            for move in movers:
                move(self.time)
            if before_substep:
                before_substep()
            simulate(client)

    def forget_contacts(self, robot: int) -> None:
        """Move every loose body far away, and forget all contacts and all pairs of bodies that were near.

        A reset in place that skips this leaks the history of earlier episodes into the next one: contacts kept by
        Bullet warm-start the solver, and pairs of which it drops but a few in a step decide the order of solving.
        """
        self.time = 0.0
        bodies = (robot, *self._loose)
        for body in bodies:
            self._filter(body, touching=False)
        self._rewind()
        for body in self._loose:
            self.park(body)
        for body in bodies:
            self._filter(body, touching=True)

    def _filter(self, body: int, touching: bool) -> None:
        """Let a body touch others or nothing: its entries in the broad phase are made anew, without any pairs."""
        links = (ROBOT, ~ROBOT) if body == self._robot else (MOVING, -1)
        for link in self.links(body):
            still = link == -1 and body in self._fixed
            group, mask = ((STATIC, ~STATIC) if still else links) if touching else (0, 0)
            p.setCollisionFilterGroupMask(body, link, group, mask, physicsClientId=self.client)

    def _rewind(self) -> None:
        """Bring Bullet's list of pairs to its beginning, while nothing in the world touches anything.

        Bullet drops pairs that have come apart a few at a time, and remembers where in the list it was. When it drops
        the only pair, it begins anew.
        """
        for way in (0.0, 1.0):
            self.place(self._twins[0], (way, 0, TWINS_Z))
            self.detect_collisions()

    @cached_property
    def _twins(self) -> list[int]:
        """Two balls far away that nobody sees and that touch each other alone."""
        ball = p.createCollisionShape(p.GEOM_SPHERE, radius=0.1, physicsClientId=self.client)
        place = (0, 0, TWINS_Z)
        twins = [p.createMultiBody(0, ball, -1, place, physicsClientId=self.client) for _ in TWINS]
        for twin, group, other in zip(twins, TWINS, reversed(TWINS), strict=True):
            p.setCollisionFilterGroupMask(twin, -1, group, other, physicsClientId=self.client)
        return twins

    def detect_collisions(self) -> None:
        """Recompute contacts for bodies that were placed without a step."""
        p.performCollisionDetection(physicsClientId=self.client)

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self.client >= 0 and p.isConnected(self.client):
            p.disconnect(self.client)
        self.client = -1
