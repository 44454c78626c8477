"""What passes between a trainer and its worker processes at every step, in memory that all of them see."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.util import dict_to_obs, obs_space_info

_ALIGNMENT = 64
"""Bytes of a cache line: two processes that write side by side do not slow each other down."""


class SharedArrays:
    """Observations, actions, rewards and flags of `num_envs` environments in one block of shared memory.

    The block has no name in the file system, so nothing is left of it when its processes are gone, however they end.

    Args:
        num_envs: how many environments.
        observation_space: of each environment.
        action_space: of each environment.
        handle: file descriptor of the block; None makes a new one, and PRIVATE takes memory of this process alone.
    """

    PRIVATE = -1
    """The handle of memory that no other process shall see."""
    NO_SUCCESS = -1
    """Mark of an environment that does not tell of success."""

    def __init__(
        self,
        num_envs: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        handle: int | None = None,
    ) -> None:
        self._space = observation_space
        self._keys, shapes, dtypes = obs_space_info(observation_space)
        layout: dict[str, tuple[tuple[int, ...], Any]] = {
            "actions": ((num_envs, *(action_space.shape or ())), action_space.dtype),
            "rewards": ((num_envs,), np.float32),
            "dones": ((num_envs,), np.bool_),
            "truncated": ((num_envs,), np.bool_),
            "success": ((num_envs,), np.int8),
            "busy": ((2 * num_envs,), np.int64),
        }
        for number, key in enumerate(self._keys):
            layout[f"seen {number}"] = layout[f"last {number}"] = ((num_envs, *shapes[key]), dtypes[key])
        sizes = [_bytes(shape, dtype) for shape, dtype in layout.values()]
        self.handle = _new_block(sum(sizes)) if handle is None else handle
        block = mmap.mmap(self.handle, sum(sizes))
        starts = np.cumsum([0, *sizes]).tolist()
        arrays = {
            name: np.ndarray(shape, dtype, block, start)
            for (name, (shape, dtype)), start in zip(layout.items(), starts, strict=False)
        }
        self.actions, self.rewards, self.dones = arrays["actions"], arrays["rewards"], arrays["dones"]
        self.truncated, self.success = arrays["truncated"], arrays["success"]
        self.busy = memoryview(arrays["busy"])  # which is written to in a third of the time
        """What a group of environments is at: from twice the number of its first one on, a number and an action;
        the number is -1 when it is at none."""
        self._seen = {key: arrays[f"seen {number}"] for number, key in enumerate(self._keys)}
        self._last = {key: arrays[f"last {number}"] for number, key in enumerate(self._keys)}

    def see(self, which: slice, observations: Sequence[Any]) -> None:
        """Write what some environments show."""
        for key, column in self._seen.items():
            parts = observations if key is None else [observation[key] for observation in observations]
            if column.ndim > 1 and np.shape(parts[0]) == column.shape[1:]:  # then in a fraction of the time
                np.concatenate(parts, out=column[which].reshape(-1, *column.shape[2:]), casting="unsafe")
            else:
                column[which] = parts

    def see_one(self, index: int, observation: Any) -> None:
        """Write what one environment shows."""
        for key, column in self._seen.items():
            column[index] = observation if key is None else observation[key]

    def end(self, index: int, observation: Any) -> None:
        """Write the last observation of an environment's episode."""
        for key, column in self._last.items():
            column[index] = observation if key is None else observation[key]

    def seen(self) -> Any:
        """Return a copy of what all environments show."""
        if self._keys == [None]:  # dict_to_obs would think for longer than this takes
            return next(iter(self._seen.values())).copy()
        return dict_to_obs(self._space, {key: part.copy() for key, part in self._seen.items()})

    def ended_with(self, index: int) -> Any:
        """Return a copy of the last observation of the episode that an environment has ended."""
        return dict_to_obs(self._space, {key: part[index].copy() for key, part in self._last.items()})

    def close(self) -> None:
        """Close the handle, if there is one; the memory itself is freed with the last array."""
        if self.handle != self.PRIVATE:
            os.close(self.handle)


def _bytes(shape: tuple[int, ...], dtype: Any) -> int:
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _new_block(size: int) -> int:
    """Return the descriptor of a file of so many zeros that exists in memory only, where the system can do that."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("armature")
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle
