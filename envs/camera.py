"""Cameras: where they stand, how they draw, a marker for the goal, and what a person sees."""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from armature.envs.bodies import Pose, Vector
from armature.envs.engine import p
from armature.envs.simulation import PARKED, Simulation
from armature.envs.workspaces.base import ViewConfig

WAITING, REACHED = (0.95, 0.75, 0.1, 0.8), (0.2, 0.8, 0.3, 0.8)
"""Colours of the goal before and on success."""
NEAR, FAR = 0.02, 6.0
"""Metres between which a camera sees anything."""


def view_matrix(view: ViewConfig, origin: Vector = (0.0, 0.0, 0.0), turn: np.ndarray | None = None) -> list[float]:
    """Return OpenGL's view matrix of a view in a frame at `origin` that is turned by a rotation matrix (3, 3)."""
    (sin_yaw, cos_yaw), (sin, cos) = ((math.sin(angle), math.cos(angle)) for angle in (view.yaw, view.pitch))
    backward = np.array([sin_yaw * cos, -cos_yaw * cos, -sin])
    up = np.array([sin_yaw * sin, -cos_yaw * sin, cos])
    rotation = np.eye(3) if turn is None else turn
    target = np.array(origin) + rotation @ np.array(view.target)
    eye = target + view.distance * rotation @ backward
    matrix: list[float] = p.computeViewMatrix(eye.tolist(), target.tolist(), (rotation @ up).tolist())
    return matrix


def projection_matrix(view: ViewConfig, width: int, height: int) -> list[float]:
    """Return OpenGL's projection matrix of a view in pictures of so many pixels."""
    matrix: list[float] = p.computeProjectionMatrixFOV(math.degrees(view.fov), width / height, NEAR, FAR)
    return matrix


class Picture(NamedTuple):
    """What a camera sees."""

    colors: np.ndarray
    """(height, width, 3) uint8."""
    depth: np.ndarray
    """(height, width) float32: metres from the plane of the camera, at most `FAR`."""
    bodies: np.ndarray
    """(height, width) int32: ids of bodies; -1 where there is none."""


def shoot(
    simulation: Simulation, view: list[float], projection: list[float], width: int, height: int, shadow: bool
) -> Picture:
    """Draw a picture on the CPU; shadows double what it costs."""
    _, _, colors, depth, bodies = p.getCameraImage(
        width,
        height,
        simulation.look.view(view),
        projection,
        shadow=int(shadow),
        renderer=p.ER_TINY_RENDERER,
        physicsClientId=simulation.client,
        **simulation.look.light(),
    )
    buffer = np.asarray(depth, np.float32).reshape(height, width)
    return Picture(
        np.asarray(colors, np.uint8).reshape(height, width, 4)[..., :3],
        FAR * NEAR / (FAR - (FAR - NEAR) * buffer),
        np.asarray(bodies, np.int32).reshape(height, width),
    )


class Marker:
    """A sphere at the goal, seen but never touched.

    Args:
        simulation: the world it is seen in.
        radius: metres.
        ghost: a URDF that is seen below the sphere, to show an orientation.
    """

    GHOST_SCALE, GHOST_DEPTH = 2.0, 0.08
    """Size of the ghost in sizes of its URDF, and how far below the sphere it is, in metres."""

    def __init__(self, simulation: Simulation, radius: float, ghost: str | None = None) -> None:
        self.simulation = simulation
        self.body = simulation.add_marker(radius, WAITING)
        self.ghost = simulation.load_ghost(ghost, self.GHOST_SCALE) if ghost else None

    def show(self, goal: Pose, color: Vector) -> None:
        """Put it somewhere, in a colour; the ghost is turned as the goal is."""
        self.simulation.place(self.body, goal.position)
        if self.ghost is not None:
            below = np.subtract(goal.position, (0, 0, self.GHOST_DEPTH))
            self.simulation.place(self.ghost, below, goal.quaternion)
        p.changeVisualShape(self.body, -1, rgbaColor=color, physicsClientId=self.simulation.client)

    def hide(self) -> None:
        """Let it not be seen."""
        self.show(PARKED, (0, 0, 0, 0))


class Camera:
    """A fixed camera on the workspace, for people.

    Args:
        simulation: the world to look at; its visuals must be loaded.
        view: where it stands.
        marker: what shows the goal.
        width: pixels.
        height: pixels.
    """

    def __init__(
        self, simulation: Simulation, view: ViewConfig, marker: Marker, width: int = 480, height: int = 360
    ) -> None:
        self.simulation, self.marker, self.width, self.height = simulation, marker, width, height
        self._view, self._projection = view_matrix(view), projection_matrix(view, width, height)
        self._next_frame = time.monotonic()
        if simulation.gui:
            yaw, pitch = math.degrees(view.yaw), math.degrees(view.pitch)
            p.resetDebugVisualizerCamera(view.distance, yaw, pitch, view.target, physicsClientId=simulation.client)

    def show_goal(self, goal: Pose, success: bool) -> None:
        """Move the marker to the goal and colour it by success."""
        self.marker.show(goal, REACHED if success else WAITING)

    def picture(self) -> np.ndarray:
        """Return what the camera sees, uint8 of shape (height, width, 3), drawn on the CPU."""
        return shoot(self.simulation, self._view, self._projection, self.width, self.height, shadow=True).colors

    def wait_for_real_time(self) -> None:
        """Sleep until the next control step is due, so that the window shows real time."""
        self._next_frame = max(self._next_frame + self.simulation.control_period, time.monotonic())
        time.sleep(max(0.0, self._next_frame - time.monotonic()))
