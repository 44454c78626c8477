"""KUKA LBR iiwa 14 R820 with a gripper of two fingers; seven joints. SDF from PyBullet's data (zlib licence).

Torque and velocity limits are those of the manufacturer's data sheet ("LBR iiwa 7 R800, LBR iiwa 14 R820:
Specification", section 4.3.2). Each finger is a base that swings and a tip that turns back, so that tips stay parallel.
"""

from armature.envs.robots.description import Gripper, RobotDescription

DRIVEN = "base_left_finger_joint"
PASSIVE = ("left_base_tip_joint", "base_right_finger_joint", "right_base_tip_joint")

KUKA = RobotDescription(
    urdf="kuka_iiwa/kuka_with_gripper2.sdf",
    arm_joints=tuple(f"J{i}" for i in range(7)),
    ee_link="base_link",
    ee_offset=(0.0, 0.0217, 0.227),
    rest_pose=(0.0, 0.5948, 0.0, -1.5166, 0.0, 1.0302, 1.5708),
    ee_quaternion=(0.70710678, 0.70710678, 0.0, 0.0),
    forces=(320.0, 320.0, 176.0, 176.0, 110.0, 40.0, 40.0),
    max_velocities=(1.483, 1.483, 1.745, 1.308, 2.268, 2.356, 2.356),
    gripper=Gripper(
        joints=(DRIVEN, *PASSIVE),
        open=(-0.27, 0.27, 0.27, -0.27),
        closed=(0.025, -0.025, -0.025, 0.025),
        fingers=("left_finger_tip", "right_finger_tip"),
        max_width=0.08,
        force=6.0,
        friction=1.5,
        gears=tuple((DRIVEN, joint) for joint in PASSIVE),
        passive=PASSIVE,
    ),
    radius=0.015,
    distance=0.55,
    unsuited=("slide", "open_drawer"),  # its joints are slow
)
