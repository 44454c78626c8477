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
registry.workspaces.update(
    {name: f"armature.envs.workspaces.{name}:{name.upper()}" for name in ("table", "plane", "tray", "shelf")}
)
registry.tasks.update(
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
registry.robot_actions.update(
    ee_delta="armature.envs.actions.end_effector:EndEffectorDelta",
    ee_delta_pose="armature.envs.actions.end_effector:EndEffectorDeltaPose",
    ee_absolute="armature.envs.actions.end_effector:EndEffectorAbsolute",
    ee_absolute_pose="armature.envs.actions.end_effector:EndEffectorAbsolutePose",
    joint_delta="armature.envs.actions.joints:JointDelta",
    joint_absolute="armature.envs.actions.joints:JointAbsolute",
    joint_velocity="armature.envs.actions.joints:JointVelocity",
    joint_torque="armature.envs.actions.torque:JointTorque",
)

registry.quantities.update(  # objects are resized before they are moved, since the resized body is another one
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
    """Register the general id and a shorthand for each task that a robot claims; return them all."""

    def camel(name: str) -> str:
        return "".join(word.capitalize() for word in name.split("_"))

    ids: dict[str, dict[str, str]] = {GENERAL_ENV: {}}
    ids |= {
        f"{NAMESPACE}{camel(robot)}{camel(task)}-v1": {"robot": robot, "task": task}
        for robot in registry.robots
        for task in registry.tasks
        if registry.robots.find(robot).can(task)
    }
    for env_id, kwargs in ids.items():
        gymnasium.register(env_id, entry_point="armature.envs.robot_env:RobotEnv", kwargs=kwargs)
    return list(ids)


ENV_IDS = _register_ids()
"""Every id registered here."""
