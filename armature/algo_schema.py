"""The JSON Schema of an algorithm's hyperparameters: what --describe-algo NAME --json prints, for editors and forms."""

from __future__ import annotations

import ast
import inspect
import json
import math
import re
from collections.abc import Sequence
from typing import Any

from armature.checks import installed_row
from armature.combos import Combo
from armature.hyperparameters import RANGES, Hyperparameter, hyperparameters, takes_others
from armature.registry import resolve

Schema = dict[str, Any]

_NUMBER: Schema = {"type": "number"}
_TYPES: dict[str, Schema] = {
    **{"bool": {"type": "boolean"}, "int": {"type": "integer"}, "float": _NUMBER, "str": {"type": "string"}},
    **{"list": {"type": "array"}, "dict": {"type": "object"}, "null": {"type": "null"}, "class": {"type": "string"}},
}


def algo_schema(name: str, framework: str = "pytorch") -> str:
    """Return the JSON Schema of an algorithm's `algo_kwargs` as text. Imports its class."""
    row = installed_row(name, framework)
    cls = resolve(row.algo_class)
    items = hyperparameters(cls).values()
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"algo_kwargs of {name} ({framework})",
        "type": "object",
        "properties": {item.name: _property(item, row) for item in items},
        "required": [item.name for item in items if _default(item, row) is inspect.Parameter.empty],
        "additionalProperties": takes_others(cls),
    }
    return json.dumps(schema, indent=2)


def _default(item: Hyperparameter, row: Combo) -> Any:
    return row.kwargs.get(item.name, item.default)


def _property(item: Hyperparameter, row: Combo) -> Schema:
    found: Schema = {"description": item.meaning} if item.meaning else {}
    options = [_option(word, item.name) for word in item.type.split(" | ")]
    if all(options):  # a type that JSON has no word for takes anything
        found |= options[0] if len(options) == 1 else {"anyOf": options}
    default = _default(item, row)
    finite = not isinstance(default, float) or math.isfinite(default)
    if isinstance(default, (str, int, float, list, dict, type(None))) and finite:
        found["default"] = default
    return found


def _option(word: str, name: str) -> Schema:
    """Return the schema of one of the types that a hyperparameter may have."""
    limits: Schema = dict(zip(("minimum", "maximum"), RANGES.get(name, ()), strict=False))
    number = {**_NUMBER, **limits}
    if word in ("int", "float"):
        return {**_TYPES[word], **limits}
    if word == "schedule":
        return _object("schedule", ["linear"], {"start": number, "end": number})
    if word == "noise":
        return _object("type", ["normal", "ornstein-uhlenbeck"], {"std": {**_NUMBER, "minimum": 0}})
    if re.fullmatch(r"'.*'", word):
        return {"const": ast.literal_eval(word)}
    return {"type": "array"} if word.startswith("[") else _TYPES.get(word, {})


def _object(kind: str, kinds: Sequence[str], numbers: Schema) -> Schema:
    properties = {kind: {"enum": list(kinds)}, **numbers}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
