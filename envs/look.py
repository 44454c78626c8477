"""How cameras see an episode: the light, and how far they stand from their places. No physics engine needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Look:
    """Light and camera shake that hold for every camera of a world."""

    light_direction: Sequence[float] = (0.6, -0.8, 1.6)
    """(3,) towards the light, of any length."""
    light_intensity: float = 1.0
    """Brightness as a share of the usual one."""
    camera_position: Sequence[float] = (0.0, 0.0, 0.0)
    """(3,) metres that cameras are moved by: to their right, up, backwards."""
    camera_rotation: Sequence[float] = (0.0, 0.0, 0.0)
    """(3,) radians that cameras are turned by about these axes."""

    def light(self) -> dict[str, Any]:
        """Return the light as arguments of PyBullet's `getCameraImage`."""
        return {
            "lightDirection": self.light_direction,
            "lightAmbientCoeff": 0.62 * self.light_intensity,
            "lightDiffuseCoeff": 0.45 * self.light_intensity,
            "lightSpecularCoeff": 0.05 * self.light_intensity,
        }

    def view(self, matrix: Sequence[float]) -> list[float]:
        """Return the view matrix (16, by columns) of a camera that is moved and turned from where `matrix` has it."""
        if not any(self.camera_position) and not any(self.camera_rotation):
            return list(matrix)
        moved = np.eye(4)
        moved[:3, :3] = rotation(self.camera_rotation)
        moved[:3, 3] = self.camera_position
        # A view matrix leads from the world to the camera: the camera's own motion is undone after it.
        return (np.linalg.inv(moved) @ np.reshape(matrix, (4, 4)).T).T.ravel().tolist()


def rotation(vector: Sequence[float]) -> np.ndarray:
    """Return the matrix (3, 3) that turns about a vector by its length in radians (Rodrigues' formula)."""
    angle = float(np.linalg.norm(vector))
    if angle == 0.0:
        return np.eye(3)
    x, y, z = np.asarray(vector) / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
