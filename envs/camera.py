"""What a person sees: the camera, the light, and a marker for the goal."""

from __future__ import annotations

import math
import time

import numpy as np

from armature.envs.bodies import UPRIGHT
from armature.envs.engine import p
from armature.envs.simulation import Simulation, Vector
from armature.envs.workspaces.base import ViewConfig

WAITING, REACHED = (0.95, 0.75, 0.1, 0.8), (0.2, 0.8, 0.3, 0.8)
"""Colours of the goal before and on success."""


class Camera:
    """A fixed camera on the workspace, with a marker at the goal.

    Args:
        simulation: the world to look at; its visuals must be loaded.
        view: where it stands.
        goal_radius: radius of the marker in metres.
        ghost: a URDF that is shown below the marker.
        width: pixels.
        height: pixels.
    """

    GHOST_SCALE, GHOST_DEPTH = 2.0, 0.08
    """Size of the ghost in sizes of its URDF, and how far below the marker it is, in metres."""

    def __init__(
        self,
        simulation: Simulation,
        view: ViewConfig,
        goal_radius: float,
        ghost: str | None = None,
        width: int = 480,
        height: int = 360,
    ) -> None:
        self.simulation, self.width, self.height = simulation, width, height
        self.marker = simulation.add_marker(goal_radius, WAITING)
        self.ghost = simulation.load_ghost(ghost, self.GHOST_SCALE) if ghost else None
        target, distance, yaw, pitch = view.target, view.distance, math.degrees(view.yaw), math.degrees(view.pitch)
        self._view = p.computeViewMatrixFromYawPitchRoll(target, distance, yaw, pitch, 0, 2)
        self._projection = p.computeProjectionMatrixFOV(math.degrees(view.fov), width / height, 0.05, 6)
        self._next_frame = time.monotonic()
        if simulation.gui:
            p.resetDebugVisualizerCamera(distance, yaw, pitch, target, physicsClientId=simulation.client)

    def show_goal(self, goal: Vector, success: bool, turn: Vector = UPRIGHT) -> None:
        """Move the marker to the goal and colour it by success; turn the ghost."""
        self.simulation.place(self.marker, goal)
        if self.ghost is not None:
            self.simulation.place(self.ghost, np.subtract(goal, (0, 0, self.GHOST_DEPTH)), turn)
        color = REACHED if success else WAITING
        p.changeVisualShape(self.marker, -1, rgbaColor=color, physicsClientId=self.simulation.client)

    def picture(self) -> np.ndarray:
        """Return what the camera sees, uint8 of shape (height, width, 3), drawn on the CPU."""
        image = p.getCameraImage(
            self.width,
            self.height,
            self.simulation.look.view(self._view),
            self._projection,
            shadow=1,
            renderer=p.ER_TINY_RENDERER,
            physicsClientId=self.simulation.client,
            **self.simulation.look.light(),
        )
        return np.asarray(image[2], dtype=np.uint8).reshape(self.height, self.width, 4)[..., :3]

    def wait_for_real_time(self) -> None:
        """Sleep until the next control step is due, so that the window shows real time."""
        self._next_frame = max(self._next_frame + self.simulation.control_period, time.monotonic())
        time.sleep(max(0.0, self._next_frame - time.monotonic()))
