"""What a configuration says of cameras whose pictures are observed. Metres and radians."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from armature.scene import Point, refuse
from armature.schema import Strict


def _near_to_far(depths: list[float]) -> list[float]:
    if depths[0] >= depths[1]:
        raise refuse("[near, far] with near < far", depths)
    return depths


Range = Annotated[
    list[Annotated[float, Field(ge=0, le=100)]], Field(min_length=2, max_length=2), AfterValidator(_near_to_far)
]
Kind = Literal["rgb", "depth", "segmentation", "point_cloud"]


class CameraConfig(Strict):
    """A camera. What is null depends on where it is: docs/environments.md has the defaults."""

    name: str = Field(default="camera", pattern=r"^[a-z][a-z0-9_]{0,39}$")
    """Name of its picture in the observation; a point cloud is NAME_points."""
    kinds: list[Kind] = Field(default=["rgb"], min_length=1, max_length=4)
    """What it shows, the channels of its picture in this order; a point cloud stands for itself."""
    width: int = Field(default=84, ge=8, le=1024)
    """Pixels."""
    height: int = Field(default=84, ge=8, le=1024)
    """Pixels."""
    attached: Literal["ee"] | None = None
    """"ee" for a camera on the hand, whose view moves with it; null for one that stands in the world."""
    target: Point | None = None
    """What it looks at: a point in the world; on the hand from the end effector, axes as the world's at rest."""
    distance: float | None = Field(default=None, ge=0.03, le=100)
    """Metres from the target."""
    yaw: float | None = Field(default=None, ge=-7, le=7)
    """Radians about the vertical: 0 looks along y, pi/2 against x, towards the robot."""
    pitch: float | None = Field(default=None, ge=-1.6, le=1.6)
    """Radians; negative looks down, -pi/2 straight down."""
    fov: float | None = Field(default=None, ge=0.1, le=2.5)
    """Radians; vertical angle of view."""
    depth_range: Range | None = None
    """Metres that depths of 0 and 255 stand for; a point cloud ends at the second one."""
    points: int = Field(default=512, ge=1, le=100_000)
    """Points of a point cloud."""

    @property
    def cloud_name(self) -> str:
        """Name of its point cloud."""
        return f"{self.name}_points"

    @property
    def pictures(self) -> list[str]:
        """Names of what it adds to an observation."""
        image = [self.name] if set(self.kinds) != {"point_cloud"} else []
        return [*image, self.cloud_name] if "point_cloud" in self.kinds else image
