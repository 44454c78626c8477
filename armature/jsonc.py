"""JSON with comments, as commentjson reads it: `//` and `#` comments, and a comma may follow the last item.

The grammar is commentjson's own parser. Its `loads` is not used: it rebuilds the text before reading it, which takes
gigabytes for a list of some ten thousand numbers, loses line and column of an error, and keeps the last of two equal
keys without a word.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from armature.errors import ConfigError

MAX_BYTES = 1_000_000
"""Size of a file that is read at all."""
MAX_DEPTH = 32
"""Levels of objects and lists within each other."""

_HINTS = {
    "NaN": "NaN is no JSON number.",
    "Infinity": "Infinity is no JSON number.",
    "-Infinity": "Infinity is no JSON number.",
    "True": "Write true.",
    "False": "Write false.",
    "None": "Write null.",
    "/*": "Comments begin with // or #.",
    "'": "Strings stand in double quotes.",
    '"': "The string is not closed on its line.",
}


def read(path: Path) -> Any:
    """Read a file; raise `ConfigError` with line and column where it is not JSON with comments."""
    return parse(_text(path), str(path))


def parse(text: str, where: str) -> Any:
    """Read JSON with comments; `where` names its origin in a `ConfigError`."""
    # Here, since a run without a config file needs neither.
    from commentjson.commentjson import parser
    from lark.exceptions import UnexpectedInput

    try:
        tree = parser.parse(text)
    except UnexpectedInput as error:
        raise ConfigError(f"{where}, line {error.line}, column {error.column}: {_unexpected(error, text)}") from None
    return _value(tree, where, MAX_DEPTH)


def parse_value(text: str) -> Any:
    """Read a flag's value as JSON; raise `ValueError` if it is none."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except RecursionError:
        raise ValueError(f"more than {MAX_DEPTH} levels of brackets") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_BYTES} bytes; that is no configuration.")
    try:
        return data.decode("utf-8-sig")  # Windows editors put a byte order mark in front
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text (byte {error.start} is {data[error.start]:#04x}).") from None


def _unexpected(error: Any, text: str) -> str:
    """Say what lark stumbled over: a token in the wrong place, or characters that are no token."""
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        return "the text ends too early; close every bracket."
    if token is not None:
        hint = "" if token.type in ("RBRACE", "RSQB") else "Is a comma or a colon missing before it?"
        return f"unexpected {str(token)[:40]}. {hint}".strip()
    word = re.compile(r"-?[A-Za-z]+|/\*|.", re.DOTALL).match(text, error.pos_in_stream)
    found = word.group()[:40] if word else ""
    return f"unexpected {found}. {_HINTS.get(found, '')}".strip()


def _value(node: Any, where: str, depth: int) -> Any:
    """Return the Python value of a node of commentjson's tree."""
    if depth < 0:
        raise ConfigError(f"{where} has more than {MAX_DEPTH} levels of brackets; that is no configuration.")
    if node.data == "array":
        return [_value(child, where, depth - 1) for child in node.children if hasattr(child, "data")]
    if node.data == "object":
        result: dict[str, Any] = {}
        for name, value in (child.children for child in node.children if hasattr(child, "data")):
            key = _leaf(name, where)
            if key in result:
                raise _at(name.children[0], where, f"the key {key!r} stands here a second time; remove one")
            result[key] = _value(value, where, depth - 1)
        return result
    return _leaf(node, where)


def _leaf(node: Any, where: str) -> Any:
    if not node.children:
        return {"true": True, "false": False, "null": None}[node.data]
    token = node.children[0]
    try:
        return json.loads(token)  # stricter than the grammar, which lets 01, +1 and "\x" through
    except ValueError as error:
        raise _at(token, where, f"{str(token)[:40]} is no JSON {node.data} ({str(error).partition(':')[0]})") from None


def _at(token: Any, where: str, what: str) -> ConfigError:
    return ConfigError(f"{where}, line {token.line}, column {token.column}: {what}.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key stands there twice")
    return result
