"""Robots of the user's own: a .json file that holds the fields of a description, beside the URDF it names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from armature import jsonc, schema
from armature.envs.robots.description import RobotDescription
from armature.errors import ConfigError

_FIELDS = TypeAdapter(RobotDescription)


def read_robot(file: Path) -> RobotDescription:
    """Return the description in a file; its `urdf` is relative to the file. Raises `ConfigError` for what is wrong.

    The file is data: nothing in it is imported. The URDF is read by PyBullet alone.
    """
    file = file.expanduser()
    values = jsonc.read(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {schema.short(values)}; a robot is an object: {{ ... }}.")
    values.pop("$schema", None)
    try:
        description = _FIELDS.validate_json(json.dumps(values))
    except ValidationError as error:
        raise ConfigError(schema.explain(_FIELDS, error, {"file": file})) from None
    urdf = file.parent / description.urdf
    if not urdf.is_file():
        raise ConfigError(f"{file}: urdf is {description.urdf!r}, and there is no file {urdf.resolve()}.")
    return replace(description, urdf=str(urdf.resolve()))
