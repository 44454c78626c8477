"""The texts that follow from a pydantic model of keys: allowed values, errors, the table of keys, the JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from armature.errors import ConfigError, closest
from armature.old_keys import answer

Schema = dict[str, Any]
Source = type[BaseModel] | TypeAdapter[Any]

_NOUNS = {
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "string": "text",
    "null": "null",
    "object": "an object",
}
_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$": "letters, digits, dots, dashes and underscores",
    r"^(cpu|auto|cuda(:\d{1,2})?)$": '"cpu", "auto", "cuda" or "cuda:N"',
}
BEGIN, END = "<!-- keys: written by python -m armature.config -->", "<!-- end of keys -->"
"""Markers around the table in configs/README.md."""


class Strict(BaseModel):
    """Base of the models of what people write: no conversions, no unknown keys, docstrings as descriptions."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


Model = TypeVar("Model", bound=Strict)


def parse(model: type[Model], values: Any, file: Path | None = None) -> Model:
    """Return a model of values; raise `ConfigError` that names key, value, what is allowed, and the file if any."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(explain(model, error, {"file": file})) from None


@dataclass(frozen=True)
class Key:
    """A key as people meet it."""

    name: str
    """Dotted."""
    section: str
    schema: Schema
    allowed: str
    default: Any
    meaning: str


@cache
def keys(model: type[BaseModel]) -> dict[str, Key]:
    """Return the keys of a model by dotted name, those of nested models in place of the objects that hold them."""
    return {key.name: key for key in _keys(_inlined(model))}


def _keys(schema: Schema, prefix: str = "") -> Iterator[Key]:
    for name, field in schema["properties"].items():
        if "properties" in field:
            yield from _keys(field, f"{prefix}{name}.")
        else:
            yield Key(
                f"{prefix}{name}", field["section"], field, allowed(field), field.get("default"), field["description"]
            )


@cache
def _inlined(model: Source) -> Schema:
    """Return the JSON Schema of a model with nested models in their places."""
    schema = model.json_schema() if isinstance(model, TypeAdapter) else model.model_json_schema()
    return _resolved(schema, schema.pop("$defs", {}))


def _resolved(value: Any, definitions: Schema) -> Any:
    """Return a part of a schema with definitions in place of the references to them."""
    if isinstance(value, list):
        return [_resolved(item, definitions) for item in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        value = {**definitions[value["$ref"].rpartition("/")[2]], **value}
    return {name: _resolved(item, definitions) for name, item in value.items() if name != "$ref"}


def json_schema(model: type[BaseModel]) -> str:
    """Return the JSON Schema of a model as the text of a file for editors."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    schema["properties"] = {"$schema": {"type": "string"}, **schema["properties"]}
    return json.dumps(schema, indent=2) + "\n"


