"""Robot environments in PyBullet. Importing this package registers names and Gymnasium ids; PyBullet loads on use.

gymnasium.make("armature/RobotEnv-v1", robot="panda", task="push", robot_action="joint_delta")
gymnasium.make("armature/PandaPush-v1")         # a shorthand that fixes robot and task
"""

from __future__ import annotations

import gymnasium

from armature.config import GENERAL_ENV, NAMESPACE
from armature.registry import robot_actions, robots, tasks, workspaces

robots.update(panda="armature.envs.robots.panda:PANDA")
workspaces.update(table="armature.envs.workspaces.table:Table")
tasks.update(
    reach="armature.envs.tasks.reach:Reach",
    push="armature.envs.tasks.push:Push",
    pick_and_place="armature.envs.tasks.pick_and_place:PickAndPlace",
    slide="armature.envs.tasks.slide:Slide",
    stack="armature.envs.tasks.stack:Stack",
)
robot_actions.update(
    ee_delta="armature.envs.actions:EndEffectorDelta",
    joint_delta="armature.envs.actions:JointDelta",
)


def _register_ids() -> list[str]:
    """Register the general id and one shorthand per robot and task; return them all."""

    def camel(name: str) -> str:
        return "".join(word.capitalize() for word in name.split("_"))

    ids: dict[str, dict[str, str]] = {GENERAL_ENV: {}}
    ids |= {
        f"{NAMESPACE}{camel(robot)}{camel(task)}-v1": {"robot": robot, "task": task}
        for robot in robots
        for task in tasks
    }
    for env_id, kwargs in ids.items():
        gymnasium.register(env_id, entry_point="armature.envs.robot_env:RobotEnv", kwargs=kwargs)
    return list(ids)


ENV_IDS = _register_ids()
"""Every id registered here."""
