"""Replay buffers as files: the filled part of any of SB3's, the goals and infos of hindsight included.

A buffer is a ring of rows, one a time step. It is written in blocks of rows, a file each, and a block that has not
changed since the checkpoint before the last is a link to that one's file: a checkpoint costs what is new, not what is
stored, and the two newest ones share nothing, so that damage to a file leaves one of them whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import DictReplayBuffer, NStepReplayBuffer, ReplayBuffer

from armature.arrays import Arrays, read_arrays
from armature.checkpoints import Earlier, read_json, write_json
from armature.demonstrations import DemonstrationBuffer, DemonstrationDictBuffer, DemonstrationHindsightBuffer
from armature.errors import RunError
from armature.hindsight import HindsightReplayBuffer
from armature.nested import named

BLOCK_BYTES = 4 << 20
"""Size that a block shall have about."""
FOLDER = "replay"
APPENDING = {
    *(ReplayBuffer, DictReplayBuffer, NStepReplayBuffer, HerReplayBuffer, HindsightReplayBuffer),
    *(DemonstrationBuffer, DemonstrationDictBuffer, DemonstrationHindsightBuffer),
}
"""Classes that change no row but those that they add, and those of the episodes at both ends of what is stored."""


@dataclass(frozen=True)
class _Written:
    """What a checkpoint holds of a buffer."""

    checkpoint: Path
    steps: int
    unsettled: int
    """The row from which on rows may have changed since."""
    rows: int
    infos: list[Any]
    """Names and types of the columns of infos, which may become fewer."""
    longest: int
    """Rows of the longest whole episode, if episodes matter."""


class ReplayFiles:
    """Writes the replay buffer of one run, again and again, and reads it."""

    def __init__(self) -> None:
        self._before_last: _Written | None = None
        self._last: _Written | None = None

    def earlier(self) -> Earlier | None:
        """Return the checkpoint that the next one may share files with."""
        return Earlier(self._before_last.checkpoint) if self._before_last else None

    def save(self, model: Any, draft: Path, earlier: Earlier | None) -> None:
        """Write the filled part of a model's replay buffer into a checkpoint that is being made."""
        buffer = model.replay_buffer
        (draft / FOLDER).mkdir()
        columns, infos = _columns(buffer), _info_columns(buffer)
        size, rows = _block_rows(columns), _rows(buffer)
        changed = self._changed(buffer, model.num_timesteps)
        for begin in range(0, rows, size):
            end = min(begin + size, rows)
            if changed[begin:end].any() or earlier is None or not earlier.link(f"{FOLDER}/{_block(begin)}", draft):
                parts = {name: column[begin:end] for name, column in {**columns, **infos}.items()}
                np.savez(draft / FOLDER / _block(begin), **parts)  # type: ignore[arg-type]
        facts: dict[str, Any] = {"rows": rows, "block": size, "pos": buffer.pos, "full": buffer.full}
        if isinstance(buffer, HerReplayBuffer):
            facts["episode_starts"] = buffer._current_ep_start.tolist()
        write_json(draft / FOLDER / "buffer.json", {**facts, **_shape(buffer), "infos": _info_kinds(buffer)})

    def saved(self, model: Any, checkpoint: Path) -> None:
        """Take note that what `save` wrote stands in a checkpoint now."""
        buffer = model.replay_buffer
        facts = _unsettled(buffer), _rows(buffer), _info_kinds(buffer), _longest_episode(buffer)
        self._before_last, self._last = self._last, _Written(checkpoint, model.num_timesteps, *facts)

    def load(self, model: Any, checkpoint: Path) -> None:
        """Fill a model's fresh replay buffer with what was written; raise `RunError` if it does not fit."""
        buffer, folder = model.replay_buffer, checkpoint / FOLDER
        facts = read_json(folder / "buffer.json")
        if not isinstance(facts, dict) or {key: facts.get(key) for key in _shape(buffer)} != _shape(buffer):
            raise RunError(
                f"{folder} is of another replay buffer: num_envs, buffer_size and replay_buffer must stay the same."
            )
        try:
            _fill(buffer, folder, facts)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RunError(f"{folder / 'buffer.json'} is damaged: {error}.") from error
        self.saved(model, checkpoint)

    def _changed(self, buffer: ReplayBuffer, steps: int) -> np.ndarray:
        """Return for each row of a buffer whether it may have changed since the checkpoint before the last."""
        before, size = self._before_last, buffer.buffer_size
        everything = np.ones(size, dtype=bool)
        if before is None or type(buffer) not in APPENDING or before.infos != _info_kinds(buffer):
            return everything
        # Hindsight forgets the whole episode that it begins to overwrite; and a buffer that saves memory keeps the last
        # observation in the row after the last one.
        ahead = 1 + max(before.longest, _longest_episode(buffer))
        count = (buffer.pos - before.unsettled) % size + ahead
        if (steps - before.steps) // buffer.n_envs + ahead >= size or count >= size:  # perhaps more than once around
            return everything
        changed = np.zeros(size, dtype=bool)
        changed[(before.unsettled + np.arange(count)) % size] = True
        changed[before.rows :] = True  # there was nothing yet
        return changed


