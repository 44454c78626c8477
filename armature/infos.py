"""What infos say in numbers at every step, kept as columns: a reward of any step can need nothing else of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Path = tuple[str, ...]
"""Keys that lead to a number in an info, from the outside in."""
Columns = dict[Path, np.ndarray]
"""Numbers by path, (rows, environments) or (rows, environments, ...)."""


class Infos(Sequence[dict[str, Any]]):
    """Infos of n steps, as dicts like those that the environment made, or all at once.

    Args:
        columns: what the infos are taken from.
        rows: of each step, (n,).
        envs: of each step, (n,).
    """

    def __init__(self, columns: Columns, rows: np.ndarray, envs: np.ndarray) -> None:
        self._columns, self._rows, self._envs = columns, rows, envs

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        """Return the info of a step."""
        if isinstance(index, slice):
            return Infos(self._columns, self._rows[index], self._envs[index])
        info: dict[str, Any] = {}
        for (*parents, last), column in self._columns.items():
            place = info
            for parent in parents:
                place = place.setdefault(parent, {})
            place[last] = column[self._rows[index], self._envs[index]]
        return info

    def gather(self, name: str) -> dict[str, np.ndarray]:
        """Return the numbers in the dict `info[name]` of all steps, (n,) or (n, ...) by name."""
        found = {path[1]: column for path, column in self._columns.items() if path[0] == name and len(path) == 2}
        return {key: column[self._rows, self._envs] for key, column in found.items()}


class InfoTable:
    """The infos of a replay buffer: those numbers that stand in every one of them, under the same name and shape.

    Args:
        rows: time steps that there is room for.
        n_envs: number of environments.
    """

    def __init__(self, rows: int, n_envs: int) -> None:
        self.shape = (rows, n_envs)
        self.columns: Columns = {}
        self._begun = False

    def __setitem__(self, row: int, infos: Sequence[Mapping[str, Any]]) -> None:
        """Keep the infos of a time step, one for each environment."""
        if not self._begun:
            self.create((path, np.asarray(value)) for path, value in _numbers(infos[0]))
        for path, column in list(self.columns.items()):
            values = _values(infos, path)
            if values is None or values.shape != column.shape[1:]:
                del self.columns[path]
                continue
            if (dtype := np.result_type(column, values)) != column.dtype:  # such as 0 at first, 0.5 later
                column = self.columns[path] = column.astype(dtype)
            column[row] = values

    def __getitem__(self, index: tuple[np.ndarray, np.ndarray]) -> Infos:
        """Return the infos at some rows and environments."""
        return Infos(self.columns, *index)

    def create(self, like: Iterable[tuple[Path, np.ndarray]]) -> None:
        """Make columns of zeros for numbers of the given shape and type; no others will be kept."""
        self.columns = {path: np.zeros((*self.shape, *value.shape), value.dtype) for path, value in like}
        self._begun = True


def _numbers(info: Mapping[str, Any], parents: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield numbers and arrays of numbers by path."""
    for key, value in info.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, (*parents, key))
        elif np.asarray(value).dtype.kind in "biuf":
            yield (*parents, key), value


def _values(infos: Sequence[Any], path: Path) -> np.ndarray | None:
    """Return the numbers at a path of all infos; None unless each has one, and all of one shape."""
    try:
        for key in path:
            infos = [info[key] for info in infos]
        values = np.array(infos)
    except (KeyError, TypeError, ValueError):
        return None
    return values if values.dtype.kind in "biuf" else None
