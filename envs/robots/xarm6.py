"""UFACTORY xArm 6 with its parallel gripper; six joints. URDF from PyBullet's data (zlib licence).

Torque and velocity limits are the manufacturer's, who states them in the URDF. The gripper's meshes have 54,000
triangles: its body and the inner bars, which touch nothing that the fingers do not, collide with nothing.
"""

from armature.envs.robots.description import Gripper, RobotDescription

SIDES = ("left", "right")

JOINTS = (
    "drive_joint",
    "left_finger_joint",
    "left_inner_knuckle_joint",
    "right_outer_knuckle_joint",
    "right_finger_joint",
    "right_inner_knuckle_joint",
)

XARM6 = RobotDescription(
    urdf="xarm/xarm6_with_gripper.urdf",
    arm_joints=tuple(f"joint{i}" for i in range(1, 7)),
    ee_link="xarm_gripper_base_link",
    ee_offset=(0.0, 0.0, 0.166),
    rest_pose=(0.0, -0.0649, -1.0201, 0.0, 1.085, 0.0),
    ee_quaternion=(1.0, 0.0, 0.0, 0.0),
    forces=(50.0, 50.0, 32.0, 32.0, 32.0, 20.0),
    max_velocities=(3.14,) * 6,
    gripper=Gripper(
        joints=JOINTS,
        # Further open the fingers swing more than they open.
        open=(0.17,) * 6,
        closed=(0.845,) * 6,
        fingers=("left_finger", "right_finger"),
        max_width=0.072,
        force=0.8,
        friction=1.5,
        gears=(
            (JOINTS[0], JOINTS[1]),
            (JOINTS[0], JOINTS[2]),
            (JOINTS[0], JOINTS[3]),
            (JOINTS[3], JOINTS[4]),
            (JOINTS[3], JOINTS[5]),
        ),
        passive=JOINTS[1:],
    ),
    ghosts=(
        "xarm_gripper_base_link",
        *(f"{side}_{bar}_knuckle" for side in SIDES for bar in ("inner", "outer")),
    ),
    radius=0.015,
    distance=0.45,
    unsuited=("slide",),
)
