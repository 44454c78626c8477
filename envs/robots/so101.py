"""SO-101, the small open arm of hobby servos; five joints and a jaw, one part of which moves.

URDF from example-robot-data (BSD-3). Its limits of torque and speed are placeholders (10, 10); those here are the data
sheet's of the Feetech STS3215 servo at 12 V: 30 kg cm stalled, 0.222 s for 60 degrees.
"""

from armature.envs.robots.description import Gripper, RobotDescription

SO101 = RobotDescription(
    urdf="example-robot-data/robots/so_arm_description/urdf/so101.urdf",
    package="example-robot-data",
    arm_joints=("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll"),
    ee_link="gripper_frame_link",
    ee_offset=(-0.02, 0.0, -0.008),
    rest_pose=(0.0, 0.0, 0.0, 1.5, 0.0),
    ee_quaternion=(0.7071, 0.7071, 0.0, 0.0),
    forces=(2.94,) * 5,
    max_velocities=(4.7,) * 5,
    gripper=Gripper(
        joints=("gripper",),
        open=(0.698,),
        closed=(-0.17,),
        fingers=("gripper_link", "moving_jaw_so101_v1_link"),
        max_width=0.06,
        force=1.0,
        friction=1.5,
    ),
    orientation_weight=0.1,
    distance=0.22,
)
