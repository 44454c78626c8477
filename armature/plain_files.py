"""Reading what others have written: plain files only, and JSON without surprises.

A link could lead out of a folder, a pipe would be waited for, and JSON that is read leniently means one thing to who
checks it and another to who uses it.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from armature.errors import RunError

MAX_DEPTH = 64
"""Levels of objects and lists within each other; our own files have about ten."""

_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))
# A string that is never closed is one too, so that no text is scanned twice.
_NO_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[^\[\]{}"]+', re.DOTALL)


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading; raise `RunError` if it is missing, a link, or anything else than a plain file."""
    try:
        handle = os.open(path, _FLAGS)
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        if path.is_symlink():
            raise RunError(f"{path} is refused: it is a link.") from error
        raise RunError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise RunError(f"{path} is refused: it is no plain file.")
    return os.fdopen(handle, "rb")


def parse_json(data: bytes, where: str) -> Any:
    """Read strict JSON: no NaN, no number too large, no key twice, at most 64 levels; raise `RunError` otherwise.

    Args:
        data: the text, which the caller has limited in size.
        where: its origin, for messages.
    """
    try:
        text = data.decode()
        _refuse_depth(text)
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{where} is damaged: {error}.") from error


def _refuse_depth(text: str) -> None:
    """Raise `ValueError` if brackets stand too deep: whatever works through the values would be at a loss."""
    brackets = _NO_BRACKETS.sub("", text)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace("[]", "").replace("{}", "")
    if brackets:
        raise ValueError(f"its brackets stand more than {MAX_DEPTH} deep, or do not match")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a key stands there twice")
    return result
