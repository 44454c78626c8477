"""Unitree Z1 with its jaw, one part of which moves; six joints. URDF from example-robot-data (BSD-3).

Torque and velocity limits are the manufacturer's, who states them in the URDF.
"""

from armature.envs.robots.description import Gripper, RobotDescription

Z1 = RobotDescription(
    urdf="example-robot-data/robots/z1_description/urdf/z1.urdf",
    package="example-robot-data",
    arm_joints=tuple(f"joint{i}" for i in range(1, 7)),
    ee_link="gripperStator",
    ee_offset=(0.138, 0.0, 0.015),
    rest_pose=(0.0, 1.0, -1.0, 0.0, 0.0, 0.0),
    ee_quaternion=(0.5, 0.5, -0.5, 0.5),
    forces=(30.0, 60.0, 30.0, 30.0, 30.0, 30.0),
    max_velocities=(3.1415,) * 6,
    gripper=Gripper(
        joints=("jointGripper",),
        open=(-0.942,),
        closed=(0.0,),
        fingers=("gripperStator", "gripperMover"),
        max_width=0.066,
        force=4.0,
        friction=1.5,
    ),
    radius=0.02,
    orientation_weight=0.1,
    distance=0.4,
)
