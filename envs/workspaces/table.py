"""A table top at height zero, the robot standing on its edge."""

from armature.envs.workspaces.base import Body, Workspace

TABLE = Workspace(
    bodies=[
        Body(kind="box", size=[1.1, 0.8, 0.4], position=[-0.25, 0, -0.2], color=[0.93, 0.91, 0.88]),
        Body(kind="box", size=[6, 6, 0.2], position=[-0.25, 0, -0.5], color=[0.62, 0.66, 0.70]),
    ],
    low=[-0.3, -0.35, 0.01],
    high=[0.25, 0.35, 0.45],
)
