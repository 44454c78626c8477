"""Robot environments in PyBullet. Importing this package registers names and Gymnasium ids; PyBullet loads on use.

gymnasium.make("armature/RobotEnv-v1", robot="panda", task="push", robot_action="joint_delta")
gymnasium.make("armature/PandaPush-v1")         # a shorthand that fixes robot and task
"""

from __future__ import annotations

import gymnasium

from armature import registry
from armature.config import GENERAL_ENV, NAMESPACE

registry.robots.update(
    panda="armature.envs.robots.panda:PANDA",
    kuka="armature.envs.robots.kuka:KUKA",
    xarm6="armature.envs.robots.xarm6:XARM6",
    ur5="armature.envs.robots.ur:UR5",
    ur10="armature.envs.robots.ur:UR10",
    xarm7="armature.envs.robots.xarm7:XARM7",
    z1="armature.envs.robots.z1:Z1",
    so101="armature.envs.robots.so101:SO101",
    kinova="armature.envs.robots.kinova:KINOVA",
)
registry.workspaces.update(table="armature.envs.workspaces.table:Table")
registry.tasks.update(
    reach="armature.envs.tasks.reach:Reach",
    push="armature.envs.tasks.push:Push",
    pick_and_place="armature.envs.tasks.pick_and_place:PickAndPlace",
)
registry.robot_actions.update(
    ee_delta="armature.envs.actions:EndEffectorDelta",
    joint_delta="armature.envs.actions:JointDelta",
)


def _register_ids() -> list[str]:
    """Register the general id and a shorthand for each task that a robot claims; return them all."""

    def camel(name: str) -> str:
        return "".join(word.capitalize() for word in name.split("_"))

    ids: dict[str, dict[str, str]] = {GENERAL_ENV: {}}
    ids |= {
        f"{NAMESPACE}{camel(robot)}{camel(task)}-v1": {"robot": robot, "task": task}
        for robot in registry.robots
        for task in registry.tasks
        if registry.find_robot(robot).can(task)
    }
    for env_id, kwargs in ids.items():
        gymnasium.register(env_id, entry_point="armature.envs.robot_env:RobotEnv", kwargs=kwargs)
    return list(ids)


ENV_IDS = _register_ids()
"""Every id registered here."""