def _fill(buffer: ReplayBuffer, folder: Path, facts: Mapping[str, Any]) -> None:
    rows, size = int(facts["rows"]), int(facts["block"])
    if not 0 <= rows <= buffer.buffer_size or size < 1:
        raise ValueError(f"{rows} rows in blocks of {size}")
    buffer.pos, buffer.full = int(facts["pos"]), bool(facts["full"])
    columns = _columns(buffer)
    if isinstance(buffer, HindsightReplayBuffer) and rows:
        buffer.infos.create((tuple(path), np.zeros(shape, dtype)) for path, dtype, shape in facts["infos"])
    columns |= _info_columns(buffer)
    for begin in range(0, rows, size):
        end = min(begin + size, rows)
        block = {name: column[begin:end] for name, column in columns.items()}
        for name, part in read_arrays(folder / _block(begin), block).items():
            block[name][:] = part
    if isinstance(buffer, HindsightReplayBuffer):
        buffer.recount()
    if isinstance(buffer, HerReplayBuffer):
        buffer._current_ep_start = np.array(facts["episode_starts"], dtype=np.int64).reshape(buffer.n_envs)


def _block(begin: int) -> str:
    return f"{begin:09d}.npz"


def _rows(buffer: ReplayBuffer) -> int:
    """Return how many rows are filled; one that saves memory keeps the last observation in the row after the last."""
    return buffer.buffer_size if buffer.full else buffer.pos + bool(buffer.optimize_memory_usage)


def _shape(buffer: ReplayBuffer) -> dict[str, Any]:
    return {"kind": type(buffer).__name__, "buffer_size": buffer.buffer_size, "n_envs": buffer.n_envs}


def _columns(buffer: ReplayBuffer) -> Arrays:
    """Return the arrays that have one row per time step, whatever the kind of buffer, by name."""
    found: dict[str, Any] = {}
    for name, value in vars(buffer).items():
        found |= named(name, value)
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, np.ndarray) and value.shape[:1] == (buffer.buffer_size,) and not value.dtype.hasobject
    }


def _info_columns(buffer: ReplayBuffer) -> Arrays:
    if not isinstance(buffer, HindsightReplayBuffer):
        return {}
    return {f"infos.{_flat(path)}": column for path, column in buffer.infos.columns.items()}


def _flat(path: Iterable[str]) -> str:
    """Return a path of keys as one name, another one for each path."""
    return ".".join(quote(key, safe="").replace(".", "%2E") for key in path)


def _info_kinds(buffer: ReplayBuffer) -> list[Any]:
    """Return path, type and shape of each column of infos, as JSON values."""
    if not isinstance(buffer, HindsightReplayBuffer):
        return []
    return [[list(path), column.dtype.str, list(column.shape[2:])] for path, column in buffer.infos.columns.items()]


def _block_rows(columns: Arrays) -> int:
    return max(1, BLOCK_BYTES // max(1, sum(column[0].nbytes for column in columns.values())))


def _unsettled(buffer: ReplayBuffer) -> int:
    """Return the first row that may still change: where the oldest open episode began, or the next row."""
    if not isinstance(buffer, HerReplayBuffer):
        return buffer.pos
    return int(buffer.pos - ((buffer.pos - buffer._current_ep_start) % buffer.buffer_size).max()) % buffer.buffer_size


def _longest_episode(buffer: ReplayBuffer) -> int:
    return int(buffer.ep_length.max()) if isinstance(buffer, HerReplayBuffer) else 0
