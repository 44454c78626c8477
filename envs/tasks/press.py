"""Press: push a button down to a depth and hold it there against its spring."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from armature.envs.tasks.base import Layout, parameter
from armature.envs.tasks.mechanism import MechanismTask


@dataclass
class Press(MechanismTask):
    """Push a button down to a depth and hold it there: a spring of 2 N pushes it back.

    ## Goal
    A button stands upright in a square of `area` metres; the goal is where the middle of its top is when it is pressed
    by a depth drawn uniformly between half of `depth` and all of it.

    ## Success
    The middle of its top is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 2 | how close the end effector is to just above the button; 1 on success |
    | `goal` | 4 | 1 - tanh(distance from the button's top to the goal / 0.02 m) |
    | `success` | 4 | 1 on success |

    How close: mean of 1 - tanh(distance / scale) for the scales 0.2 m and 0.05 m.

    ## Version
    1
    """

    success_distance: float = parameter(0.008, "Metres between the button's top and the goal that count as success.")
    depth: float = parameter(0.04, "Metres; the deepest goal, at most 0.04.")

    model = "button.urdf"
    resistance = 2.0
    returns_to = 0.0
    largest = {"depth": 0.04}
    thickness = 0.0
    way = 0.02
    aside = (0.045, -0.035, 0.0)  # its height, in front of the button

    TOP: ClassVar[float] = 0.065
    """Height of the button's top in metres, not pressed."""

    @classmethod
    def handle_at(cls, opening: float) -> tuple[float, float, float]:
        """Return the middle of the button's top."""
        return 0.0, 0.0, cls.TOP - opening

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw place and depth."""
        return self.layout(self.draw_place(rng), 0.0, 0.0, rng.uniform(self.depth / 2, self.depth))

    def ahead(self, achieved: np.ndarray, desired: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Return down, always: the spring does the rest."""
        return motion
