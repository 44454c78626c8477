"""Named parts of an observation. A config selects parts by name; their order is the order of the numbers.

| part | numbers | unit | what |
| --- | --- | --- | --- |
| `joints` | one a joint | rad | positions of the arm's joints |
| `joint_velocities` | one a joint | rad/s | their velocities |
| `ee_position` | 3 | m | end effector |
| `ee_velocity` | 3 | m/s | its velocity |
| `lag` | 3, or one a joint | m or rad | from where the arm is to where it was last told to go, in the action mode's terms |
| `gripper_width` | 1 | m | opening of the gripper |
| `grasped` | 1 | 0 or 1 | whether all fingers touch the first object |
| `object_position` | 3 an object | m | |
| `object_rotation` | 6 an object | - | first two columns of the rotation matrix: unlike Euler angles it has no jumps |
| `object_velocity` | 6 an object | m/s, rad/s | linear, then angular |
| `ee_to_object` | 3 an object | m | from the end effector to the object |
| `previous_action` | one an action | - | the last action |
| `goal` | 3 | m | the desired goal |
| `to_goal` | 3 | m | from the achieved goal to the desired goal |

The last two depend on the goal: they are parts of a flat observation only, since a goal dict that is relabelled with
hindsight would keep the old ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from armature.errors import ConfigError
from armature.registry import Table

from .robots.base import RobotState


@dataclass
class ObjectState:
    """A free body after a control step; world frame, SI units, quaternion as x, y, z, w."""

    position: np.ndarray
    quaternion: tuple[float, ...]
    velocity: np.ndarray
    """(6,) linear, then angular."""


@dataclass
class Snapshot:
    """Everything measured after one control step; observation, reward and expert read nothing else."""

    robot: RobotState
    objects: list[ObjectState] = field(default_factory=list)
    lag: np.ndarray = field(default_factory=lambda: np.zeros(0))
    grasped: bool = False
    previous_action: np.ndarray = field(default_factory=lambda: np.zeros(0))
    achieved_goal: np.ndarray = field(default_factory=lambda: np.zeros(3))
    goal: np.ndarray = field(default_factory=lambda: np.zeros(3))


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


PARTS: Table[Callable[[Snapshot], Any]] = Table("observation part")
"""Functions from a snapshot to numbers, by name of the part."""
PARTS.update(
    joints=lambda now: now.robot.joint_positions,
    joint_velocities=lambda now: now.robot.joint_velocities,
    ee_position=lambda now: now.robot.ee_position,
    ee_velocity=lambda now: now.robot.ee_velocity,
    lag=lambda now: now.lag,
    gripper_width=lambda now: (now.robot.gripper_width,),
    grasped=lambda now: (float(now.grasped),),
    object_position=lambda now: _joined([body.position for body in now.objects]),
    object_rotation=lambda now: _joined([rotation_columns(body.quaternion) for body in now.objects]),
    object_velocity=lambda now: _joined([body.velocity for body in now.objects]),
    ee_to_object=lambda now: _joined([body.position - now.robot.ee_position for body in now.objects]),
    previous_action=lambda now: now.previous_action,
    goal=lambda now: now.goal,
    to_goal=lambda now: now.goal - now.achieved_goal,
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
        self._functions = [PARTS[part] for part in parts]

    def vector(self, now: Snapshot) -> np.ndarray:
        """Return the selected parts as one float32 vector."""
        return np.concatenate([function(now) for function in self._functions]).astype(np.float32)

    def of(self, now: Snapshot) -> np.ndarray | dict[str, np.ndarray]:
        """Return the observation of a snapshot."""
        if self.form == "flat":
            return self.vector(now)
        return {
            "observation": self.vector(now),
            "achieved_goal": now.achieved_goal.copy(),
            "desired_goal": now.goal.copy(),
        }
