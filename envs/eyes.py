"""Cameras whose pictures an agent observes. Coordinates and units: docs/environments.md."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from armature.cameras import CameraConfig
from armature.envs.bodies import Pose
from armature.envs.camera import WAITING, Marker, Picture, projection_matrix, shoot, view_matrix
from armature.envs.engine import p
from armature.envs.observations import Snapshot
from armature.envs.robots.base import Robot
from armature.envs.simulation import Simulation
from armature.envs.workspaces.base import ViewConfig

OVERVIEW = ViewConfig(target=[0.0, 0.0, 0.1], distance=0.9, yaw=1.05, pitch=-0.61, fov=0.84)
"""Where a camera in the world stands, unless its configuration says otherwise."""
ON_HAND = ViewConfig(target=[0.0, 0.0, -0.03], distance=0.18, yaw=1.57, pitch=-0.7, fov=1.22)
"""Where a camera on the hand sits."""
DEPTH = {None: (0.3, 2.0), "ee": (0.0, 0.5)}
"""Metres that stand for 0 and 255 in a picture of depths, by what the camera is attached to."""


class Scene(NamedTuple):
    """What cameras look at."""

    simulation: Simulation
    robot: Robot
    things: Callable[[], Sequence[int]]
    """Returns the ids of the objects, then those of the mechanisms."""
    marker: Marker
    marker_at: Callable[[np.ndarray], Pose]
    """Returns where the marker of a goal stands, and how it is turned."""


class Eye:
    """A camera of an observation.

    Args:
        config: its kinds of pictures, its size and where it stands.
        scene: what it looks at; visuals must be loaded.
        marked: whether colours show the marker of the goal. It is in no other picture: a wish has no depth.
    """

    def __init__(self, config: CameraConfig, scene: Scene, marked: bool) -> None:
        self.config, self.scene, self.marked = config, scene, marked
        base = OVERVIEW if config.attached is None else ON_HAND
        own = config.model_dump(include=set(ViewConfig.model_fields), exclude_none=True)
        self.view = base.model_copy(update=own)
        self.depth = config.depth_range or DEPTH[config.attached]
        self._fixed = view_matrix(self.view)
        self._projection = projection_matrix(self.view, config.width, config.height)
        self._turned_at_rest = _rotation(scene.robot.description.ee_quaternion)
        self._rays = self._directions()

    def look(self, now: Snapshot) -> dict[str, np.ndarray]:
        """Return the pictures by name: (height, width, channels) uint8, and the points of a cloud, (n, 3) float32."""
        view, layers = self._matrix(now), {}
        colored = None
        if "rgb" in self.config.kinds:
            colored = self._shoot(view, now.goal if self.marked else None)
            layers["rgb"] = colored.colors
        if set(self.config.kinds) != {"rgb"}:
            plain = self._shoot(view, None) if self.marked or colored is None else colored
            layers |= {"depth": self._levels(plain), "segmentation": self._ids(plain)}
        pictures = {}
        if image := [layers[kind] for kind in self.config.kinds if kind != "point_cloud"]:
            pictures[self.config.name] = np.dstack(image)
        if "point_cloud" in self.config.kinds:
            pictures[self.config.cloud_name] = self._points(plain, view)
        return pictures

    def _matrix(self, now: Snapshot) -> list[float]:
        if self.config.attached is None:
            return self._fixed
        turn = _rotation(now.robot.ee_quaternion) @ self._turned_at_rest.T
        return view_matrix(self.view, now.robot.ee_point, turn)

    def _shoot(self, view: list[float], goal: np.ndarray | None) -> Picture:
        if goal is None:
            self.scene.marker.hide()
        else:
            self.scene.marker.show(self.scene.marker_at(goal), WAITING)
        size = self.config.width, self.config.height
        return shoot(self.scene.simulation, view, self._projection, *size, shadow=False)

    def _levels(self, picture: Picture) -> np.ndarray:
        """Return depths as uint8: 0 at the near end of the range or before it, 255 at the far end or behind it."""
        near, far = self.depth
        return np.rint(np.clip((picture.depth - near) / (far - near), 0, 1) * 255).astype(np.uint8)

    def _ids(self, picture: Picture) -> np.ndarray:
        """Return as uint8 what each pixel shows: 0 background, 1 robot, 2 the first object and so on."""
        things = [self.scene.robot.body, *self.scene.things()]
        ids = np.zeros(max(picture.bodies.max(), *things) + 2, np.uint8)  # the last one is that of body -1, nothing
        ids[things] = range(1, len(things) + 1)
        return ids[picture.bodies]

    def _points(self, picture: Picture, view: list[float]) -> np.ndarray:
        """Return points (n, 3) of what is within range, in metres in the world: pixels at even intervals."""
        depth = picture.depth.ravel()
        seen = np.flatnonzero(depth < self.depth[1])
        if not seen.size:
            return np.zeros((self.config.points, 3), np.float32)
        chosen = seen[np.linspace(0, seen.size - 1, self.config.points).round().astype(int)]
        matrix = np.reshape(view, (4, 4))  # OpenGL writes columns: this is the transposed matrix
        points = self._rays[chosen] * depth[chosen, None] - matrix[3, :3]
        return (points @ matrix[:3, :3].T).astype(np.float32)

    def _directions(self) -> np.ndarray:
        """Return for each pixel (height * width, 3) the point at a depth of 1 m, in the camera's frame."""
        width, height = self.config.width, self.config.height
        half = math.tan(self.view.fov / 2)
        # TinyRenderer looks through the lower left corners of pixels, not their centres (measured).
        x = (np.arange(width) - width / 2) * 2 * half / height
        y = (height / 2 - np.arange(height) - 1) * 2 * half / height
        return np.stack([*np.meshgrid(x, y), -np.ones((height, width))], axis=-1).reshape(-1, 3)


def _rotation(quaternion: Sequence[float]) -> np.ndarray:
    """Return the rotation matrix (3, 3) of a quaternion x, y, z, w."""
    return np.reshape(p.getMatrixFromQuaternion(quaternion), (3, 3))
