"""What tasks with one block on the table share, and the further objects that may lie beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.envs import objects
from armature.envs.bodies import Pose, Vector
from armature.envs.objects import Extent
from armature.envs.tasks.base import Bodies, Task, Waypoint, parameter
from armature.errors import ConfigError
from armature.scene import ObjectConfig

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


@dataclass
class BlockTask(Task):
    """Base of the tasks that bring one object, by default a block, to a goal; others may lie about."""

    area: float = parameter(0.24, "Metres; edge of the square on the table in which objects and goal are drawn.")

    block: Extent = field(init=False, repr=False)
    """How much room the object to move takes; set by `build`."""

    parts = (
        "ee_position",
        "ee_velocity",
        "lag",
        "object_position",
        "object_rotation",
        "object_velocity",
        "object_spin",
        "ee_to_object",
    )
    own_objects = (ObjectConfig(kind="box", size=[0.04], mass=0.2, color=[0.92, 0.35, 0.22]),)
    further_objects = True

    @classmethod
    def chosen_objects(cls, given: Sequence[ObjectConfig]) -> list[ObjectConfig]:
        """Return the objects; raise `ConfigError` for a goal of any but the first."""
        chosen = super().chosen_objects(given)
        for index, config in enumerate(chosen[1:], start=1):
            if config.goal_area:
                raise ConfigError(f"task_objects.{index}.goal_area: only the first object has a goal. Leave it out.")
        return chosen

    def build(self, simulation: Simulation) -> Bodies:
        """Add the objects."""
        self.rooms = [objects.extent(config) for config in self.objects]
        self.block = self.rooms[0]
        return Bodies([objects.add(simulation, config) for config in self.objects])

    # -------------------------------------------------------------------------------------------- drawing

    def draw_block(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a position (3,) of the block, at rest."""
        return self._draw(self.objects[0].area, rng)

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a position (3,) that the block is to be brought to."""
        return self._draw(self.objects[0].goal_area, rng)

    def _draw(self, area: Sequence[float] | None, rng: np.random.Generator) -> np.ndarray:
        point = objects.draw_in(area or self._square, rng)
        point[2] += self.block.low
        return point

    @property
    def _square(self) -> tuple[float, float, float, float]:
        half = self.area / 2
        return -half, half, -half, half

    def poses(self, block: np.ndarray, goal: np.ndarray, rng: np.random.Generator) -> list[Pose]:
        """Draw how the block is turned, and the poses of further objects, which keep clear of block and goal."""
        turns = [
            objects.turned(room, config.rotation, rng) for room, config in zip(self.rooms, self.objects, strict=True)
        ]
        if len(turns) == 1:
            return [Pose(block, turns[0])]
        others = list(zip([config.area or self.surroundings for config in self.objects], self.rooms, strict=True))[1:]
        spots = objects.draw_all_clear(others, [self.block.at(block), self.block.at(goal)], rng)
        if spots is None:
            raise ConfigError("task_objects: there is no room for all; give some an area, or make them smaller.")
        poses = [objects.standing(*which) for which in zip(spots, self.rooms[1:], turns[1:], strict=True)]
        return [Pose(block, turns[0]), *poses]

    # -------------------------------------------------------------------------------------------- given

    def achieved_goal(self, now: Snapshot) -> Vector:
        """Return the block's position."""
        return now.objects[0].point

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres, and whether it grasps the block."""
        return {"ee_position": now.robot.ee_position, "grasped": float(now.grasped)}

    # -------------------------------------------------------------------------------------------- experts

    def holds(self, now: Snapshot) -> bool:
        """Return whether the fingers have closed on the block."""
        return now.grasped and now.robot.gripper_width < 2 * self.block.reach + 0.01

    def to_grasp(self, now: Snapshot, point: np.ndarray) -> Waypoint:
        """Return where to go to grasp at a point (3,): above it, down, and close."""
        gap = point - now.robot.ee_position
        if float(np.linalg.norm(gap[:2])) > 0.01:
            return Waypoint(point + np.array([0, 0, 0.06]), self.hand.max_width)
        if abs(gap[2]) > 0.01:
            return Waypoint(point, self.hand.max_width)
        return Waypoint(point, 0.0)

    @staticmethod
    def over(to_goal: np.ndarray, height: float) -> np.ndarray:
        """Return a short way (3,) towards `height` above the goal, sideways only as fast as it is high enough by then.

        Ways are at most 5 cm long: on longer ones joints that are moved by themselves tilt what is carried.
        """
        way = to_goal + np.array([0.0, 0.0, height])
        way[:2] *= np.clip(1.5 - 2 * way[2] / height, 0, 1)
        return way * min(1.0, 0.05 / max(float(np.linalg.norm(way)), 1e-9))
