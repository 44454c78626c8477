"""UFACTORY xArm 7, seven joints, without a gripper. URDF from example-robot-data (BSD-3).

Torque and velocity limits are the manufacturer's, who states them in the URDF.
"""

from armature.envs.robots.description import RobotDescription

XARM7 = RobotDescription(
    urdf="example-robot-data/robots/xarm_description/urdf/xarm7.urdf",
    package="example-robot-data",
    arm_joints=tuple(f"joint{i}" for i in range(1, 8)),
    ee_link="link7",
    ee_offset=(0.0, 0.0, 0.12),
    rest_pose=(0.0, 0.0025, 0.0, 0.9317, 0.0, 0.9293, 0.0),
    ee_quaternion=(1.0, 0.0, 0.0, 0.0),
    forces=(50.0, 50.0, 30.0, 30.0, 30.0, 20.0, 20.0),
    max_velocities=(3.14,) * 7,
    rod=True,
    distance=0.45,
    unsuited=("slide",),
)
