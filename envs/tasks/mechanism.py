"""What tasks share that move a part of a fixed body by hand: a button, a lever, a knob, a drawer.

The handle only goes one way and back, so every such task is the same in words: get behind the handle, as seen from
where it has to go, and move on until it is there. The goal is a position of the handle: unlike an angle, that has no
jumps.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from armature.envs.bodies import Pose
from armature.envs.objects import Spot
from armature.envs.rewards import Facts, closing_in, tracking
from armature.envs.tasks.base import Bodies, Layout, Task, Waypoint, parameter
from armature.errors import ConfigError

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation

ASSETS = Path(__file__).parents[1] / "assets"
"""The folder of the URDFs; each has a joint `opening`, and a link `handle` whose x axis points where that opens to."""


@dataclass
class MechanismTask(Task):
    """Base of the tasks that bring the handle of one mechanism to a goal."""

    area: float = parameter(0.1, "Metres; edge of the square on the table in which the mechanism is drawn.")

    model: ClassVar[str]
    """File name of the URDF in `ASSETS`."""
    resistance: ClassVar[float]
    """Newtons or newton metres that hold the joint, or push it back."""
    returns_to: ClassVar[float | None] = None
    """Where a spring pushes the joint back to; None for a joint that stays."""
    largest: ClassVar[dict[str, float]]
    """The largest values of parameters that the mechanism's joint allows."""
    thickness: ClassVar[float]
    """Metres from the handle's frame to its surface, where it is pushed."""
    way: ClassVar[float]
    """Metres that a handle typically goes; the scale of the goal's reward term."""
    aside: ClassVar[tuple[float, float, float]] = (0.0, 0.0, 0.0)
    """Where pictures show the goal, in metres from it, so that the mechanism does not hide it."""

    ROOM: ClassVar[float] = 0.1
    """Metres around the handle, at the start and at the goal, that a hand needs."""
    GAP: ClassVar[float] = 0.015
    """Metres between handle and hand where the expert comes down behind it."""
    STEP: ClassVar[float] = 0.0275
    """Metres the expert moves the handle in a control step at most."""
    LANE: ClassVar[float] = 0.02
    """Metres beside the way of the handle in which the expert pushes."""
    REACH: ClassVar[float] = 0.06
    """Metres to the expert's next waypoint at most."""
    ABOVE: ClassVar[float] = 0.07
    """Metres above the handle at which the expert travels."""
    CLEAR: ClassVar[float] = 0.04
    """Metres below that height at which it does not go sideways at all."""

    parts = (
        "ee_position",
        "ee_velocity",
        "lag",
        "mechanism_opening",
        "mechanism_speed",
        "handle_position",
        "handle_motion",
        "ee_to_handle",
    )
    reward_terms = {"reach": 2.0, "goal": 4.0, "success": 4.0}

    # -------------------------------------------------------------------------------------------- to write

    @classmethod
    @abstractmethod
    def handle_at(cls, opening: float) -> tuple[float, float, float]:
        """Return where the handle is for a position of the joint, in metres, in the mechanism's frame."""

    # -------------------------------------------------------------------------------------------- given

    def build(self, simulation: Simulation) -> Bodies:
        """Add the mechanism."""
        model = str(ASSETS / self.model)
        mechanism = simulation.add_mechanism(model, "opening", "handle", self.resistance, self.returns_to)
        return Bodies(mechanisms=[mechanism])

    def draw_place(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a position (3,) on the table."""
        half = self.area / 2
        return np.array([*rng.uniform(-half, half, 2), 0.0])

    def layout(self, place: np.ndarray, yaw: float, opening: float, goal: float) -> Layout:
        """Return what an episode starts with: the mechanism's place (3,) and yaw, and its joint now and at the goal."""
        cos, sin = math.cos(yaw), math.sin(yaw)
        turn = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        begin, end = (place + turn @ self.handle_at(position) for position in (opening, goal))
        pose = Pose(place, (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))
        room = [Spot(handle * (1, 1, 0), self.ROOM, self.ROOM + handle[2]) for handle in (begin, end)]
        return Layout(end, mechanisms=[(pose, opening)], clear=room)

    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return the handle's position."""
        return now.mechanisms[0].handle

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres, and the direction (3,) in which the joint opens."""
        return {"ee_position": now.robot.ee_position, "motion": now.mechanisms[0].motion}

    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return tracking of the place to push from, and of the goal."""
        left = self.distance(achieved, desired)
        behind = achieved - (self.thickness + self.hand.radius) * self.ahead(achieved, desired, facts["motion"])
        reach = closing_in(self.distance(facts["ee_position"], behind))
        return {"reach": np.where(left < self.success_distance, 1.0, reach), "goal": tracking(left, self.way)}

    def ahead(self, achieved: np.ndarray, desired: np.ndarray, motion: np.ndarray) -> np.ndarray:
        """Return the directions (n, 3) in which to push, from the directions (n, 3) in which the joint opens."""
        opens = np.einsum("ij,ij->i", desired - achieved, motion) >= 0
        return np.where(opens[:, None], motion, -motion)

    def expert(self, now: Snapshot) -> Waypoint:
        """Travel above the mechanism, come down behind the handle, and push until it is at the goal."""
        ee = now.robot.ee_position
        gap = self._next(now) - ee
        # In small pieces, since the path of an arm that is sent far is not straight.
        return Waypoint(ee + gap * min(1.0, self.REACH / max(float(np.linalg.norm(gap)), 1e-6)), 0.0)

    def _next(self, now: Snapshot) -> np.ndarray:
        """Return where the end effector has to go, (3,) metres."""
        handle, ee, contact = now.mechanisms[0].handle, now.robot.ee_position, self.thickness + self.hand.radius
        above = handle[2] + self.ABOVE
        if self.returns_to is None and np.linalg.norm(now.goal - handle) < self.success_distance / 2:
            return np.array([*ee[:2], above])
        motion = now.mechanisms[0].motion
        ahead = self.ahead(handle[None], now.goal[None], motion[None])[0]
        behind = -float((ee - handle) @ ahead)
        beside = float(np.linalg.norm(ee - handle + behind * ahead))
        if 0 < behind < contact + self.GAP + 0.02 and beside < self.LANE:
            # Go on from wherever the fingers touch, first of all into the middle of the lane.
            advance = min(float((now.goal - handle) @ ahead), self.STEP * (1 - beside / self.LANE))
            return handle - behind * ahead + advance * (motion if motion @ ahead > 0 else -motion)
        start = handle - (contact + self.GAP) * ahead
        if np.linalg.norm((ee - start)[:2]) < 0.015:
            return start
        # Sideways only as far as the hand has risen: from there it goes on rising.
        risen = min(max((ee[2] - above) / self.CLEAR + 1, 0.0), 1.0)
        return np.array([*(ee + risen * (start - ee))[:2], above])

    def marker(self, goal: np.ndarray) -> Pose:
        """Return where pictures show the goal."""
        return Pose(goal + self.aside)

    @classmethod
    def check(cls, kwargs: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Raise `ConfigError` for a wrong key or value, and for a goal that the joint does not reach."""
        super().check(kwargs, weights)
        for name, largest in cls.largest.items():
            if kwargs.get(name, 0.0) > largest:
                raise ConfigError(f"task_kwargs.{name} is {kwargs[name]!r}; the joint goes no further than {largest}.")
