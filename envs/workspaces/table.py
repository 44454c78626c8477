"""A table top at height zero, the robot standing on its edge."""

from __future__ import annotations

from armature.envs.simulation import Simulation
from armature.envs.workspaces.base import Workspace


class Table(Workspace):
    """A table of 1.1 m by 0.8 m whose surface is the plane z = 0; the floor lies 0.4 m lower."""

    low = (-0.3, -0.35, 0.01)
    high = (0.25, 0.35, 0.45)

    def build(self, simulation: Simulation) -> None:
        """Add table and floor."""
        simulation.add_box((0.55, 0.4, 0.2), (-0.25, 0, -0.2), color=(0.93, 0.91, 0.88, 1))
        simulation.add_box((3, 3, 0.1), (-0.25, 0, -0.5), color=(0.62, 0.66, 0.70, 1))
