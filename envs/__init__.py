"""Robot environments in PyBullet. Importing this package registers names and Gymnasium ids; PyBullet loads on use.

gymnasium.make("armature/RobotEnv-v1", robot="panda", task="push", robot_action="joint_delta")
gymnasium.make("armature/PandaPush-v1")         # a shorthand that fixes robot and task
"""

from __future__ import annotations

import gymnasium

from armature.config import GENERAL_ENV, NAMESPACE
from armature.registry import quantities, robot_actions, robots, tasks, workspaces

robots.update(
    panda="armature.envs.robots.panda:PANDA",
    kuka="armature.envs.robots.kuka:KUKA",
    xarm6="armature.envs.robots.xarm6:XARM6",
)
workspaces.update(
    {name: f"armature.envs.workspaces.{name}:{name.upper()}" for name in ("table", "plane", "tray", "shelf")}
)
tasks.update(
    reach="armature.envs.tasks.reach:Reach",
    push="armature.envs.tasks.push:Push",
    pick_and_place="armature.envs.tasks.pick_and_place:PickAndPlace",
    flip="armature.envs.tasks.flip:Flip",
    slide="armature.envs.tasks.slide:Slide",
    insert="armature.envs.tasks.insert:Insert",
    stack="armature.envs.tasks.stack:Stack",
    press="armature.envs.tasks.press:Press",
    switch="armature.envs.tasks.switch:Switch",
    turn="armature.envs.tasks.turn:Turn",
    open_drawer="armature.envs.tasks.open_drawer:OpenDrawer",
)
robot_actions.update(
    ee_delta="armature.envs.actions.end_effector:EndEffectorDelta",
    ee_delta_pose="armature.envs.actions.end_effector:EndEffectorDeltaPose",
    joint_delta="armature.envs.actions.joints:JointDelta",
)

quantities.update(  # objects are resized before they are moved, since the resized body is another one
    object_size="armature.envs.randomization:ObjectSize",
    object_position="armature.envs.randomization:ObjectPosition",
    object_rotation="armature.envs.randomization:ObjectRotation",
    object_mass="armature.envs.randomization:ObjectMass",
    object_friction="armature.envs.randomization:ObjectFriction",
    object_damping="armature.envs.randomization:ObjectDamping",
    object_color="armature.envs.randomization:ObjectColor",
    robot_color="armature.envs.randomization:RobotColor",
    workspace_color="armature.envs.randomization:WorkspaceColor",
    motor_strength="armature.envs.randomization:MotorStrength",
    joint_damping="armature.envs.randomization:JointDamping",
    gravity="armature.envs.randomization:Gravity",
    light_direction="armature.envs.randomization:LightDirection",
    light_intensity="armature.envs.randomization:LightIntensity",
    camera_position="armature.envs.randomization:CameraPosition",
    camera_rotation="armature.envs.randomization:CameraRotation",
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
