"""Unitree Z1, six joints. URDF from example-robot-data (BSD-3).

Torque and velocity limits are the manufacturer's, who states them in the URDF. Its jaw stays closed: PyBullet collides
with the convex hulls of meshes, which fill the mouth of this jaw, so that nothing can be held. It holds a rod
to push with.
"""

from armature.envs.robots.description import RobotDescription

Z1 = RobotDescription(
    urdf="example-robot-data/robots/z1_description/urdf/z1.urdf",
    package="example-robot-data",
    arm_joints=tuple(f"joint{i}" for i in range(1, 7)),
    ee_link="gripperStator",
    ee_offset=(0.19, 0.0, -0.012),
    rest_pose=(-0.0358, 1.8811, -1.9332, 1.5184, 0.0, 1.5365),
    ee_quaternion=(0.5, 0.5, -0.5, 0.5),
    forces=(30.0, 60.0, 30.0, 30.0, 30.0, 30.0),
    max_velocities=(3.1415,) * 6,
    rod=True,
    orientation_weight=0.1,
    distance=0.38,
    unsuited=("slide",),
    task_kwargs={"goal_size": 0.25},
)
