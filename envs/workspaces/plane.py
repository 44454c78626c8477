"""A floor at height zero: robot and objects stand on it, a thin mat marks where one works."""

from armature.envs.workspaces.base import Body, ViewConfig, Workspace

PLANE = Workspace(
    bodies=[
        Body(kind="box", size=[1.5, 1.2, 0.1], position=[-0.15, 0, -0.05], color=[0.93, 0.91, 0.88]),
        Body(kind="box", size=[6, 6, 0.2], position=[0, 0, -0.102], color=[0.62, 0.66, 0.70]),
    ],
    low=[-0.3, -0.35, 0.01],
    high=[0.25, 0.35, 0.45],
    camera=ViewConfig(target=[-0.25, 0, 0.22], pitch=-0.45),
)
