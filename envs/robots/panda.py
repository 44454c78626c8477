"""Franka Emika Panda with its two-finger hand; seven joints. URDF from PyBullet's data (Apache-2.0).

Torque and velocity limits are those of the manufacturer's data sheet, the force of the fingers is the URDF's.
"""

from armature.envs.robots.description import Gripper, RobotDescription

PANDA = RobotDescription(
    urdf="franka_panda/panda.urdf",
    arm_joints=tuple(f"panda_joint{i}" for i in range(1, 8)),
    ee_link="panda_grasptarget",
    rest_pose=(0.0, 0.41, 0.0, -1.85, 0.0, 2.26, 0.79),
    ee_quaternion=(1.0, 0.0, 0.0, 0.0),
    forces=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
    max_velocities=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    gripper=Gripper(
        joints=("panda_finger_joint1", "panda_finger_joint2"),
        open=(0.04, 0.04),
        closed=(0.0, 0.0),
        fingers=("panda_leftfinger", "panda_rightfinger"),
        max_width=0.08,
        force=20.0,
        friction=1.5,
        gears=(("panda_finger_joint1", "panda_finger_joint2"),),
    ),
)
