"""A task: what to place, what the goal is, what counts as success, what is rewarded, and how an expert does it."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from armature.envs.bodies import Mechanism, Pose, Vector
from armature.envs.objects import Spot
from armature.envs.rewards import Facts, merged_weights
from armature.errors import ConfigError, UnknownNameError
from armature.scene import ObjectConfig

if TYPE_CHECKING:  # a task's parameters are checked without loading PyBullet
    from armature.envs.observations import Snapshot
    from armature.envs.robots.description import Hand
    from armature.envs.simulation import Simulation


class Waypoint(NamedTuple):
    """Where an expert wants the end effector next."""

    position: np.ndarray
    """(3,) metres."""
    width: float
    """Opening of the gripper in metres."""
    quaternion: np.ndarray | None = None
    """Orientation (x, y, z, w) of the end effector; None for the one it starts with."""


class Bodies(NamedTuple):
    """What a task adds to the world."""

    objects: Sequence[int] = ()
    """Bodies that move freely."""
    mechanisms: Sequence[Mechanism] = ()
    """Bodies with a joint that is moved by hand."""
    fixtures: Sequence[int] = ()
    """Bodies that no touch moves, but that stand elsewhere in each episode."""


class Layout(NamedTuple):
    """What an episode starts with."""

    goal: np.ndarray
    """(k,); the same k for every episode of a task."""
    objects: Sequence[Pose] = ()
    """Where every object is, in the order of `build`."""
    mechanisms: Sequence[tuple[Pose, float]] = ()
    """Where every mechanism is, and how far its joint is moved (metres or radians)."""
    fixtures: Sequence[Pose] = ()
    """Where every fixture is."""
    clear: Sequence[Spot] = ()
    """Room beside the objects that distractors and clutter leave free, such as the goal's."""


def parameter(default: Any, meaning: str) -> Any:
    """Declare a parameter of a task: a key of the config's `task_kwargs`."""
    return field(default=default, metadata={"meaning": meaning})


@dataclass
class Task(ABC):
    """Base of the tasks. Subclasses are dataclasses whose fields are the keys of `task_kwargs`."""

    success_distance: float = parameter(0.025, "Metres between achieved and desired goal that count as success.")

    version: ClassVar[int] = 1
    """Raised whenever goal, success, reward or substeps change: numbers of different versions do not compare."""
    horizon: ClassVar[int] = 50
    """Control steps of an episode, unless `max_episode_steps` says otherwise."""
    substeps: ClassVar[int] = 10
    """Steps of the engine in a control step, unless the action mode needs more: what touches nothing needs few."""
    parts: ClassVar[tuple[str, ...]]
    """Names of the observation parts, without those that depend on the goal."""
    reward_terms: ClassVar[dict[str, float]]
    """Weights of the dense terms by name; `success` is always one of them."""
    uses_gripper: ClassVar[bool] = False
    """Whether actions move the gripper, which the robot must then have; otherwise it stays closed."""
    turns_hand: ClassVar[bool] = False
    """Whether the task asks for other orientations of the end effector, which position modes cannot give."""
    own_objects: ClassVar[tuple[ObjectConfig, ...]] = ()
    """What the task handles, unless `task_objects` says otherwise, entry by entry."""
    further_objects: ClassVar[bool] = False
    """Whether `task_objects` may name more: they lie about, and are observed."""
    goal_scale: ClassVar[float] = 0.25
    """Typical magnitude of the numbers of a goal, which observations are divided by."""

    ghost: ClassVar[str | None] = None
    """A URDF that pictures show below the marker, turned as the goal is."""

    hand: Hand = field(init=False, repr=False)
    """What the robot touches things with; set before `build`."""
    surroundings: Sequence[float] = field(init=False, repr=False)
    """The workspace's `area`, where further objects lie; set before `build`."""
    objects: list[ObjectConfig] = field(init=False, repr=False)
    """What `build` adds to the world: `chosen_objects`; set before it."""

    # -------------------------------------------------------------------------------------------- to write

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> Layout:
        """Draw goal and objects of an episode."""

    @abstractmethod
    def achieved_goal(self, now: Snapshot) -> Vector:
        """Return what is compared with the goal, shape (k,)."""

    @abstractmethod
    def terms(self, achieved: np.ndarray, desired: np.ndarray, facts: Facts) -> dict[str, np.ndarray]:
        """Return the dense terms but `success`, each in [0, 1] with shape (n,), from goals of shape (n, k)."""

    @abstractmethod
    def expert(self, now: Snapshot) -> Waypoint:
        """Return where a scripted expert would go next."""

    def build(self, simulation: Simulation) -> Bodies:
        """Add the task's bodies to the world."""
        return Bodies()

    def facts(self, now: Snapshot) -> dict[str, Any]:
        """Return what `terms` needs besides the goals: numbers or vectors by name."""
        return {}

    def marker(self, goal: np.ndarray) -> Pose:
        """Return where pictures show the goal; how it is turned counts for tasks with a `ghost`."""
        return Pose(goal[:3])

    @property
    def marker_radius(self) -> float:
        """Radius in metres of the ball that marks the goal in pictures."""
        return self.success_distance

    @property
    def start_width(self) -> float:
        """How far the gripper is open at the start, in metres: it stays so if the task does not use it."""
        return self.hand.max_width if self.uses_gripper else 0.0

    # -------------------------------------------------------------------------------------------- given

    @staticmethod
    def distance(achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return the Euclidean distance (n,) between points of shape (n, k)."""
        # Numbers of many points are added up side by side, which takes a quarter of the time of adding each point's.
        gap = np.subtract(achieved.T, desired.T, order="C")
        return np.sqrt(np.add.reduce(gap * gap))

    def success(self, achieved: np.ndarray, desired: np.ndarray) -> np.ndarray:
        """Return whether goals of shape (n, k) agree, shape (n,)."""
        return self.distance(achieved, desired) < self.success_distance

    def succeeds(self, achieved: np.ndarray, desired: np.ndarray) -> bool:
        """Return whether one goal (k,) agrees with another: what `success` says, found faster where it is plain."""
        if self._by_distance:
            distance, border = math.dist(achieved.tolist(), desired.tolist()), self.success_distance
            if abs(distance - border) > 1e-5 * border:  # more than single precision can be wrong by
                return distance < border
        return bool(self.success(achieved[None], desired[None])[0])

    @cached_property
    def _by_distance(self) -> bool:
        return type(self).success is Task.success and type(self).distance is Task.distance

    @classmethod
    def chosen_objects(cls, given: Sequence[ObjectConfig]) -> list[ObjectConfig]:
        """Return the task's objects with what `task_objects` says of them; raise `ConfigError` for too many."""
        own = cls.own_objects
        if len(given) > len(own) and not cls.further_objects:
            handles = f"{len(own)} object{'' if len(own) == 1 else 's'}" if own else "no objects"
            raise ConfigError(f"task_objects has {len(given)} entries, but this task handles {handles}.")
        chosen = [theirs.over(ours) for theirs, ours in zip(given, own, strict=False)]
        return [*chosen, *own[len(chosen) :], *given[len(own) :]]

    @classmethod
    def parameters(cls) -> dict[str, tuple[Any, str]]:
        """Return default and meaning of every key of `task_kwargs`."""
        return {
            item.name: (item.default if item.default is not MISSING else None, item.metadata.get("meaning", ""))
            for item in fields(cls)
            if item.init
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
