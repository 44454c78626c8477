"""`HindsightReplayBuffer`: SB3's hindsight replay at a cost that does not grow with what is stored.

SB3's buffer lists all transitions that can be replayed for every batch, asks an environment for rewards, perhaps in
another process, and looks at a dozen distant places in memory for every transition. Here

- the transitions of an environment that can be replayed are the steps of one stretch of the ring, from the oldest whole
  episode to the last one that has ended: to know its length is enough to draw from it;
- rewards are computed in this process, for all relabelled transitions at once;
- the numbers of a transition lie side by side, and achieved goals once more by themselves: new goals are read there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.type_aliases import DictReplayBufferSamples
from stable_baselines3.common.vec_env import VecEnv, VecNormalize
from stable_baselines3.her.goal_selection_strategy import GoalSelectionStrategy

from armature.errors import PluginError
from armature.infos import InfoTable
from armature.journaled_vec_env import JournaledVecEnv

Batch = dict[str, np.ndarray]
"""By the name of a field, (n, ...)."""

_OBSERVATIONS = ("observations", "next_observations")
_NUMBERS = ("actions", "rewards", "dones", "timeouts", "ep_start", "ep_length")
_ACHIEVED = "next_observations.achieved_goal"


class HindsightReplayBuffer(HerReplayBuffer):
    """Hindsight experience replay (Andrychowicz et al., 2017): missed goals are learned from as if they had been meant.

    What it returns is distributed as what SB3's `HerReplayBuffer` returns, and its arrays have the same names and
    shapes. Of infos (`copy_info_dict`) it keeps the numbers that stand in every one.

    Args:
        buffer_size: most transitions, of all environments together.
        observation_space: with the keys observation, achieved_goal and desired_goal.
        action_space: of the environments.
        env: the environments, which have a vectorised `compute_reward`.
        device: where batches go.
        n_envs: number of environments.
        kwargs: as for `HerReplayBuffer`.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        env: VecEnv,
        device: torch.device | str = "auto",
        n_envs: int = 1,
        **kwargs: Any,
    ) -> None:
        # Of one time step: SB3 would make a million dicts for infos.
        super().__init__(n_envs, observation_space, action_space, env, device, n_envs, **kwargs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.infos: Any = InfoTable(self.buffer_size, n_envs)
        self.replayable = np.zeros(n_envs, dtype=np.int64)
        """Number of transitions of each environment that can be replayed: the last ones before its present episode."""
        self._lay_out()

    def __getstate__(self) -> dict[str, Any]:
        """Return what makes up this buffer, each number once, without the environments."""
        return {name: value for name, value in super().__getstate__().items() if name != "_records"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore it; it needs `set_env` before it can be used."""
        super().__setstate__(state)
        self._lay_out()

    def _lay_out(self) -> None:
        """Move what is stored to where it is fast to read."""
        found: dict[str, np.ndarray] = {name: getattr(self, name) for name in _NUMBERS}
        for group in _OBSERVATIONS:
            found |= {f"{group}.{key}": array for key, array in getattr(self, group).items()}
        found["left"] = np.zeros_like(self.ep_length, np.int32)  # steps to the end of the episode, this one included
        self._records = _Records(self.buffer_size, self.n_envs, found)
        arrays = self._records.arrays
        for name, array in found.items():
            arrays[name][: len(array)] = array
        self.recount()
        for name in _NUMBERS:
            setattr(self, name, arrays[name])
        for group in _OBSERVATIONS:
            setattr(self, group, {key: arrays[f"{group}.{key}"] for key in self.observation_space.spaces})

    # -------------------------------------------------------------------------------------------- adding

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store a transition of each environment; an old episode that loses its first one is replayed no more."""
        row = self.pos
        self.replayable -= self.ep_length[row]
        super().add(*args, **kwargs)
        self._records.note_goals(slice(row, row + 1))

    def _compute_episode_length(self, env_idx: int) -> None:
        start = self._current_ep_start[env_idx]
        super()._compute_episode_length(env_idx)
        length = self.ep_length[self.pos - 1, env_idx]
        self.replayable[env_idx] += length
        rows = self._in_ring(start + np.arange(length))
        self._records.arrays["left"][rows, env_idx] = np.arange(length, 0, -1)

    def recount(self) -> None:
        """Find out what can be replayed after somebody has filled the arrays."""
        self.replayable = np.count_nonzero(self.ep_length, axis=0)
        filled = slice(self.size())
        before = np.arange(self.size())[:, None] - self.ep_start[filled]
        self._records.arrays["left"][filled] = self.ep_length[filled] - before - (before < 0) * self.buffer_size
        self._records.note_goals(filled)

    # -------------------------------------------------------------------------------------------- sampling

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Return transitions, normalised as `env` has it: first those with their own goals, then relabelled ones.

        Raises `RuntimeError` before the end of the first episode.
        """
        rows, envs, chances = self._draw(batch_size)
        batch = self._records.take(rows, envs)
        self._relabel(batch, rows, envs, chances)
        return self._tensors(batch, env)

    def _draw(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows and environments of transitions, all equally likely, and a number from 0 to below 1 for each."""
        ends = self.replayable.cumsum()
        if not ends[-1]:
            raise RuntimeError(
                "no episode has ended yet, so there is nothing to replay: learning_starts must be at least the number "
                "of steps that the first episodes of all environments need."
            )
        drawn = np.random.random_sample(size) * ends[-1]
        index = drawn.astype(np.int64)
        envs = index // self.replayable.max()  # or a later one: they have about as many each, so a guess beats a search
        while (later := index >= ends.take(envs)).any():
            envs += later
        # The last one of an environment is the one before its present episode.
        rows = self._in_ring(index + (self._current_ep_start - ends + self.buffer_size).take(envs))
        # What is left behind the decimal point is as good as another random number: 33 bits with a million transitions.
        return rows, envs, drawn - index

    def _in_ring(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, given some that may be up to a round too far on; many times faster than a remainder."""
        return rows - (rows >= self.buffer_size) * self.buffer_size

    def _relabel(self, batch: Batch, rows: np.ndarray, envs: np.ndarray, chances: np.ndarray) -> None:
        """Put goals that were achieved in place of the last desired ones, and the rewards for them."""
        new = slice(len(rows) - int(self.her_ratio * len(rows)), None)
        rows, envs = rows[new], envs[new]
        goals = self._records.goals(self._rows_of_goals(batch, rows, new, chances[new]), envs)
        for group in _OBSERVATIONS:
            name = f"{group}.desired_goal"
            batch[name] = _one_behind_the_other(batch[name][: new.start], goals)
        infos = self.infos[rows, envs] if self.copy_info_dict else [{}] * len(rows)
        batch["rewards"][new] = self._rewards(batch[_ACHIEVED][new], goals, infos)

    def _rows_of_goals(self, batch: Batch, rows: np.ndarray, new: slice, chances: np.ndarray) -> np.ndarray:
        """Return the rows of the steps that achieved the new goals."""
        if self.goal_selection_strategy == GoalSelectionStrategy.FINAL:
            return self._in_ring(rows + batch["left"][new] - 1)
        if self.goal_selection_strategy == GoalSelectionStrategy.EPISODE:
            return self._in_ring(batch["ep_start"][new] + (chances * batch["ep_length"][new]).astype(np.int64))
        return self._in_ring(rows + (chances * batch["left"][new]).astype(np.int64))

    def _rewards(self, achieved: np.ndarray, desired: np.ndarray, infos: Any) -> np.ndarray:
        """Return the rewards (n,) of goals (n, k)."""
        assert self.env is not None, "set_env was not called"
        base = self.env.unwrapped
        if isinstance(base, JournaledVecEnv):
            rewards = base.twin.get_wrapper_attr("compute_reward")(achieved, desired, infos)
        else:
            rewards = self.env.env_method("compute_reward", achieved, desired, infos, indices=[0])[0]
        rewards = np.asarray(rewards)
        if rewards.size != len(achieved):
            raise PluginError(
                f"compute_reward returned {rewards.shape} for {len(achieved)} goals; hindsight needs one that "
                "takes goals of shape (n, k) and returns n rewards."
            )
        return rewards.reshape(-1)

    def _tensors(self, batch: Batch, env: VecNormalize | None) -> DictReplayBufferSamples:
        before, after = (self._observations(batch, group, env) for group in _OBSERVATIONS)
        # Time that ran out is no end: what would have come is learned from as well.
        dones = (batch["dones"] > batch["timeouts"]).astype(np.float32)
        return DictReplayBufferSamples(
            observations=before,
            actions=self._tensor(batch["actions"]),
            next_observations=after,
            dones=self._tensor(dones[:, None]),
            rewards=self._tensor(self._normalize_reward(batch["rewards"][:, None], env)),
        )

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        """Return an array of a batch, which is nobody else's, as a tensor: no copy on the processor."""
        return torch.from_numpy(array).to(self.device)

    def _observations(self, batch: Batch, group: str, env: VecNormalize | None) -> dict[str, torch.Tensor]:
        raw = {key: batch[f"{group}.{key}"] for key in self.observation_space.spaces}
        shown: Any = self._normalize_obs(raw, env)
        return {key: self._tensor(part) for key, part in shown.items()}


_Field = tuple[str, np.dtype[Any], tuple[int, ...]]
"""Name, type and shape of something that every row has."""
_LINE = 64
"""Bytes of a cache line."""


def _field(name: str, array: np.ndarray) -> _Field:
    # No buffer has so many rows that the start of an episode needs 64 bits.
    return name, np.dtype(np.int32) if name.startswith("ep_") else array.dtype, array.shape[2:]


def _in_blocks(fields: list[_Field]) -> list[list[_Field]]:
    """Return fields in blocks: numbers of 32 bits, which are nearly all, side by side, and others alone."""
    alone = [field for field in fields if field[1].itemsize != 4]
    return [[field for field in fields if field not in alone], *([field] for field in alone)]


def _zeros(rows: int, fields: list[_Field]) -> np.ndarray:
    """Return rows of zeros, the first of which begins where a cache line does; so do all of them unless short."""
    size = np.dtype(fields).itemsize
    filler = -size % _LINE if size > _LINE // 2 else 0
    row = np.dtype([*fields, ("filler", np.uint8, (filler,))])[[name for name, *_ in fields]]
    memory = np.zeros(rows * row.itemsize + _LINE, np.uint8)
    begin = -memory.ctypes.data % _LINE
    return memory[begin : begin + rows * row.itemsize].view(row)


class _Records:
    """Arrays of shape (rows, environments, ...), of which a batch is read with few looks at distant memory.

    Rows of one environment follow each other.

    Args:
        rows: time steps.
        n_envs: number of environments.
        like: arrays of the same types, and of the same shapes beyond the first two axes.
    """

    def __init__(self, rows: int, n_envs: int, like: Mapping[str, np.ndarray]) -> None:
        self.rows = rows
        fields = [_field(name, array) for name, array in like.items()]
        self._blocks = [_zeros(n_envs * rows, block) for block in _in_blocks(fields)]
        by_env = {name: array.reshape(n_envs, rows, *array.shape[1:]) for name, array in _by_name(self._blocks).items()}
        self.arrays = {name: array.swapaxes(0, 1) for name, array in by_env.items()}
        """By name, (rows, environments, ...)."""
        self._achieved = by_env[_ACHIEVED]
        self._goal = self._achieved.shape[2:]
        self._size = math.prod(self._goal)
        # Numpy takes rows of 16 or 32 bytes twice as fast as those of 12 or 28.
        self._padded = np.zeros((n_envs * rows, 1 << (self._size - 1).bit_length()), self._achieved.dtype)

    def note_goals(self, rows: slice) -> None:
        """Take note of achieved goals that were written into `arrays`."""
        noted = self._padded[:, : self._size].reshape(self._achieved.shape)  # the same memory
        noted[:, rows] = self._achieved[:, rows]

    def take(self, rows: np.ndarray, envs: np.ndarray) -> Batch:
        """Return a copy of some transitions."""
        index = envs * self.rows + rows
        return _by_name([block.take(index) for block in self._blocks])

    def goals(self, rows: np.ndarray, envs: np.ndarray) -> np.ndarray:
        """Return a copy of the goals (n, ...) that were achieved in some transitions, by columns."""
        taken = self._padded.take(envs * self.rows + rows, axis=0)[:, : self._size]
        return np.ascontiguousarray(taken.reshape(-1, *self._goal).T).T


def _one_behind_the_other(first: np.ndarray, then: np.ndarray) -> np.ndarray:
    """Return goals (n, ...) as one array, made by columns, since each of the few takes hardly longer than a row."""
    columns = np.empty((*then.T.shape[:-1], len(first) + len(then)), then.dtype)
    columns[..., : len(first)], columns[..., len(first) :] = first.T, then.T
    return columns.T


def _by_name(blocks: Iterable[np.ndarray]) -> Batch:
    """Return the fields of blocks: no copies."""
    return {name: block[name] for block in blocks for name in block.dtype.names or ()}
