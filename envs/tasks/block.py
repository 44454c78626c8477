"""What tasks with one block on the table share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.envs.tasks.base import Bodies, Task, parameter

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
        half = self.block_size / 2
        block = simulation.add_box(
            (half, half, half),
            (0, 0, half),
            self.block_mass,
            color=(0.92, 0.35, 0.22, 1),
            lateral_friction=self.block_friction,
            spinning_friction=0.001,
        )
        return Bodies([block])

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
