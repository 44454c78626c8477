"""What stands and lies about besides the task's own bodies: distractors, which nothing moves, and clutter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.envs import objects
from armature.envs.objects import Extent, Spot
from armature.errors import ConfigError
from armature.scene import DistractorConfig, SceneConfig
from armature.schema import parse

if TYPE_CHECKING:
    from armature.envs.simulation import Simulation
    from armature.envs.tasks.base import Bodies, Task


def read_scene(
    task_objects: Sequence[Mapping[str, Any]],
    distractors: Sequence[Mapping[str, Any]],
    clutter: Mapping[str, Any] | None,
) -> SceneConfig:
    """Read what a configuration says of bodies; raise `ConfigError` for whatever is wrong with it."""
    values = {"task_objects": [*task_objects], "distractors": [*distractors], "clutter": clutter}
    scene = parse(SceneConfig, values)
    objects.check(scene)
    return scene


def check(task: type[Task], *scene: Any) -> None:
    """Raise `ConfigError` for objects that do not exist, or that a task does not handle; PyBullet is not needed."""
    task.chosen_objects(read_scene(*scene).task_objects)


class Track:
    """Where a distractor is at any time: to and fro on a line, or bouncing between walls, or in one place.

    Each coordinate goes to and fro between its ends by itself: `low + span * fold(phase + rate * time)`.
    """

    def __init__(self, config: DistractorConfig, area: Sequence[float], rng: np.random.Generator) -> None:
        if config.ends:
            self.low = np.array(config.ends[0])
            self.span = config.ends[1] - self.low
            self.phase = np.full(3, rng.uniform(0, 2))
            self.rate = np.full(3, config.speed / max(float(np.linalg.norm(self.span)), 1e-6))
        else:
            bounds = np.array([*(config.area or area), 0.0, 0.0][:6]).reshape(3, 2)
            self.low, self.span = bounds[:, 0], bounds[:, 1] - bounds[:, 0]
            self.phase = rng.uniform(0, 2, 3)
            direction = np.abs(rng.normal(size=3)) * (self.span > 0)
            direction /= max(float(np.linalg.norm(direction)), 1e-6)
            self.rate = config.speed * direction / np.maximum(self.span, 1e-6)

    def at(self, time: float) -> np.ndarray:
        """Return the position (3,) of the underside's middle after seconds."""
        return self.low + self.span * (1 - np.abs(1 - (self.phase + self.rate * time) % 2))


class Scenery:
    """Distractors and clutter in a simulation.

    Args:
        simulation: the world to add them to.
        scene: what to add.
        area: where they are, unless they have an area of their own (x0, x1, y0, y1 in metres).
    """

    def __init__(self, simulation: Simulation, scene: SceneConfig, area: Sequence[float]) -> None:
        self.simulation, self.scene, self.area = simulation, scene, area
        self._distractors = [objects.add(simulation, config, loose=False) for config in scene.distractors]
        pairs = zip(scene.distractors, self._distractors, strict=True)
        self._observed = [body for config, body in pairs if config.observed]
        self._rooms = [objects.extent(config) for config in scene.distractors]
        self._tracks: list[Track] = []
        clutter = scene.clutter
        configs = islice(cycle(clutter.objects), max(clutter.count[1], len(clutter.objects))) if clutter else ()
        self._clutter = [(config, objects.extent(config), objects.add(simulation, config)) for config in configs]
        if any(config.speed for config in scene.distractors):
            simulation.movers.append(self._move)

    def place(self, rng: np.random.Generator, bodies: Bodies, clear: Sequence[Spot]) -> None:
        """Draw and place everything beside the bodies of the task, which stand in their places, and what is clear.

        Clutter that is not drawn, or finds no room, stays where a reset keeps loose bodies.
        """
        if not self._distractors and not self._clutter:
            return
        theirs = [*bodies.objects, *(mechanism.body for mechanism in bodies.mechanisms)]
        taken = [*clear, *map(self._taken_by, theirs)]
        self._tracks = []
        for config, room, body in zip(self.scene.distractors, self._rooms, self._distractors, strict=True):
            track, spot = self._clear_track(config, room, taken, rng)
            self._tracks.append(track)
            taken.append(spot)
            self.simulation.place(body, *objects.standing(spot, room, room.quaternion))
        if self.scene.clutter:
            self._scatter(self.scene.clutter.count, rng, taken)

    def positions(self) -> list[np.ndarray]:
        """Return where the observed distractors are (3,), in metres."""
        return [np.array(self.simulation.pose(body)[0]) for body in self._observed]

    def _scatter(self, limits: Sequence[int], rng: np.random.Generator, taken: list[Spot]) -> None:
        count = rng.integers(limits[0], limits[1], endpoint=True)
        for index in rng.permutation(len(self._clutter))[:count]:
            config, room, body = self._clutter[index]
            quaternion = objects.turned(room, config.rotation, rng)
            if spot := objects.draw_clear(config.area or self.area, room, taken, rng):
                taken.append(spot)
                self.simulation.place(body, *objects.standing(spot, room, quaternion))

    def _taken_by(self, body: int) -> Spot:
        """Return the room that a body takes where it is."""
        low, high = self.simulation.bounds(body)
        middle = (low + high) / 2
        return Spot(np.array([*middle[:2], low[2]]), float(np.hypot(*(high - low)[:2])) / 2, float(high[2] - low[2]))

    def _move(self, time: float) -> None:
        """Place what moves where it is after seconds."""
        for config, room, track, body in zip(
            self.scene.distractors, self._rooms, self._tracks, self._distractors, strict=True
        ):
            if config.speed:
                x, y, z = track.at(time).tolist()
                self.simulation.place(body, (x, y, z + room.low), room.quaternion)

    def _clear_track(
        self, config: DistractorConfig, room: Extent, taken: Sequence[Spot], rng: np.random.Generator
    ) -> tuple[Track, Spot]:
        """Return a track that begins in free room, and where it begins."""
        for _ in range(200):
            track = Track(config, self.area, rng)
            spot = Spot(track.at(0.0), room.reach, room.size[2])
            if spot.clear_of(taken):
                return track, spot
        raise ConfigError(
            "distractors: there is no room for all beside the task's objects and goal; give some another area."
        )
