"""Slide: strike a puck so that it comes to rest beyond the reach of the hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from armature.envs import objects
from armature.envs.bodies import Pose, Vector
from armature.envs.objects import Extent
from armature.envs.rewards import Facts, tracking
from armature.envs.tasks.base import Bodies, Layout, Task, Waypoint, parameter
from armature.scene import ObjectConfig

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


@dataclass
class Slide(Task):
    """Strike a puck on a slippery board so that it slides to a place that the hand cannot reach.

    The board lies on the table and reaches far beyond it. The puck is slowed down by friction alone.

    ## Goal
    The puck is drawn from 10 cm by 15 cm in front of the robot, the goal from 20 cm by 20 cm beyond its workspace;
    `task_objects` can say otherwise.

    ## Success
    The puck's centre is within `success_distance` of the goal. An episode is long enough for pucks to come to rest.

    ## Reward terms
    | term | weight | in [0, 1] |
    | --- | --- | --- |
    | `behind` | 1 | 1 - tanh(distance from end effector to the place from which to strike / 0.2 m) |
    | `goal` | 6 | mean of 1 - tanh(distance / scale) for the scales 0.4 m and 0.05 m, from the goal to where the puck would come to rest by itself |
    | `success` | 3 | 1 on success |

    ## Version
    2
    """  # noqa: E501 - a row of a table

    success_distance: float = parameter(0.05, "Metres between puck and goal that count as success.")
    friction: float = parameter(0.02, "Lateral friction of the board; that of puck and board is the product of both.")

    puck: Extent = field(init=False, repr=False)
    """How much room the puck takes; set by `build`."""

    BOARD: ClassVar[tuple[float, float, float]] = (1.3, 0.7, 0.01)
    """Length, width and height of the board in metres."""
    BOARD_START: ClassVar[float] = -0.35
    """Where the board begins on the side of the robot, in metres."""
    STROKE_TIME: ClassVar[float] = 0.062
    """Metres that a stroke's target lies ahead for each metre per second that the puck shall have (measured)."""

    LAST_STROKE: ClassVar[float] = 0.2
    """Where the expert stops striking, in metres: further away hands are at the border of their workspace."""

    NOOK_AIM: ClassVar[float] = 0.57
    """Share of the sideways motion that the expert strikes with: the finger on that side throws the puck outwards."""

    DAMPING: ClassVar[float] = 0.04
    """Share of their speed that Bullet takes from bodies in a second, besides friction."""

    version = 2
    horizon = 70
    parts = (
        "ee_position",
        "ee_velocity",
        "lag",
        "object_position",
        "object_velocity",
        "ee_to_object",
    )
    own_objects = (
        ObjectConfig(
            kind="cylinder",
            size=[0.06, 0.03],
            mass=0.2,
            color=[0.92, 0.35, 0.22],
            area=[-0.05, 0.05, -0.075, 0.075],
            goal_area=[0.28, 0.48, -0.1, 0.1],
        ),
    )
    reward_terms = {"behind": 1.0, "goal": 6.0, "success": 3.0}

    def build(self, simulation: Simulation) -> Bodies:
        """Add board and puck."""
        length, _, height = self.BOARD
        middle = (self.BOARD_START + length / 2, 0, height / 2)
        board = simulation.add_shape("box", self.BOARD, color=(0.80, 0.88, 0.93, 1), position=middle)
        simulation.set_friction(board, self.friction, 0.0, 0.0)
        self.puck = objects.extent(self.objects[0])
        return Bodies([objects.add(simulation, self.objects[0])])

    @property
    def _height(self) -> float:
        """Height of the puck's centre on the board, in metres."""
        return self.BOARD[2] + self.puck.low

    @property
    def start_width(self) -> float:
        """Fingers stand as far apart as makes them a nook for the puck, in metres."""
        return min(1.2 * self.puck.radius, self.hand.max_width)

    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw puck and goal."""
        puck, goal = (objects.draw_in(area, rng) for area in (self.objects[0].area, self.objects[0].goal_area))
        rest = np.array([0, 0, self._height])
        return Layout(goal + rest, [Pose(puck + rest)], clear=[self.puck.at(goal + rest)])

    def achieved_goal(self, now: Snapshot) -> Vector:
        """Return the puck's position."""
        return now.objects[0].point

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres and how far (3,) the puck would slide on by itself."""
        return {"ee_position": now.robot.ee_position, "slide": self.slide(now.objects[0].velocity)}

    def slide(self, velocity: np.ndarray) -> np.ndarray:
        """Return how far a puck slides (3,) in metres until friction and the engine's damping have stopped it.

        With dv/dt = -a - c v it slides (v - a / c log(1 + c v / a)) / c.
        """
        flat = velocity * (1, 1, 0)
        speed = max(float(np.linalg.norm(flat)), 1e-9)
        slowing = max(self.friction, 1e-3) * 9.81 / self.DAMPING
        return flat / speed * (speed - slowing * np.log1p(speed / slowing)) / self.DAMPING

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return tracking of the place to strike from, and of the goal by the place where the puck will rest."""
        left = self.distance(achieved + facts["slide"], desired)
        return {
            "behind": tracking(self.distance(facts["ee_position"], self.behind(achieved, desired)), 0.2),
            "goal": (tracking(left, 0.4) + tracking(left, 0.05)) / 2,
        }

    def behind(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the points (n, 3) beside the puck from which fingers strike it towards the goal."""
        away = (achieved - desired) / np.maximum(self.distance(achieved, desired), 1e-3)[:, None]
        return achieved + (self.puck.radius + self.hand.radius) * away

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
        nook = np.sqrt(self.puck.radius**2 - width**2 / 4) + self.hand.radius
        away = np.array([-1.0, 0.0]) if width else -direction
        touch = puck.position[:2] + nook * away
        gap = touch - ee[:2]
        beside = abs(gap[0] * away[1] - gap[1] * away[0])
        if beside < 0.012 and gap @ away < 0.06 and ee[2] < height + 0.02:
            if gap @ direction < (0.003 if moving < 0.05 else 0.02):
                aim = direction * ((1.0, self.NOOK_AIM) if width else 1.0)
                gap = gap * (moving < 0.05) + self.STROKE_TIME * speed * aim
            return Waypoint(np.array([*(ee[:2] + gap), height]), width)
        start = touch + 0.03 * away
        if float(np.linalg.norm(ee[:2] - start)) < 0.015:
            return Waypoint(np.array([*start, height]), width)
        return Waypoint(np.array([*start, height + 0.06]), width)
