"""Named parts of an observation. A config selects parts by name; their order is the order of the numbers.

Each number is divided by the scale of its part, a typical magnitude, so that a network sees numbers of about 1.

| part | numbers | scale | what |
| --- | --- | --- | --- |
| `joints` | one a joint | 1 rad | positions of the arm's joints |
| `joint_velocities` | one a joint | 1 rad/s | their velocities |
| `ee_position` | 3 | 0.25 m | end effector |
| `ee_velocity` | 3 | 1 m/s | its velocity |
| `ee_rotation` | 6 | 1 | first two columns of the end effector's rotation matrix |
| `ee_spin` | 3 | 2 rad/s | its angular velocity |
| `lag` | as the action mode has it | 0.05 m or rad | from where the arm is to where it was last told to go |
| `gripper_width` | 1 | 0.1 m | opening of the gripper |
| `grasped` | 1 | 1 | 1 while all fingers touch the first object, else 0 |
| `touch` | one a finger | 1 | 1 while it touches the first object, else 0; an arm without has one number |
| `object_position` | 3 an object | 0.25 m | |
| `object_rotation` | 6 an object | 1 | first two columns of the rotation matrix: unlike Euler angles it has no jumps |
| `object_velocity` | 3 an object | 1 m/s | linear velocity |
| `object_spin` | 3 an object | 10 rad/s | angular velocity |
| `ee_to_object` | 3 an object | 0.2 m | from the end effector to the object |
| `object_to_object` | 3 for each object but the first | 0.2 m | from the first object to the others |
| `mechanism_opening` | 1 a mechanism | 0.1 m or rad | position of its joint |
| `mechanism_speed` | 1 a mechanism | 1 m/s or rad/s | speed of its joint |
| `handle_position` | 3 a mechanism | 0.25 m | where it is pushed or pulled |
| `handle_motion` | 3 a mechanism | 1 | unit vector: which way the handle goes as the joint opens |
| `ee_to_handle` | 3 a mechanism | 0.2 m | from the end effector to the handle |
| `distractor_position` | 3 an observed distractor | 0.25 m | |
| `previous_action` | one an action | 1 | the last action |
| `goal` | 3 | 0.25 m | the desired goal |
| `to_goal` | 3 | 0.2 m | from the achieved goal to the desired goal |

The last two depend on the goal: they are parts of a flat observation only, since a goal dict that is relabelled with
hindsight would keep the old ones. The goals of a goal dict are in metres, and always true, as reward and success are:
noise and latency (`armature.envs.imperfections`) are of parts and pictures only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from armature import schema
from armature.config import ObservationConfig
from armature.envs.imperfections import Imperfections
from armature.errors import ConfigError, UnknownNameError
from armature.registry import Table
from armature.scene import DistractorConfig

if TYPE_CHECKING:  # a selection is checked without loading PyBullet
    from armature.envs.bodies import MechanismState, ObjectState
    from armature.envs.eyes import Eye
    from armature.envs.robots.state import RobotState


@dataclass(slots=True)
class Snapshot:
    """Everything measured after one control step; observation, reward and expert read nothing else."""

    robot: RobotState
    objects: list[ObjectState]
    mechanisms: list[MechanismState]
    distractors: list[np.ndarray]
    """Positions (3,) of the observed ones, in metres."""
    lag: Sequence[float]
    """What is still to come of earlier actions; its meaning is the action mode's."""
    grasped: bool
    """Whether all fingers touch the first object."""
    touch: Sequence[float]
    """Whether each finger does; empty unless it is asked for."""
    previous_action: Sequence[float]
    goal: np.ndarray
    """(k,)."""
    achieved_goal: np.ndarray = field(init=False)
    """(k,)."""


GOAL_PARTS = ("goal", "to_goal")
"""Parts that depend on the desired goal."""


def _joined(parts: Iterable[Iterable[float]]) -> list[float]:
    return list(chain.from_iterable(parts))


def rotation_columns(quaternion: Sequence[float]) -> tuple[float, ...]:
    """Return the first two columns, six numbers, of the rotation matrix of a quaternion x, y, z, w."""
    x, y, z, w = quaternion
    x2, y2, z2 = x + x, y + y, z + z
    xy, zw, zz = x * y2, z2 * w, z * z2
    return 1 - y * y2 - zz, xy + zw, x * z2 - y2 * w, xy - zw, 1 - x * x2 - zz, y * z2 + x2 * w


