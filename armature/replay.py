"""Replay buffers as arrays: the filled part of any of SB3's, the goals and infos of hindsight included."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.buffers import ReplayBuffer

from armature.arrays import Arrays, open_array, parse_array
from armature.checkpoints import read_json, write_json
from armature.errors import RunError
from armature.hindsight import HindsightReplayBuffer
from armature.infos import InfoTable
from armature.nested import named
from armature.plain_files import open_plain


def save_replay_buffer(buffer: ReplayBuffer, folder: Path) -> None:
    """Write the filled part of a replay buffer, one npy file an array."""
    folder.mkdir()
    # A buffer that saves memory keeps the last next observation in the row after the last one.
    rows = buffer.buffer_size if buffer.full else buffer.pos + bool(buffer.optimize_memory_usage)
    arrays = {name: array[:rows] for name, array in _buffer_arrays(buffer).items()}
    facts: dict[str, Any] = {"rows": rows, "pos": buffer.pos, "full": buffer.full, **_buffer_shape(buffer), "infos": []}
    if isinstance(buffer, HerReplayBuffer):
        facts["episode_starts"] = buffer._current_ep_start.tolist()
    if isinstance(buffer, HindsightReplayBuffer):
        facts["infos"] = list(buffer.infos.columns)
        arrays |= {f"infos.{number}": column[:rows] for number, column in enumerate(buffer.infos.columns.values())}
    for name, array in arrays.items():
        np.save(_array_file(folder, name), array, allow_pickle=False)
    write_json(folder / "buffer.json", facts)


def load_replay_buffer(buffer: ReplayBuffer, folder: Path) -> None:
    """Fill a fresh replay buffer with what `save_replay_buffer` wrote; raise `RunError` if it does not fit.

    With hindsight the last episode of each environment ends where it was cut: nobody can continue it.
    """
    facts = read_json(folder / "buffer.json")
    if not isinstance(facts, dict) or {key: facts.get(key) for key in _buffer_shape(buffer)} != _buffer_shape(buffer):
        raise RunError(
            f"{folder} is of another replay buffer: num_envs, buffer_size and replay_buffer must stay the same."
        )
    try:
        rows = int(facts["rows"])
        buffer.pos, buffer.full = int(facts["pos"]), bool(facts["full"])
        for name, array in _buffer_arrays(buffer).items():
            array[:rows] = open_array(_array_file(folder, name), (rows, *array.shape[1:]), array.dtype)
        if isinstance(buffer, HindsightReplayBuffer):
            buffer.recount()
            _restore_infos(buffer.infos, folder, facts["infos"], rows)
        if isinstance(buffer, HerReplayBuffer):
            buffer._current_ep_start = np.array(facts["episode_starts"], dtype=np.int64).reshape(buffer.n_envs)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # SB3 asks whether the episode goes on; it does not
                buffer.truncate_last_trajectory()
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{folder / 'buffer.json'} is damaged: {error}.") from error


def _buffer_shape(buffer: ReplayBuffer) -> dict[str, Any]:
    return {"kind": type(buffer).__name__, "buffer_size": buffer.buffer_size, "n_envs": buffer.n_envs}


def _buffer_arrays(buffer: ReplayBuffer) -> Arrays:
    """Return the arrays that have one row per time step, whatever the kind of buffer, by name."""
    found: dict[str, Any] = {}
    for name, value in vars(buffer).items():
        found |= named(name, value)
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, np.ndarray) and value.shape[:1] == (buffer.buffer_size,) and not value.dtype.hasobject
    }


def _array_file(folder: Path, name: str) -> Path:
    return folder / f"{quote(name, safe='')}.npy"


def _restore_infos(infos: InfoTable, folder: Path, paths: list[list[str]], rows: int) -> None:
    """Fill the columns of a fresh table, which begins with the first time step."""
    if not rows:
        return
    files = {tuple(path): _array_file(folder, f"infos.{number}") for number, path in enumerate(paths)}
    found = {path: _read_column(file, (rows, infos.shape[1])) for path, file in files.items()}
    infos.create((path, column[0, 0]) for path, column in found.items())
    for path, column in found.items():
        infos.columns[path][:rows] = column


def _read_column(file: Path, shape: tuple[int, int]) -> np.ndarray:
    with open_plain(file) as stream:
        column = parse_array(stream.read(), str(file))
    if column.shape[:2] != shape:
        raise RunError(f"{file} does not have a number for each step.")
    return column
