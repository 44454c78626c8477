"""A workspace: where the robot stands, what it may reach, what stands around it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from armature.envs.simulation import Simulation


class Workspace(ABC):
    """Base of the workspaces. The world's origin is the middle of the working surface, z is up, the robot stands at -x.

    How far from the middle it stands is the robot's own affair: the arms reach differently far.
    """

    low: ClassVar[tuple[float, float, float]]
    """Lowest corner of the box that end-effector targets are kept in, in metres."""
    high: ClassVar[tuple[float, float, float]]
    """Highest corner of that box."""

    @abstractmethod
    def build(self, simulation: Simulation) -> None:
        """Add the fixed bodies."""
