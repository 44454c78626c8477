"""Slide: strike a puck so that it comes to rest beyond the reach of the hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from armature.envs.bodies import Pose
from armature.envs.rewards import Facts, tracking
from armature.envs.tasks.base import Bodies, Layout, Task, Waypoint, parameter

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


@dataclass
class Slide(Task):
    """Strike a puck on a slippery board so that it slides to a place that the hand cannot reach.

    The board lies on the table and reaches far beyond it. The puck is slowed down by friction alone.

    ## Goal
    The puck is drawn uniformly from a square of `area` metres in front of the robot, the goal from a square of
    `goal_area` metres around a point `goal_distance` metres further away from the robot.

    ## Success
    The puck's centre is within `success_distance` of the goal. An episode is long enough for pucks to come to rest.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `behind` | 1 | 1 - tanh(distance from end effector to the place from which to strike / 0.2 m) |
    | `goal` | 6 | mean of 1 - tanh(distance / scale) for the scales 0.4 m and 0.1 m, from the goal to where the puck would come to rest by itself |
    | `success` | 3 | 1 on success |

    ## Version
    1
    """  # noqa: E501 - a row of a table

    success_distance: float = parameter(0.05, "Metres between puck and goal that count as success.")
    puck_radius: float = parameter(0.03, "Metres.")
    puck_height: float = parameter(0.03, "Metres.")
    puck_mass: float = parameter(0.2, "Kilograms.")
    friction: float = parameter(0.02, "Lateral friction between puck and board.")
    area: float = parameter(0.15, "Metres; edge of the square in which the puck starts.")
    goal_area: float = parameter(0.2, "Metres; edge of the square that goals are drawn from.")
    goal_distance: float = parameter(0.43, "Metres from the middle of the pucks' square to that of the goals.")

    BOARD: ClassVar[tuple[float, float, float]] = (1.3, 0.7, 0.01)
    """Length, width and height of the board in metres."""
    BOARD_START: ClassVar[float] = -0.35
    """Where the board begins on the side of the robot, in metres."""
    START: ClassVar[float] = -0.05
    """Where the middle of the pucks' square is, in metres."""

    STROKE_TIME: ClassVar[float] = 0.06
    """Metres that a stroke's target lies ahead for each metre per second that the puck shall have (measured)."""

    LAST_STROKE: ClassVar[float] = 0.2
    """Where the expert stops striking, in metres: further away hands are at the border of their workspace."""

    NOOK_AIM: ClassVar[float] = 0.57
    """Share of the sideways motion that the expert strikes with: the finger on that side throws the puck outwards."""

    horizon = 70
    parts = (
        "ee_position",
        "ee_velocity",
        "lag",
        "object_position",
        "object_velocity",
        "ee_to_object",
    )
    reward_terms = {"behind": 1.0, "goal": 6.0, "success": 3.0}

    def build(self, simulation: Simulation) -> Bodies:
        """Add board and puck."""
        length, width, height = self.BOARD
        simulation.add_box(
            (length / 2, width / 2, height / 2),
            (self.BOARD_START + length / 2, 0, height / 2),
            color=(0.80, 0.88, 0.93, 1),
            lateral_friction=self.friction,
        )
        puck = simulation.add_cylinder(
            self.puck_radius,
            self.puck_height,
            (0, 0, self._height),
            self.puck_mass,
            color=(0.92, 0.35, 0.22, 1),
            lateral_friction=1.0,  # with the board this makes `friction`, and fingers can push in any direction
        )
        return Bodies([puck])

    @property
    def _height(self) -> float:
        """Height of the puck's centre on the board, in metres."""
        return self.BOARD[2] + self.puck_height / 2

    @property
    def start_width(self) -> float:
        """Fingers stand as far apart as makes them a nook for the puck, in metres."""
        return min(1.2 * self.puck_radius, self.hand.max_width)

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw puck and goal."""
        x, y = rng.uniform(-self.area / 2, self.area / 2, 2)
        away, aside = rng.uniform(-self.goal_area / 2, self.goal_area / 2, 2)
        goal = np.array([self.START + self.goal_distance + away, aside, self._height])
        return Layout(goal, [Pose((self.START + x, y, self._height))])

    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return the puck's position."""
        return now.objects[0].position

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres and how far (3,) the puck would slide on by itself."""
        return {"ee_position": now.robot.ee_position, "slide": self.slide(now.objects[0].velocity)}

    def slide(self, velocity: np.ndarray) -> np.ndarray:
        """Return how far a puck slides (3,) in metres until friction has stopped it: v^2 / (2 friction g)."""
        flat = velocity * (1, 1, 0)
        return flat * np.linalg.norm(flat) / (2 * max(self.friction, 1e-3) * 9.81)

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return tracking of the place to strike from, and of the goal by the place where the puck will rest."""
        left = self.distance(achieved + facts["slide"], desired)
        return {
            "behind": tracking(self.distance(facts["ee_position"], self.behind(achieved, desired)), 0.2),
            "goal": (tracking(left, 0.4) + tracking(left, 0.1)) / 2,
        }

    def behind(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the points (n, 3) beside the puck from which fingers strike it towards the goal."""
        away = (achieved - desired) / np.maximum(self.distance(achieved, desired), 1e-3)[:, None]
        return achieved + (self.puck_radius + self.hand.radius) * away

    def expert(self, now: Snapshot) -> Waypoint:
        """Go behind the puck, come down, push it faster and faster, and stop when it will slide far enough."""
        puck, ee = now.objects[0], now.robot.ee_position
        width, height = self.start_width, self._height
        to_goal = now.goal[:2] - puck.position[:2]
        left = float(np.linalg.norm(to_goal))
        direction = to_goal / max(left, 1e-6)
        speed = float(np.sqrt(2 * self.friction * 9.81 * left))
        moving = float(puck.velocity[:2] @ direction)
        if moving > 0.9 * speed or puck.position[0] > self.LAST_STROKE:
            return Waypoint(ee, width)
        # Two fingers hold a round puck between them, from straight behind; a rod has to stand right behind it.
        nook = np.sqrt(self.puck_radius**2 - width**2 / 4) + self.hand.radius
        away = np.array([-1.0, 0.0]) if width else -direction
        touch = puck.position[:2] + nook * away
        gap = touch - ee[:2]
        beside = abs(gap[0] * away[1] - gap[1] * away[0])
        if beside < 0.012 and gap @ away < 0.06 and ee[2] < height + 0.02:
            if gap @ direction < 0.005:
                gap = gap + self.STROKE_TIME * speed * direction * ((1.0, self.NOOK_AIM) if width else 1.0)
            return Waypoint(np.array([*(ee[:2] + gap), height]), width)
        start = touch + 0.03 * away
        if float(np.linalg.norm(ee[:2] - start)) < 0.01:
            return Waypoint(np.array([*start, height]), width)
        return Waypoint(np.array([*start, height + 0.06]), width)
