"""Switch: push a lever over to the other side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from armature.envs.tasks.base import Layout, parameter
from armature.envs.tasks.mechanism import MechanismTask


@dataclass
class Switch(MechanismTask):
    """Push a lever over to the other side, where it stays.

    ## Goal
    A lever of 10 cm stands in a square of `area` metres, turned by any angle, and leans to one side by `lean`; the goal
    is where its handle is when it leans to the other side by an angle drawn uniformly between half of `lean` and all
    of it.

    ## Success
    The handle is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 2 | how close the end effector is to where the handle is pushed; 1 on success |
    | `goal` | 4 | 1 - tanh(distance from handle to goal / 0.06 m) |
    | `success` | 4 | 1 on success |

    How close: mean of 1 - tanh(distance / scale) for the scales 0.2 m and 0.05 m.

    ## Version
    1
    """

    success_distance: float = parameter(0.02, "Metres between handle and goal that count as success.")
    lean: float = parameter(0.5, "Radians; how far the lever leans at the start and, at most, at the goal; up to 0.5.")

    model = "lever.urdf"
    resistance = 0.15
    largest = {"lean": 0.5}
    thickness = 0.015
    way = 0.06

    AXIS: ClassVar[float] = 0.04
    """Height of the lever's axis in metres."""
    LENGTH: ClassVar[float] = 0.1
    """Metres from the axis to the handle."""

    @classmethod
    def handle_at(cls, opening: float) -> tuple[float, float, float]:
        """Return the middle of the bar across the lever's end."""
        return cls.LENGTH * math.sin(opening), 0.0, cls.AXIS + cls.LENGTH * math.cos(opening)

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw place, yaw and the goal's angle."""
        place, yaw = self.draw_place(rng), rng.uniform(-np.pi, np.pi)
        return self.layout(place, yaw, -self.lean, rng.uniform(self.lean / 2, self.lean))

    def ahead(self, achieved: np.ndarray, desired: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Return level directions: fingers that point down push a leaning lever from the side."""
        directions = super().ahead(achieved, desired, motion) * (1.0, 1.0, 0.0)
        return directions / np.sqrt(np.einsum("ij,ij->i", directions, directions))[:, None]
