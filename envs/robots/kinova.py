"""Kinova Jaco 2 (j2s6s200), six joints. URDF from example-robot-data (BSD-3), whose fingers do not move: no gripper.

Torque and velocity limits are the manufacturer's, who states them in the URDF. It is
the slowest arm here: what has to be pushed does not arrive within an episode.
"""

from armature.envs.robots.description import RobotDescription

KINOVA = RobotDescription(
    urdf="example-robot-data/robots/kinova_description/robots/kinova.urdf",
    package="example-robot-data",
    arm_joints=tuple(f"j2s6s200_joint_{i}" for i in range(1, 7)),
    ee_link="j2s6s200_link_6",
    ee_offset=(0.0, 0.0, -0.22),
    rest_pose=(-1.549, 3.558, 1.5676, 0.0, 4.2928, -3.1198),
    ee_quaternion=(0.0, 0.0, 0.0, 1.0),
    forces=(40.0, 80.0, 40.0, 20.0, 20.0, 20.0),
    max_velocities=(0.628, 0.628, 0.628, 0.838, 0.838, 0.838),
    rod=True,
    distance=0.45,
    unsuited=("push", "slide"),
)
