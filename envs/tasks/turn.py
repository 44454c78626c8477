"""Turn: push the pointer of a knob round to an angle."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from armature.envs.tasks.base import Layout, parameter
from armature.envs.tasks.mechanism import MechanismTask


@dataclass
class Turn(MechanismTask):
    """Push the pointer of a knob round by an angle, to one side or the other; it stays where it is left.

    ## Goal
    A knob stands in a square of `area` metres, its pointer within `turned` of pointing away from the robot; the goal is
    where the pointer's handle, 9 cm from the axis, is after a turn to the left or to the right by an angle drawn
    uniformly between a quarter of `angle` and all of it.

    ## Success
    The handle is within `success_distance` of the goal; the default means 0.15 rad.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 2 | how close the end effector is to where the pointer is pushed; 1 on success |
    | `goal` | 4 | 1 - tanh(distance from handle to goal / 0.07 m) |
    | `success` | 4 | 1 on success |

    How close: mean of 1 - tanh(distance / scale) for the scales 0.2 m and 0.05 m.

    ## Version
    1
    """

    success_distance: float = parameter(0.0135, "Metres between handle and goal that count as success.")
    # With pointers in any direction learners find it hard to tell left from right, and the right side to push from.
    turned: float = parameter(0.7, "Radians; the pointer starts within this angle of pointing away from the robot.")
    angle: float = parameter(1.6, "Radians; the largest turn, at most 2.5.")

    model = "knob.urdf"
    resistance = 0.15
    largest = {"angle": 2.5}
    thickness = 0.01
    way = 0.07
    aside = (0.0, 0.0, 0.035)  # above the pointer

    RADIUS: ClassVar[float] = 0.09
    """Metres from the axis to the handle."""
    HEIGHT: ClassVar[float] = 0.05
    """Height of the handle in metres."""

    @classmethod
    def handle_at(cls, opening: float) -> tuple[float, float, float]:
        """Return the place in the pointer where it is pushed."""
        return cls.RADIUS * math.cos(opening), cls.RADIUS * math.sin(opening), cls.HEIGHT

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw place, the pointer's direction, and a turn to the left or to the right."""
        place, yaw = self.draw_place(rng), rng.uniform(-self.turned, self.turned)
        turn = rng.uniform(self.angle / 4, self.angle)
        return self.layout(place, yaw, 0.0, turn if rng.random() < 0.5 else -turn)
