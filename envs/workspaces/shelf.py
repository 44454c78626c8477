"""A shelf at the far side: the working surface is its lower board, a higher one begins 20 cm from the middle."""

from armature.envs.workspaces.base import Body, ViewConfig, Workspace

WOOD, DARK = [0.80, 0.66, 0.49], [0.66, 0.52, 0.37]
BOARD = 0.15
"""Metres; height of the upper board, from x = 0.2 to 0.45 and from y = -0.4 to 0.4."""

SHELF = Workspace(
    bodies=[
        Body(kind="box", size=[1.25, 0.84, 0.03], position=[-0.175, 0, -0.015], color=WOOD),
        Body(kind="box", size=[0.25, 0.8, 0.02], position=[0.325, 0, BOARD - 0.01], color=WOOD),
        *(Body(kind="box", size=[0.25, 0.02, 0.6], position=[0.325, y, -0.1], color=DARK) for y in (-0.41, 0.41)),
        Body(kind="box", size=[0.02, 0.84, 0.65], position=[0.46, 0, -0.075], color=DARK),
        Body(kind="box", size=[0.3, 0.3, 0.37], position=[-0.5, 0, -0.215], color=DARK),
        Body(kind="box", size=[6, 6, 0.2], position=[-0.25, 0, -0.5], color=[0.62, 0.66, 0.70]),
    ],
    low=[-0.3, -0.35, 0.01],
    high=[0.34, 0.35, 0.5],
    robot_offset=[0.08, 0, 0],  # so that it reaches the upper board
    area=[-0.2, 0.15, -0.25, 0.25],
    camera=ViewConfig(target=[-0.1, 0, 0.15], distance=1.5, yaw=0.35, pitch=-0.6),
)
