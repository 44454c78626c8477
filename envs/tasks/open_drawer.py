"""Open drawer: hook a drawer's handle from behind and pull it open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from armature.envs.tasks.base import Layout, parameter
from armature.envs.tasks.mechanism import MechanismTask


@dataclass
class OpenDrawer(MechanismTask):
    """Hook the handle of a drawer from behind, between the bar and the drawer's front, and pull it open.

    ## Goal
    A cabinet faces the robot, turned by up to `turned`, its handle in a square of `area` metres; the goal is where the
    handle is when the drawer is open by a way drawn uniformly between half of `opening` and all of it.

    ## Success
    The handle is within `success_distance` of the goal.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `reach` | 2 | how close the end effector is to behind the handle; 1 on success |
    | `goal` | 4 | 1 - tanh(distance from handle to goal / 0.06 m) |
    | `success` | 4 | 1 on success |

    How close: mean of 1 - tanh(distance / scale) for the scales 0.2 m and 0.05 m.

    ## Version
    1
    """

    success_distance: float = parameter(0.02, "Metres between handle and goal that count as success.")
    area: float = parameter(0.08, "Metres; edge of the square on the table in which the closed handle is drawn.")
    turned: float = parameter(0.4, "Radians; the cabinet is turned by up to this angle from facing the robot.")
    opening: float = parameter(0.12, "Metres; the widest goal, at most 0.15.")

    model = "drawer.urdf"
    resistance = 2.0
    largest = {"opening": 0.15}
    thickness = 0.0075
    way = 0.06

    HEIGHT: ClassVar[float] = 0.055
    """Height of the handle in metres."""

    @classmethod
    def handle_at(cls, opening: float) -> tuple[float, float, float]:
        """Return the middle of the bar."""
        return opening, 0.0, cls.HEIGHT

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw place, yaw and how far to open."""
        place, yaw = self.draw_place(rng), np.pi + rng.uniform(-self.turned, self.turned)
        return self.layout(place, yaw, 0.0, rng.uniform(self.opening / 2, self.opening))
