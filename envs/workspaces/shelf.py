"""A shelf: the working surface, a higher board behind it, and walls. Boards are 15 cm apart."""

from armature.envs.workspaces.base import Body, View, Workspace

WOOD, DARK = [0.80, 0.66, 0.49], [0.70, 0.56, 0.40]
BOARD = 0.15
"""Metres; height of the upper board, from x = 0.2 to 0.45 and from y = -0.4 to 0.4."""

SHELF = Workspace(
    bodies=[
        Body(kind="box", size=[1.25, 0.84, 0.03], position=[-0.175, 0, -0.015], color=WOOD),
        Body(kind="box", size=[0.25, 0.8, 0.02], position=[0.325, 0, BOARD - 0.01], color=WOOD),
        Body(kind="box", size=[0.02, 0.84, 1.0], position=[0.46, 0, -0.05], color=DARK),
        Body(kind="box", size=[0.27, 0.02, 1.0], position=[0.315, 0.41, -0.05], color=DARK),
        Body(kind="box", size=[0.27, 0.02, 1.0], position=[0.315, -0.41, -0.05], color=DARK),
        Body(kind="box", size=[0.3, 0.3, 0.51], position=[-0.6, 0, -0.285], color=DARK),
        Body(kind="box", size=[6, 6, 0.2], position=[-0.25, 0, -0.64], color=[0.62, 0.66, 0.70]),
    ],
    low=[-0.3, -0.35, 0.01],
    high=[0.36, 0.35, 0.5],
    camera=View(target=[-0.15, 0, 0.15], distance=1.6, yaw=35),
)
