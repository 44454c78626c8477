"""Unitree Z1, six joints. URDF from example-robot-data (BSD-3).

Torque and velocity limits are the manufacturer's, who states them in the URDF. Its jaw stays closed: PyBullet collides
with the convex hulls of meshes, which fill the mouth of this jaw, so that nothing can be held. It pushes with it.
"""

from armature.envs.robots.description import RobotDescription

Z1 = RobotDescription(
    urdf="example-robot-data/robots/z1_description/urdf/z1.urdf",
    package="example-robot-data",
    arm_joints=tuple(f"joint{i}" for i in range(1, 7)),
    ee_link="gripperStator",
    ee_offset=(0.138, 0.0, -0.012),
    rest_pose=(0.0428, 1.9415, -1.8125, 1.4418, 0.0, 1.6136),
    ee_quaternion=(0.5, 0.5, -0.5, 0.5),
    forces=(30.0, 60.0, 30.0, 30.0, 30.0, 30.0),
    max_velocities=(3.1415,) * 6,
    radius=0.02,
    orientation_weight=0.1,
    distance=0.38,
    task_kwargs={"goal_size": 0.25},
)
