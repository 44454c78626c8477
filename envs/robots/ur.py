"""Universal Robots UR5 and UR10, six joints, without a gripper. URDFs from example-robot-data (BSD-3).

Torque and velocity limits are the manufacturer's, who states them in the URDFs; the speed is held at the 180 degrees a
second of the UR5's data sheet, and at 120 for the two large joints of the UR10.
"""

import math
from dataclasses import replace

from armature.envs.robots.description import RobotDescription

UR5 = RobotDescription(
    urdf="example-robot-data/robots/ur_description/urdf/ur5_robot.urdf",
    package="example-robot-data",
    arm_joints=(
        "shoulder_pan_joint",
        "shoulder_lift_joint",
        "elbow_joint",
        "wrist_1_joint",
        "wrist_2_joint",
        "wrist_3_joint",
    ),
    ee_link="tool0",
    ee_offset=(0.0, 0.0, 0.12),
    rest_pose=(-0.2201, -1.5303, 1.8185, -1.8591, -1.5708, -1.7909),
    ee_quaternion=(1.0, 0.0, 0.0, 0.0),
    forces=(150.0, 150.0, 150.0, 28.0, 28.0, 28.0),
    max_velocities=(math.pi,) * 6,
    rod=True,
    distance=0.5,
    unsuited=("slide",),
)
UR10 = replace(
    UR5,
    urdf="example-robot-data/robots/ur_description/urdf/ur10_robot.urdf",
    rest_pose=(-0.2364, -1.4222, 2.0163, -2.1649, -1.5708, -1.8072),
    forces=(330.0, 330.0, 150.0, 54.0, 54.0, 54.0),
    max_velocities=(2.09, 2.09, math.pi, math.pi, math.pi, math.pi),
    distance=0.7,
)
