"""Observations are an array or a dict of arrays: the same done to either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def each(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Return `function(first, *others)`; for dicts, a dict of what it returns for the entries of each key."""
    if isinstance(first, Mapping):
        return {key: each(function, part, *(other[key] for other in others)) for key, part in first.items()}
    return function(first, *others)


def at(observations: Any, index: int | slice | None) -> Any:
    """Return the row or rows at an index; at None, a single observation as an array of one."""
    return each(lambda part: part[index], observations)


def named(name: str, value: Any) -> dict[str, Any]:
    """Return a value under a name, the entries of a dict under names of their own, `name.key`."""
    return {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, Mapping) else {name: value}
