"""The buffer that an on-policy update learns from, and batches of tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from armature.nested import each

Batch = dict[str, Any]
"""Tensors by name, first axis the steps; `obs` and `next_obs` are dicts of tensors for Dict observations."""


class UpdateBuffer:
    """Columns of equal length, appended trajectory by trajectory and read as shuffled minibatches."""

    def __init__(self) -> None:
        self._parts: list[Mapping[str, Any]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, length: int, columns: Mapping[str, Any]) -> None:
        """Add `length` rows. Raises `ValueError` if a column has another length, or the columns are not the same."""
        for name, column in columns.items():
            if _length(column) != length:
                raise ValueError(f"column {name!r} has {_length(column)} rows, and the trajectory has {length} steps")
        if self._parts and set(columns) != set(self._parts[0]):
            raise ValueError(f"columns are {sorted(columns)}, and those before were {sorted(self._parts[0])}")
        self._parts.append(columns)
        self._length += length

    def clear(self) -> None:
        """Forget everything."""
        self._parts, self._length = [], 0

    def columns(self) -> dict[str, Any]:
        """Return all rows, in the order in which they came."""
        names = self._parts[0] if self._parts else {}
        return {name: each(_joined, *[part[name] for part in self._parts]) for name in names}

    def minibatches(self, batch_size: int, device: torch.device) -> Iterator[Batch]:
        """Yield all rows once, in random order, in batches of at least `batch_size` rows (if there are as many).

        Advantages have mean 0 and standard deviation 1 over the buffer.
        """
        columns = self.columns()
        if "advantage" in columns and self._length > 1:
            advantage = columns["advantage"]
            columns["advantage"] = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        for rows in np.array_split(np.random.permutation(self._length), max(1, self._length // batch_size)):
            yield as_batch(columns, device, rows)


def as_batch(columns: Mapping[str, Any], device: torch.device, rows: Any = slice(None)) -> Batch:
    """Return rows of columns as tensors."""
    return {
        name: each(lambda part: torch.as_tensor(part[rows], device=device), column) for name, column in columns.items()
    }


def _length(column: Any) -> int:
    return len(next(iter(column.values())) if isinstance(column, Mapping) else column)


def _joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts)