def _ee_to_objects(now: Snapshot) -> list[float]:
    ee = now.robot.ee_point
    return [to - at for body in now.objects for to, at in zip(body.point, ee, strict=True)]


def _object_to_objects(now: Snapshot) -> list[float]:
    return _joined([map(operator.sub, body.point, now.objects[0].point) for body in now.objects[1:]])


class Part(NamedTuple):
    """A part of an observation."""

    measure: Callable[[Snapshot], Iterable[float]]
    """Returns the part's numbers, in SI units; a list or tuple is faster than an array."""
    scale: float = 1.0
    """What they are divided by."""


PARTS: Table[Part] = Table("observation part")
"""The parts by name; a plugin may add its own."""
PARTS.update(
    joints=Part(lambda now: [joint[0] for joint in now.robot.joints]),
    joint_velocities=Part(lambda now: [joint[1] for joint in now.robot.joints]),
    ee_position=Part(lambda now: now.robot.ee_point, 0.25),
    ee_velocity=Part(lambda now: now.robot.motion[0]),
    ee_rotation=Part(lambda now: rotation_columns(now.robot.ee_quaternion)),
    ee_spin=Part(lambda now: now.robot.motion[1], 2.0),
    lag=Part(lambda now: now.lag, 0.05),
    gripper_width=Part(lambda now: (now.robot.gripper_width,), 0.1),
    grasped=Part(lambda now: (float(now.grasped),)),
    touch=Part(lambda now: now.touch),
    object_position=Part(lambda now: [x for body in now.objects for x in body.point], 0.25),
    object_rotation=Part(lambda now: [x for body in now.objects for x in rotation_columns(body.quaternion)]),
    object_velocity=Part(lambda now: [v for body in now.objects for v in body.motion[0]]),
    object_spin=Part(lambda now: [v for body in now.objects for v in body.motion[1]], 10.0),
    ee_to_object=Part(_ee_to_objects, 0.2),
    object_to_object=Part(_object_to_objects, 0.2),
    mechanism_opening=Part(lambda now: [mechanism.opening for mechanism in now.mechanisms], 0.1),
    mechanism_speed=Part(lambda now: [mechanism.speed for mechanism in now.mechanisms]),
    handle_position=Part(lambda now: _joined([mechanism.handle.tolist() for mechanism in now.mechanisms]), 0.25),
    handle_motion=Part(lambda now: _joined([mechanism.motion.tolist() for mechanism in now.mechanisms])),
    ee_to_handle=Part(lambda now: _joined([m.handle - now.robot.ee_position for m in now.mechanisms]), 0.2),
    distractor_position=Part(lambda now: _joined(now.distractors), 0.25),
    previous_action=Part(lambda now: now.previous_action),
    goal=Part(lambda now: now.goal.tolist(), 0.25),
    to_goal=Part(lambda now: (now.goal - now.achieved_goal).tolist(), 0.2),
)


def selection(
    form: str,
    parts: Sequence[str] | None = None,
    cameras: Sequence[Mapping[str, Any]] = (),
    noise: Mapping[str, float] | None = None,
    latency: Mapping[str, int] | None = None,
) -> ObservationConfig:
    """Return what is to be observed from the arguments of an environment; raise `ConfigError` for wrong values."""
    if form not in ("flat", "goal"):
        raise ConfigError(f"observation.form is {form!r}; allowed: 'flat', 'goal'.")
    values = {"form": form, "cameras": [*cameras], "noise": noise or {}, "latency": latency or {}}
    return schema.parse(ObservationConfig, {**values, "parts": parts if parts is None else [*parts]})


def selected_parts(
    wanted: ObservationConfig, own: Sequence[str], distractors: Sequence[DistractorConfig] = ()
) -> tuple[str, ...]:
    """Return the parts that an observation is to have, without loading a simulator.

    Raises `ConfigError` for names that do not exist and for what cannot go together.

    Args:
        wanted: what the config says; its form is flat or goal.
        own: the parts of task and action mode, taken where the config names none.
        distractors: what the config says of them; the positions of those that are observed are taken, too.
    """
    if wanted.parts is None:
        seen = ("distractor_position",) if any(body.observed for body in distractors) else ()
        goal = GOAL_PARTS if wanted.form == "flat" else ()
        parts = tuple(dict.fromkeys((*own, *seen, *goal)))  # each once
    else:
        parts = tuple(wanted.parts)
    for part in parts:
        _ = PARTS[part]  # explains an unknown name
    if wanted.form == "goal" and (late := [part for part in parts if part in GOAL_PARTS]):
        raise ConfigError(
            f"observation.parts names {', '.join(late)}, which a goal observation must not hold: hindsight would "
            "keep the old goal in it. Leave it out, or set observation.form to 'flat'."
        )
    pictures = [name for camera in wanted.cameras for name in camera.pictures]
    _check_pictures(wanted, parts, pictures)
    for key, table in (("noise", wanted.noise), ("latency", wanted.latency)):
        for name in table:
            if name not in (*parts, *pictures):
                raise UnknownNameError(f"observation.{key} key", name, (*parts, *pictures))
    return parts


