"""SO-101, the small open arm of hobby servos; five joints. URDF from example-robot-data (BSD-3).

The URDF's limits of torque and speed are placeholders (10, 10); those here are the data sheet's of the Feetech STS3215
servo at 12 V: 30 kg cm stalled, 0.222 s for 60 degrees. Its jaw stays closed: PyBullet collides with the convex hulls
of meshes, which fill the mouth of this jaw, so that nothing can be held; it has a rod to push with. Five joints can
look straight down and turn about that axis; farther out the arm lets the orientation go, so that it gets there.
"""

from armature.envs.robots.description import RobotDescription

SO101 = RobotDescription(
    urdf="example-robot-data/robots/so_arm_description/urdf/so101.urdf",
    package="example-robot-data",
    arm_joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    ee_link="gripper_frame_link",
    ee_offset=(0.0, 0.0, 0.02),
    rest_pose=(0.045, -0.2726, 0.1182, 1.6581, -1.4772),
    ee_quaternion=(0.70710678, 0.70710678, 0.0, 0.0),
    forces=(2.94,) * 5,
    max_velocities=(4.7,) * 5,
    radius=0.008,
    rod=True,
    orientation_weight=0.03,
    distance=0.26,
    unsuited=("slide", "press", "switch", "open_drawer"),  # as they need more room than this arm has
    task_kwargs={"area": 0.1, "goal_size": 0.12},
)
