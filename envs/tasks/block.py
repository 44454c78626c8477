"""What tasks with one block on the table share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.envs.bodies import Vector
from armature.envs.tasks.base import Bodies, Task, Waypoint, parameter

if TYPE_CHECKING:
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


@dataclass
class BlockTask(Task):
    """Base of the tasks that bring one block to a goal."""

    block_size: float = parameter(0.04, "Metres; edge of the block.")
    block_mass: float = parameter(0.2, "Kilograms; mass of the block.")
    block_friction: float = parameter(1.0, "Lateral friction of the block.")
    area: float = parameter(0.24, "Metres; edge of the square on the table in which block and goal are drawn.")

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

    def build(self, simulation: Simulation) -> Bodies:
        """Add the block."""
        return Bodies([self.add_block(simulation, (0.92, 0.35, 0.22, 1))])

    def add_block(self, simulation: Simulation, color: Vector) -> int:
        """Add a block of the task's size; return its id."""
        half = self.block_size / 2
        return simulation.add_box(
            (half, half, half),
            (0, 0, half),
            self.block_mass,
            color=color,
            lateral_friction=self.block_friction,
            spinning_friction=0.001,
        )

    def draw_on_table(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a position (3,) of a block that lies on the table."""
        half = self.area / 2
        return np.array([*rng.uniform(-half, half, 2), self.block_size / 2])

    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return the block's position."""
        return now.objects[0].position

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return the end effector's position (3,) in metres, and whether it grasps the block."""
        return {"ee_position": now.robot.ee_position, "grasped": float(now.grasped)}

    def holds(self, now: Snapshot) -> bool:
        """Return whether the fingers have closed on the first object."""
        return now.grasped and now.robot.gripper_width < self.block_size + 0.01

    def to_grasp(self, now: Snapshot, point: np.ndarray) -> Waypoint:
        """Return where an expert goes to grasp at a point (3,): above it, down, and close."""
        gap = point - now.robot.ee_position
        if float(np.linalg.norm(gap[:2])) > 0.01:
            return Waypoint(point + np.array([0, 0, 0.06]), self.hand.max_width)
        if abs(gap[2]) > 0.01:
            return Waypoint(point, self.hand.max_width)
        return Waypoint(point, 0.0)