def allowed(schema: Schema) -> str:
    """Say in words what a schema allows."""
    if "anyOf" in schema:
        return " or ".join(allowed(option) for option in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(json.dumps(value) for value in schema["enum"])
    if "pattern" in schema:
        return _PATTERNS.get(schema["pattern"], f"text like {schema['pattern']}")
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            items = [allowed(item) for item in schema["prefixItems"]]
            return f"a list of {len(items)} items ({items[0]} each)"
        count = (
            f" of {schema['minItems']} to {schema['maxItems']} items" if {"minItems", "maxItems"} <= set(schema) else ""
        )
        return f"a list{count} ({allowed(schema.get('items') or {})} each)"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"an object ({allowed(schema['additionalProperties'])} each)"
    return f"{_NOUNS.get(schema.get('type', ''), 'any value')}{_bounds(schema)}"


def _bounds(schema: Schema) -> str:
    """Say in words which numbers a schema allows, with a space before; nothing if it allows all."""
    if "minimum" in schema and "maximum" in schema:
        return f" from {_number(schema['minimum'])} to {_number(schema['maximum'])}"
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    parts = [f"{text} {_number(schema[name])}" for name, text in words.items() if name in schema]
    return f" {' and '.join(parts)}" if parts else ""


def _number(value: float) -> str:
    return f"{int(value):,}" if value == int(value) else f"{value:g}"


def explain(model: Source, error: ValidationError, context: Mapping[str, Any]) -> str:
    """Return one line for each problem: the key, what was given, what is allowed.

    Args:
        model: the model that refused.
        error: what it said.
        context: `file`, the path that was read or None, and `flags`, the dotted keys given on the command line.
    """
    # Where a key has several types, each of them has something to say; one line is enough.
    lines = dict.fromkeys(_problem(_inlined(model), problem, context) for problem in error.errors(include_url=False))
    return "\n".join(lines) if len(lines) == 1 else "\n  ".join([f"{len(lines)} problems:", *lines])


def _problem(schema: Schema, problem: Any, context: Mapping[str, Any]) -> str:
    details = problem.get("ctx", {}) if problem["type"] == "refused" else {}
    path = (*problem["loc"], *details.get("path", ()))
    known, here = schema, _place(".".join(str(step) for step in path), context)
    unknown = problem["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    for step in problem["loc"][: -1 if unknown else None]:
        known = _below(known, step)
    if unknown:
        names = {name for option in known.get("anyOf", [known]) for name in option.get("properties", {})}
        if old := answer(str(path[-1])):
            return f"{here} {old}"
        return f"{here}: unknown key{closest(path[-1], names) or '; known: ' + ', '.join(names) + '.'}"
    if problem["type"] == "missing":
        return f"{here} is missing; allowed: {allowed(known)}."
    got = details.get("got", problem["input"])
    return f"{here} is {short(got)}; allowed: {details.get('allowed') or allowed(known)}.{_hint(known, got)}"


def _place(dotted: str, context: Mapping[str, Any]) -> str:
    if any(dotted == flag or dotted.startswith(f"{flag}.") for flag in context.get("flags", ())):
        return f"--{dotted}"
    return f"{context['file']}: {dotted}" if context.get("file") else dotted


def _below(schema: Schema, step: str | int) -> Schema:
    """Return the schema of an item or key of what a schema describes."""
    for option in schema.get("anyOf", [schema]):
        first = option.get("prefixItems", [None])[0]
        below = option.get("properties", {}).get(step)
        for inner in (below, first, option.get("items"), option.get("additionalProperties")):
            if isinstance(inner, dict):
                return inner
    return {}


def _hint(schema: Schema, got: Any) -> str:
    options = schema.get("anyOf", [schema])
    kinds = {option.get("type") for option in options}
    longest = max(option.get("maxLength", 0) for option in options)
    if isinstance(got, str) and "array" in kinds:
        return f" Write {json.dumps([got])}."
    if isinstance(got, str) and kinds & {"integer", "number", "boolean"} and _is_json(got):
        return " Write it without quotes."
    if isinstance(got, str) and longest:
        return f" It has 1 to {longest:,} characters."
    if isinstance(got, float) and "integer" in kinds and got.is_integer():
        return f" Write {int(got)}."
    return ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def short(value: Any, length: int = 60) -> str:
    """Return a value as JSON, cut to a length."""
    try:
        text = json.dumps(value, default=repr)
    except ValueError:  # an integer of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= length else f"{text[: length - 3]}..."


def with_table(text: str, model: type[BaseModel]) -> str:
    """Return a text with the table of keys between its markers."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n\n{_table(model)}\n{END}{rest.partition(END)[2]}"


def _table(model: type[BaseModel]) -> str:
    lines = []
    for section, members in groupby(keys(model).values(), key=lambda key: key.section):
        lines += [f"### {section}", "", "| key | allowed | default | meaning |", "| --- | --- | --- | --- |"]
        lines += [f"| `{key.name}` | {key.allowed} | `{short(key.default)}` | {key.meaning} |" for key in members]
        lines.append("")
    return "\n".join(lines)
