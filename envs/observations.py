"""Named parts of an observation. A config selects parts by name; their order is the order of the numbers.

Each number is divided by the scale of its part, a typical magnitude, so that a network sees numbers of about 1.

| part | numbers | scale | what |
| --- | --- | --- | --- |
| `joints` | one a joint | 1 rad | positions of the arm's joints |
| `joint_velocities` | one a joint | 1 rad/s | their velocities |
| `ee_position` | 3 | 0.25 m | end effector |
| `ee_velocity` | 3 | 1 m/s | its velocity |
| `lag` | 3, or one a joint | 0.05 m or rad | from where the arm is to where it was last told to go |
| `gripper_width` | 1 | 0.1 m | opening of the gripper |
| `grasped` | 1 | 1 | 1 while all fingers touch the first object, else 0 |
| `object_position` | 3 an object | 0.25 m | |
| `object_rotation` | 6 an object | 1 | first two columns of the rotation matrix: unlike Euler angles it has no jumps |
| `object_velocity` | 3 an object | 1 m/s | linear velocity |
| `object_spin` | 3 an object | 10 rad/s | angular velocity |
| `ee_to_object` | 3 an object | 0.2 m | from the end effector to the object |
| `previous_action` | one an action | 1 | the last action |
| `goal` | 3 | 0.25 m | the desired goal |
| `to_goal` | 3 | 0.2 m | from the achieved goal to the desired goal |

The last two depend on the goal: they are parts of a flat observation only, since a goal dict that is relabelled with
hindsight would keep the old ones. The goals of a goal dict are in metres.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from armature.envs.bodies import MechanismState, ObjectState
from armature.envs.robots.base import RobotState
from armature.errors import ConfigError
from armature.registry import Table


@dataclass(slots=True)
class Snapshot:
    """Everything measured after one control step; observation, reward and expert read nothing else."""

    robot: RobotState
    objects: list[ObjectState]
    mechanisms: list[MechanismState]
    lag: np.ndarray
    """What is still to come of earlier actions; its meaning is the action mode's."""
    grasped: bool
    """Whether all fingers touch the first object."""
    previous_action: np.ndarray
    goal: np.ndarray
    """(k,)."""
    achieved_goal: np.ndarray = field(init=False)
    """(k,)."""


GOAL_PARTS = ("goal", "to_goal")
"""Parts that depend on the desired goal."""


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays) if arrays else np.zeros(0)


def rotation_columns(quaternion: Sequence[float]) -> np.ndarray:
    """Return the first two columns (6,) of the rotation matrix of a quaternion x, y, z, w."""
    x, y, z, w = quaternion
    return np.array(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y + z * w),
            2 * (x * z - y * w),
            2 * (x * y - z * w),
            1 - 2 * (x * x + z * z),
            2 * (y * z + x * w),
        ]
    )


class Part(NamedTuple):
    """A part of an observation."""

    measure: Callable[[Snapshot], Any]
    """Returns the part's numbers, in SI units."""
    scale: float = 1.0
    """What they are divided by."""


PARTS: Table[Part] = Table("observation part")
"""The parts by name; a plugin may add its own."""
PARTS.update(
    joints=Part(lambda now: now.robot.joint_positions),
    joint_velocities=Part(lambda now: now.robot.joint_velocities),
    ee_position=Part(lambda now: now.robot.ee_position, 0.25),
    ee_velocity=Part(lambda now: now.robot.ee_velocity),
    lag=Part(lambda now: now.lag, 0.05),
    gripper_width=Part(lambda now: (now.robot.gripper_width,), 0.1),
    grasped=Part(lambda now: (float(now.grasped),)),
    object_position=Part(lambda now: _joined([body.position for body in now.objects]), 0.25),
    object_rotation=Part(lambda now: _joined([rotation_columns(body.quaternion) for body in now.objects])),
    object_velocity=Part(lambda now: _joined([body.velocity for body in now.objects])),
    object_spin=Part(lambda now: _joined([body.spin for body in now.objects]), 10.0),
    ee_to_object=Part(lambda now: _joined([body.position - now.robot.ee_position for body in now.objects]), 0.2),
    previous_action=Part(lambda now: now.previous_action),
    goal=Part(lambda now: now.goal, 0.25),
    to_goal=Part(lambda now: now.goal - now.achieved_goal, 0.2),
)


class Observation:
    """Turns snapshots into observations.

    Args:
        parts: names from `PARTS`, without those that depend on the goal if `form` is goal.
        form: `flat` for one vector, `goal` for the dict observation / achieved_goal / desired_goal.
    """

    def __init__(self, parts: Sequence[str], form: str) -> None:
        if form not in ("flat", "goal"):
            raise ConfigError(f"observation.form is {form!r}; allowed: 'flat', 'goal'.")
        if form == "goal" and (late := [part for part in parts if part in GOAL_PARTS]):
            raise ConfigError(
                f"observation.parts names {', '.join(late)}, which a goal observation must not hold: hindsight would "
                "keep the old goal in it. Leave it out, or set observation.form to 'flat'."
            )
        self.parts, self.form = tuple(parts), form
        self._measures = [PARTS[part].measure for part in parts]
        self._scale: np.ndarray | None = None

    def vector(self, now: Snapshot) -> np.ndarray:
        """Return the selected parts as one float32 vector."""
        arrays = [measure(now) for measure in self._measures]
        if self._scale is None:  # how many numbers a part has depends on robot and task, which the first snapshot shows
            self._scale = np.repeat([PARTS[part].scale for part in self.parts], [len(array) for array in arrays])
        return (np.concatenate(arrays) / self._scale).astype(np.float32)

    def of(self, now: Snapshot) -> np.ndarray | dict[str, np.ndarray]:
        """Return the observation of a snapshot."""
        if self.form == "flat":
            return self.vector(now)
        return {
            "observation": self.vector(now),
            "achieved_goal": now.achieved_goal.copy(),
            "desired_goal": now.goal.copy(),
        }
