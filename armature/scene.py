"""What a configuration says of bodies: the objects a task handles, distractors, clutter. Metres, kilograms, radians."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from armature.schema import Strict

Length = Annotated[float, Field(ge=-100, le=100)]
Point = Annotated[list[Length], Field(min_length=3, max_length=3)]
Color = Annotated[list[Annotated[float, Field(ge=0, le=1)]], Field(min_length=3, max_length=4)]
"""Red, green, blue, and perhaps opacity."""


def refuse(allowed: str, got: Any) -> PydanticCustomError:
    """Return the error that a validator raises: what is allowed, and what was given."""
    return PydanticCustomError("refused", "refused", {"allowed": allowed, "got": got})


def _whole_area(area: list[float]) -> list[float]:
    pairs = list(zip(area[::2], area[1::2], strict=False))
    if len(area) == 5 or any(low > high for low, high in pairs):
        raise refuse("[x0, x1, y0, y1] or [x0, x1, y0, y1, z0, z1] with x0 <= x1, y0 <= y1, z0 <= z1", area)
    return area


def _rising(count: list[int]) -> list[int]:
    if count[0] > count[1]:
        raise refuse("[least, most]", count)
    return count


def _as_list(size: Any) -> Any:
    return [size] if isinstance(size, (int, float)) and not isinstance(size, bool) else size


Area = Annotated[list[Length], Field(min_length=4, max_length=6), AfterValidator(_whole_area)]
"""x0, x1, y0, y1, and perhaps z0, z1: how far the underside is above the working surface, which it else lies on."""

_EXTENT = {"type": "number", "exclusiveMinimum": 0, "maximum": 10}
Size = Annotated[
    list[Annotated[float, Field(gt=0, le=10)]],
    Field(min_length=1, max_length=3),
    BeforeValidator(_as_list),
    WithJsonSchema({"anyOf": [_EXTENT, {"type": "array", "items": _EXTENT, "minItems": 1, "maxItems": 3}]}),
]


class FrictionConfig(Strict):
    """How a body resists motion along what it touches; that of a contact is the product of both bodies'."""

    lateral: float = Field(default=1.0, ge=0, le=100)
    """Coefficient of Coulomb friction."""
    rolling: float = Field(default=0.0, ge=0, le=10)
    """Metres; resistance to rolling, of use for spheres and cylinders."""
    spinning: float = Field(default=0.001, ge=0, le=10)
    """Metres; resistance to turning on the spot."""


class ShapeConfig(Strict):
    """What a body looks like to hands and eyes."""

    kind: str | None = Field(default=None, min_length=1, max_length=1000)
    """box, sphere, cylinder, the path of a URDF (your own or in PyBullet's data), or random_urdfs/NNN."""
    size: Size | None = None
    """Metres: edge or [x, y, z] of a box, diameter of a sphere, [diameter, height] of a cylinder. Factor for a URDF."""
    color: Color | None = None
    """[red, green, blue] or [red, green, blue, opacity], each from 0 to 1; null keeps a URDF's own."""
    friction: FrictionConfig | None = None
    """Friction; null keeps a URDF's own."""


class LooseConfig(ShapeConfig):
    """An object that can be moved, and where it starts."""

    mass: float | None = Field(default=None, gt=0, le=1000)
    """Kilograms; null keeps a URDF's own, and makes other shapes 0.2 kg."""
    area: Area | None = None
    """Where it is drawn: [x0, x1, y0, y1], perhaps with [..., z0, z1], the height of its underside; null is for the
    task to say."""
    rotation: Literal["none", "yaw"] | None = None
    """"yaw" turns it about the vertical by an angle drawn from the whole circle."""


class ObjectConfig(LooseConfig):
    """An object that a task handles. What is null is as the task has it."""

    goal_area: Area | None = None
    """Where its goal is drawn, as `area` is; null is for the task to say."""

    def over(self, default: ObjectConfig) -> ObjectConfig:
        """Return this, what it leaves open from a default; what that is made of only if the kind is the same."""
        if self.kind not in (None, default.kind):
            default = default.model_copy(update=dict.fromkeys(("size", "friction", "mass")))
        return default.model_copy(update={name: value for name, value in self if value is not None})


class DistractorConfig(ShapeConfig):
    """A body in the way that no touch moves: it stands still, or moves at constant speed."""

    area: Area | None = None
    """Where it stands, or where it bounces about: in as many directions as the area is wide in. Null is for the task
    to say."""
    ends: Annotated[list[Point], Field(min_length=2, max_length=2)] | None = None
    """[[x, y, z], [x, y, z]]: it goes to and fro between these points, in place of an area. They are where the middle
    of its underside is."""
    speed: float = Field(default=0.0, ge=0, le=2)
    """Metres per second; 0 for one that stands still."""
    observed: bool = False
    """Whether its position is part of the observation, as `distractor_position`."""

    @model_validator(mode="after")
    def _one_way(self) -> DistractorConfig:
        if self.ends and (self.area or not self.speed):
            raise refuse("ends with a speed above 0 and without an area", self.model_dump(exclude_none=True))
        return self


class ClutterConfig(Strict):
    """Loose objects that lie about, others in each episode."""

    count: Annotated[
        list[Annotated[int, Field(ge=0, le=32)]], Field(min_length=2, max_length=2), AfterValidator(_rising)
    ]
    """[least, most]: how many lie about; drawn for each episode."""
    objects: Annotated[list[LooseConfig], Field(min_length=1, max_length=32)]
    """What they are drawn from; if there are fewer than the most, they are repeated in turn."""


class SceneConfig(Strict):
    """The bodies that a configuration adds to a task."""

    task_objects: list[ObjectConfig] = []
    """What the task handles."""
    distractors: list[DistractorConfig] = []
    """What is in the way and cannot be moved."""
    clutter: ClutterConfig | None = None
    """What is in the way and can be moved."""
