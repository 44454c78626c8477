"""One PyBullet world with human names for what it does: bodies, time, contacts.

Every call passes the client's id: PyBullet's default is client 0, so a forgotten id works with one environment and
corrupts another with two. Time advances by calling `stepSimulation` as often as there are substeps, never by
`numSubSteps`, which makes force-limited motors stronger.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from armature.envs.bodies import UPRIGHT, Mechanism, MechanismState, Pose, Vector
from armature.envs.engine import p, pybullet_data
from armature.errors import ArmatureError

PARKING_Z = -10.0
"""Height far under the floor where bodies wait while a reset empties the contact cache, in metres."""


class Simulation:
    """A physics client: bodies, time, contacts, pictures.

    Args:
        time_step: length of one substep in seconds.
        substeps: substeps of one control step; `control_period` is their product in seconds.
        solver_iterations: upper limit of the contact solver's iterations in a substep.
        solver_residual: the solver stops early below this residual.
        gui: open PyBullet's window; raises `ArmatureError` if there is no display.
        visuals: load the robots' visual meshes, needed only for pictures.
    """

    def __init__(
        self,
        *,
        time_step: float = 1 / 200,
        substeps: int = 10,
        solver_iterations: int = 10,
        solver_residual: float = 1e-4,
        gui: bool = False,
        visuals: bool = False,
    ) -> None:
        if gui:
            check_display()
        self.gui = gui
        self.visuals = visuals or gui
        self.substeps = substeps
        self.control_period = time_step * substeps
        self.client = p.connect(p.GUI if gui else p.DIRECT)
        self._loose: list[int] = []
        """Bodies that are moved out of the way while a reset empties the contact cache."""
        p.setAdditionalSearchPath(pybullet_data.getDataPath(), physicsClientId=self.client)
        p.setGravity(0, 0, -9.81, physicsClientId=self.client)
        p.setPhysicsEngineParameter(
            fixedTimeStep=time_step,
            numSolverIterations=solver_iterations,
            solverResidualThreshold=solver_residual,
            deterministicOverlappingPairs=1,
            physicsClientId=self.client,
        )
        if gui:
            p.configureDebugVisualizer(p.COV_ENABLE_GUI, 0, physicsClientId=self.client)

    # -------------------------------------------------------------------------------------------- building

    def load_urdf(self, path: str, position: Vector, quaternion: Vector = UPRIGHT, fixed: bool = True) -> int:
        """Load a URDF from a path or from PyBullet's data folder; return the body's id."""
        flags = 0 if self.visuals else p.URDF_IGNORE_VISUAL_SHAPES
        return p.loadURDF(path, position, quaternion, useFixedBase=fixed, flags=flags, physicsClientId=self.client)

    def add_box(
        self,
        half_extents: Vector,
        position: Vector,
        mass: float = 0.0,
        color: Vector = (0.5, 0.5, 0.5, 1.0),
        lateral_friction: float = 0.5,
        spinning_friction: float = 0.0,
    ) -> int:
        """Add a box (metres, kilograms; mass 0 is a fixed body); return its id."""
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half_extents, physicsClientId=self.client)
        visual = -1
        if self.visuals:
            visual = p.createVisualShape(
                p.GEOM_BOX, halfExtents=half_extents, rgbaColor=color, physicsClientId=self.client
            )
        body = p.createMultiBody(mass, shape, visual, position, physicsClientId=self.client)
        # A sleeping body's state is not restored, and waking depends on history.
        p.changeDynamics(
            body,
            -1,
            lateralFriction=lateral_friction,
            spinningFriction=spinning_friction,
            activationState=p.ACTIVATION_STATE_DISABLE_SLEEPING,
            physicsClientId=self.client,
        )
        if mass > 0:
            self._loose.append(body)
        return body

    def add_mechanism(
        self, path: str, joint: str, handle: str, resistance: float, returns_to: float | None = None
    ) -> Mechanism:
        """Load a URDF with one joint that hands move; `joint` and `handle` (a link) are names in it."""
        body = self.load_urdf(path, (0, 0, PARKING_Z))
        self._loose.append(body)
        joints, links = {}, {}
        for index in range(p.getNumJoints(body, physicsClientId=self.client)):
            info = p.getJointInfo(body, index, physicsClientId=self.client)
            joints[info[1].decode()], links[info[12].decode()] = index, index
        return Mechanism(body, joints[joint], links[handle], resistance, returns_to)

    def add_marker(self, radius: float, color: Vector) -> int:
        """Add a sphere that is seen but never touched; return its id."""
        visual = p.createVisualShape(p.GEOM_SPHERE, radius=radius, rgbaColor=color, physicsClientId=self.client)
        return p.createMultiBody(0, -1, visual, (0, 0, PARKING_Z), physicsClientId=self.client)

    # -------------------------------------------------------------------------------------------- bodies

    def place(self, body: int, position: Vector, quaternion: Vector = UPRIGHT) -> None:
        """Put a body somewhere, at rest."""
        p.resetBasePositionAndOrientation(body, position, quaternion, physicsClientId=self.client)
        p.resetBaseVelocity(body, (0, 0, 0), (0, 0, 0), physicsClientId=self.client)

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
        return MechanismState(np.array(link[4]), opening, speed)

    def pose(self, body: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return position (3) and quaternion (x, y, z, w) of a body's base."""
        return p.getBasePositionAndOrientation(body, physicsClientId=self.client)

    def velocity(self, body: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return linear (m/s) and angular (rad/s) velocity of a body's base."""
        return p.getBaseVelocity(body, physicsClientId=self.client)

    def touching(self, body: int, other: int) -> set[int]:
        """Return the links of `body` that had contact with `other` in the last substep; -1 is its base."""
        return {contact[3] for contact in p.getContactPoints(body, other, physicsClientId=self.client)}

    # -------------------------------------------------------------------------------------------- time

    def step(self) -> None:
        """Advance by one control step."""
        for _ in range(self.substeps):
            p.stepSimulation(physicsClientId=self.client)

    def forget_contacts(self) -> None:
        """Move every loose body far away and detect collisions: this empties the contact cache.

        A reset in place that skips this leaks the history of earlier episodes into the next one: contacts kept by
        Bullet warm-start the solver.
        """
        for index, body in enumerate(self._loose):
            self.place(body, (index, 0, PARKING_Z))
        self.detect_collisions()

    def detect_collisions(self) -> None:
        """Recompute contacts for bodies that were placed without a step."""
        p.performCollisionDetection(physicsClientId=self.client)

    def close(self) -> None:
        """Disconnect; a second call does nothing."""
        if self.client >= 0 and p.isConnected(self.client):
            p.disconnect(self.client)
        self.client = -1


def check_display() -> None:
    """Raise `ArmatureError` unless a window can be opened: without a display PyBullet ends the whole process.

    The answer is found by a child process that opens a window and closes it, since nothing else tells for sure.
    """
    remedy = "Run without --gui (record a video instead with --record FILE.mp4), or under a virtual display (xvfb-run)."
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise ArmatureError(f"cannot open a window: the environment variable DISPLAY is not set. {remedy}")
    probe = "import pybullet as p; p.disconnect(p.connect(p.GUI))"
    try:
        subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=60, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        display = os.environ.get("DISPLAY", "")
        raise ArmatureError(f"cannot open a window on display {display!r}. {remedy}") from None
