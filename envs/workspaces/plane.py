"""A floor at height zero: robot and objects stand on it."""

from armature.envs.workspaces.base import Body, View, Workspace

PLANE = Workspace(
    bodies=[Body(kind="box", size=[8, 8, 0.2], position=[0, 0, -0.1], color=[0.72, 0.75, 0.71])],
    low=[-0.3, -0.35, 0.01],
    high=[0.25, 0.35, 0.45],
    camera=View(target=[-0.25, 0, 0.22], pitch=-26),
)