def _check_pictures(wanted: ObservationConfig, parts: Sequence[str], pictures: Sequence[str]) -> None:
    names = [*pictures, "state", "observation", "achieved_goal", "desired_goal"]
    if twice := [name for name in pictures if names.count(name) > 1]:
        raise ConfigError(f"observation.cameras: the name {twice[0]!r} is taken. Give each camera a name of its own.")
    if not parts and (not pictures or (wanted.form == "goal" and len(pictures) > 1)):
        instead = f"{len(pictures)} pictures" if pictures else "no camera"
        raise ConfigError(f"observation.parts is empty, and there is {instead} in their place. Name at least one part.")
    if not parts and wanted.form == "flat" and not any("rgb" in camera.kinds for camera in wanted.cameras):
        raise ConfigError(
            "observation.parts is empty, and no picture shows the goal, which only colours do. "
            'Name the part "goal", or add "rgb" to a camera\'s kinds.'
        )


class Observation:
    """Turns snapshots into observations.

    Args:
        wanted: what the config says; its form is `flat` for one vector, or `goal` for the dict observation /
            achieved_goal / desired_goal. With pictures a flat observation is the dict of `state`, the vector, and them,
            and a goal dict holds them too. A single picture without parts stands in place of the vector.
        parts: names from `PARTS`, without those that depend on the goal if the form is goal.
        eyes: cameras whose pictures belong to it.
    """

    def __init__(self, wanted: ObservationConfig, parts: Sequence[str], eyes: Sequence[Eye] = ()) -> None:
        self.parts, self.form, self.eyes = tuple(parts), wanted.form, eyes
        self._imperfections = Imperfections(wanted.noise, wanted.latency)
        self._measures = [self._imperfections.of_part(part, PARTS[part].measure) for part in parts]
        self._scale = np.ones(0, np.float32)

    def layout(self, now: Snapshot) -> dict[str, int]:
        """Return how many numbers each part has, in their order: it depends on robot, task and action mode."""
        return {part: len([*PARTS[part].measure(now)]) for part in self.parts}

    def begin(self, now: Snapshot, rng: np.random.Generator) -> np.ndarray | dict[str, np.ndarray]:
        """Return the first observation of an episode whose random numbers came from `rng`, which is left as it is."""
        self._imperfections.begin(rng)
        if not self._scale.size:
            counts = list(self.layout(now).values())
            self._scale = np.repeat([PARTS[part].scale for part in self.parts], counts).astype(np.float32)
        return self.of(now)

    def vector(self, now: Snapshot) -> np.ndarray:
        """Return the selected parts as one float32 vector."""
        numbers: list[float] = []
        for measure in self._measures:
            numbers += measure(now)
        vector = np.array(numbers, np.float32)
        vector /= self._scale
        return vector

    def of(self, now: Snapshot) -> np.ndarray | dict[str, np.ndarray]:
        """Return the observation of a snapshot; to be called once for each, in turn: latency counts the calls."""
        pictures = self._pictures(now) if self.eyes else {}
        seen = self.vector(now) if self.parts else None
        if seen is None and len(pictures) == 1:
            _, seen = pictures.popitem()
        if self.form == "goal":
            goal = now.goal.copy()
            return {"observation": seen, "achieved_goal": now.achieved_goal.copy(), "desired_goal": goal, **pictures}
        if seen is None:
            return pictures
        return {"state": seen, **pictures} if pictures else seen

    def _pictures(self, now: Snapshot) -> dict[str, np.ndarray]:
        pictures = {name: picture for eye in self.eyes for name, picture in eye.look(now).items()}
        return {name: self._imperfections.of_picture(name, picture) for name, picture in pictures.items()}
