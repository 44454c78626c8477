"""What a URDF says of a robot, and a first description of it to start from."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from armature.envs.engine import p
from armature.envs.simulation import Simulation
from armature.errors import ConfigError

_KINDS = {p.JOINT_REVOLUTE: "revolute", p.JOINT_PRISMATIC: "prismatic", p.JOINT_FIXED: "fixed"}

_HAND = re.compile("finger|grip|jaw|hand|knuckle", re.IGNORECASE)


class Joint(NamedTuple):
    """A joint and the link it moves, as the URDF has them."""

    number: int
    name: str
    kind: str
    low: float
    high: float
    effort: float
    velocity: float
    link: str
    parent: int

    @property
    def moves(self) -> bool:
        """Whether it is a joint that a motor can move."""
        return self.kind in ("revolute", "prismatic")


def describe_robot(path: str) -> str:
    """Return the joints and links of a URDF or SDF, and a description that starts from guesses.

    Raises `ConfigError` for a file that is missing or broken, or a body without a joint that moves.
    """
    if not Path(path).is_file():
        raise ConfigError(f"--describe-robot: there is no file {path}.")
    joints = _joints(path)
    if not any(joint.moves for joint in joints):
        raise ConfigError(f"{path} has no joint that moves ({len(joints)} fixed); that is no robot arm.")
    head = ("index", "joint", "type", "lower", "upper", "effort", "velocity", "link")
    rows = [head, *(_row(joint) for joint in joints)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*table, "", _ADVICE, "", _proposal(path, joints)])


_ADVICE = """\
A description to start from, in a .json file beside the URDF; then: python train.py --robot=FILE.json
The chain of the arm, the last link as end effector and the gripper are guesses; so are limits where the URDF has none.
Give the orientation that ee_link has when it looks down, and a rest pose in which it looks down above the table."""


def _joints(path: str) -> list[Joint]:
    simulation = Simulation()
    client = simulation.client
    try:
        body = simulation.load_robot(str(Path(path).resolve()), (0, 0, 0))
        infos = [
            p.getJointInfo(body, index, physicsClientId=client)
            for index in range(p.getNumJoints(body, physicsClientId=client))
        ]
    except p.error as error:
        raise ConfigError(f"PyBullet cannot load the robot {path}: {error}") from None
    finally:
        simulation.close()
    return [_joint(info) for info in infos]


def _joint(info: Sequence[Any]) -> Joint:
    low, high, effort, velocity = info[8:12]
    kind = _KINDS.get(info[2], "other")
    return Joint(info[0], info[1].decode(), kind, low, high, effort, velocity, info[12].decode(), info[16])


def _row(joint: Joint) -> tuple[str, ...]:
    numbers = (joint.low, joint.high, joint.effort, joint.velocity)
    shown = [f"{number:.4g}" for number in numbers] if joint.moves else [""] * 4
    return (str(joint.number), joint.name, joint.kind, *shown, joint.link)


def _proposal(path: str, joints: Sequence[Joint]) -> str:
    """Return a description as JSON: the arm goes from the base to where it branches, or to what sounds like a hand."""
    arm = _arm(joints)
    gripper = [joint for joint in joints if joint.moves and joint not in arm]
    ends = [joint for joint in joints if not joint.moves and _mover(joint, joints) == arm[-1]]
    end = ends[-1] if ends else arm[-1]
    values = {
        "urdf": Path(path).name,
        "arm_joints": [joint.name for joint in arm],
        "ee_link": end.link,
        "ee_offset": [0.0, 0.0, 0.0],
        "rest_pose": [_middle(joint) for joint in arm],
        "ee_quaternion": [1.0, 0.0, 0.0, 0.0],
        "forces": [joint.effort or 50.0 for joint in arm],
        "max_velocities": [joint.velocity or 2.0 for joint in arm],
        "distance": 0.6,
    }
    if gripper:
        values["gripper"] = _gripper(gripper)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in values.items())
    return f"{{\n{lines}\n}}"


def _arm(joints: Sequence[Joint]) -> list[Joint]:
    arm: list[Joint] = []
    while True:
        nearest = arm[-1] if arm else None
        further = [joint for joint in joints if joint.moves and _mover(joint, joints) == nearest]
        if len(further) != 1 or (arm and _HAND.search(further[0].name)):
            return arm or further[:1]
        arm += further


def _mover(joint: Joint, joints: Sequence[Joint]) -> Joint | None:
    """Return the nearest joint on the way to the base that moves."""
    while joint.parent >= 0:
        joint = joints[joint.parent]
        if joint.moves:
            return joint
    return None


def _middle(joint: Joint) -> float:
    """Return the middle of a joint's limits, or 0 for one without any."""
    bounded = joint.low < joint.high and math.isfinite(joint.low + joint.high)
    return round((joint.low + joint.high) / 2, 4) + 0.0 if bounded else 0.0


def _gripper(joints: Sequence[Joint]) -> dict[str, object]:
    return {
        "joints": [joint.name for joint in joints],
        "open": [joint.high for joint in joints],
        "closed": [joint.low for joint in joints],
        "fingers": [joint.link for joint in joints],
        "max_width": 0.08,
        "force": joints[0].effort or 20.0,
        "friction": 1.0,
    }
