"""A task: what to place, what the goal is, what counts as success, what is rewarded, and how an expert does it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from armature.envs.rewards import Facts, merged_weights
from armature.errors import ConfigError, UnknownNameError

if TYPE_CHECKING:  # a task's parameters are checked without loading PyBullet
    from armature.envs.observations import Snapshot
    from armature.envs.simulation import Simulation


class Waypoint(NamedTuple):
    """Where an expert wants the end effector next."""

    position: np.ndarray
    """(3,) metres."""
    width: float
    """Opening of the gripper in metres."""


class Layout(NamedTuple):
    """What an episode starts with."""

    goal: np.ndarray
    """(3,) metres."""
    objects: list[np.ndarray]
    """Position (3,) of every object, in the order of `build`."""


def parameter(default: Any, meaning: str) -> Any:
    """Declare a parameter of a task: a key of the config's `task_kwargs`."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass
class Task(ABC):
    """Base of the tasks. Subclasses are dataclasses whose fields are the keys of `task_kwargs`."""

    success_distance: float = parameter(0.025, "Metres between achieved and desired goal that count as success.")

    version: ClassVar[int] = 1
    """Raised whenever goal, success or reward change: numbers of different versions do not compare."""
    horizon: ClassVar[int] = 50
    """Control steps of an episode, unless `max_episode_steps` says otherwise."""
    parts: ClassVar[tuple[str, ...]]
    """Names of the observation parts, without those that depend on the goal."""
    reward_terms: ClassVar[dict[str, float]]
    """Weights of the dense terms by name; `success` is always one of them."""
    uses_gripper: ClassVar[bool] = False
    """Whether actions move the gripper, which the robot must then have; otherwise it stays closed."""

    # -------------------------------------------------------------------------------------------- to write

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw goal and objects of an episode."""

    @abstractmethod
    def achieved_goal(self, now: Snapshot) -> np.ndarray:
        """Return what is compared with the goal, shape (3,)."""

    @abstractmethod
    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return the dense terms but `success`, each in [0, 1] with shape (n,), from goals of shape (n, 3)."""

    @abstractmethod
    def expert(self, now: Snapshot, max_width: float) -> Waypoint:
        """Return where a scripted expert would go next; `max_width` is the opening of the gripper."""

    def build(self, simulation: Simulation) -> list[int]:
        """Add the task's bodies to the world; return the ids of the free objects."""
        return []

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return what `terms` needs besides the goals: numbers or vectors by name."""
        return {}

    # -------------------------------------------------------------------------------------------- given

    @staticmethod
    def distance(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return metres between points of shape (n, 3)."""
        # Written out: the sum of three squares is then the same number for one row as for a thousand.
        dx, dy, dz = (achieved - desired).T
        return np.sqrt(dx * dx + dy * dy + dz * dz)

    def success(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return whether goals of shape (n, 3) agree, shape (n,)."""
        return self.distance(achieved, desired) < self.success_distance

    @classmethod
    def parameters(cls) -> dict[str, tuple[Any, str]]:
        """Return default and meaning of every key of `task_kwargs`."""
        return {
            item.name: (item.default if item.default is not MISSING else None, item.metadata.get("meaning", ""))
            for item in fields(cls)
        }

    @classmethod
    def check(cls, kwargs: Mapping[str, Any], weights: Mapping[str, float]) -> None:
        """Raise `ConfigError` for a wrong key or value in `task_kwargs` or `reward_weights`."""
        known = cls.parameters()
        for name, value in kwargs.items():
            if name not in known:
                raise UnknownNameError("task_kwargs key", name, known)
            _check_number(f"task_kwargs.{name}", value)
        merged_weights(cls.reward_terms, weights)


def _check_number(path: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or value < 0:
        raise ConfigError(f"{path} is {value!r}; expected a finite number of at least 0.")
