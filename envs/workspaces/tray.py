"""A tray with slanting walls of 12 cm on a table; objects lie inside. Mesh from PyBullet's data."""

from armature.envs.workspaces.base import Body, ViewConfig, Workspace

BOTTOM = 0.015
"""Metres from the tray's frame up to the surface of its bottom."""

TRAY = Workspace(
    bodies=[
        Body(kind="tray/traybox.urdf", position=[0, 0, -BOTTOM]),
        Body(kind="box", size=[1.3, 0.9, 0.4], position=[-0.25, 0, -0.2 - BOTTOM], color=[0.93, 0.91, 0.88]),
        Body(kind="box", size=[6, 6, 0.2], position=[-0.25, 0, -0.5 - BOTTOM], color=[0.62, 0.66, 0.70]),
    ],
    # Inside the walls, which lean outwards.
    low=[-0.2, -0.2, 0.01],
    high=[0.2, 0.2, 0.45],
    area=[-0.15, 0.15, -0.15, 0.15],
    camera=ViewConfig(pitch=-0.55),
)
