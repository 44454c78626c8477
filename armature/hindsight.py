"""`HindsightReplayBuffer`: SB3's hindsight replay at a cost that does not grow with what is stored.

SB3's buffer lists all transitions that can be replayed for every batch, asks an environment for rewards, perhaps in
another process, and looks at a dozen distant places in memory for every transition. Here

- the transitions of an environment that can be replayed are the steps of one stretch of the ring, from the oldest whole
  episode to the last one that has ended: to know its length is enough to draw from it;
- rewards are computed in this process, for all relabelled transitions at once;
- the numbers of a transition lie side by side, and those of an episode follow each other.
"""

from __future__ import annotations

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
"""Is read by itself for new goals, so it lies by itself."""


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
        self._records = _Records(self.buffer_size, self.n_envs, found)
        arrays = self._records.arrays
        for name, array in found.items():
            arrays[name][: len(array)] = array
        for name in _NUMBERS:
            setattr(self, name, arrays[name])
        for group in _OBSERVATIONS:
            setattr(self, group, {key: arrays[f"{group}.{key}"] for key in self.observation_space.spaces})

    # -------------------------------------------------------------------------------------------- adding

    def add(self, *args: Any, **kwargs: Any) -> None:
        """Store a transition of each environment; an old episode that loses its first one is replayed no more."""
        self.replayable -= self.ep_length[self.pos]
        super().add(*args, **kwargs)

    def _compute_episode_length(self, env_idx: int) -> None:
        super()._compute_episode_length(env_idx)
        self.replayable[env_idx] += self.ep_length[self.pos - 1, env_idx]

    def recount(self) -> None:
        """Find out what can be replayed after somebody has filled the arrays."""
        self.replayable = np.count_nonzero(self.ep_length, axis=0)

    # -------------------------------------------------------------------------------------------- sampling

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> DictReplayBufferSamples:  # type: ignore[override]
        """Return transitions, normalised as `env` has it: first those with their own goals, then relabelled ones.

        Raises `RuntimeError` before the end of the first episode.
        """
        rows, envs = self._draw(batch_size)
        batch = self._records.take(rows, envs)
        relabelled = slice(batch_size - int(self.her_ratio * batch_size), None)
        self._relabel({name: field[relabelled] for name, field in batch.items()}, rows[relabelled], envs[relabelled])
        return self._tensors(batch, env)

    def _draw(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and environments of transitions, all equally likely."""
        ends = self.replayable.cumsum()
        if not ends[-1]:
            raise RuntimeError(
                "no episode has ended yet, so there is nothing to replay: learning_starts must be at least the number "
                "of steps that the first episodes of all environments need."
            )
        drawn = (np.random.random_sample(size) * ends[-1]).astype(np.int64)
        envs = drawn // self.replayable.max()  # or a later one: they have about as many each, so a guess beats a search
        while (later := drawn >= ends.take(envs)).any():
            envs += later
        # The last one of an environment is the one before its present episode.
        return self._in_ring(drawn + (self._current_ep_start - ends).take(envs)), envs

    def _in_ring(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, given some that may lie up to a round before the first; many times faster than a remainder."""
        return rows + (rows < 0) * self.buffer_size

    def _relabel(self, batch: Batch, rows: np.ndarray, envs: np.ndarray) -> None:
        """Put goals that were achieved in place of desired ones, and the rewards for them."""
        goals = self._records.take_achieved(self._in_ring(self._rows_of_goals(batch, rows) - self.buffer_size), envs)
        for group in _OBSERVATIONS:
            batch[f"{group}.desired_goal"][:] = goals
        infos = self.infos[rows, envs] if self.copy_info_dict else [{}] * len(rows)
        batch["rewards"][:] = self._rewards(batch[_ACHIEVED], goals, infos)

    def _rows_of_goals(self, batch: Batch, rows: np.ndarray) -> np.ndarray:
        """Return the rows of the steps that achieved the new goals, perhaps a round too far on."""
        starts, lengths = batch["ep_start"], batch["ep_length"]
        if self.goal_selection_strategy == GoalSelectionStrategy.FINAL:
            return starts + lengths - 1
        if self.goal_selection_strategy == GoalSelectionStrategy.EPISODE:
            return starts + _below(lengths)
        return rows + _below(lengths - self._in_ring(rows - starts))

    def _rewards(self, achieved: np.ndarray, desired: np.ndarray, infos: Any) -> np.ndarray:
        """Return the rewards (n,) of goals (n, k)."""
        assert self.env is not None, "set_env was not called"
        base = self.env.unwrapped
        if isinstance(base, JournaledVecEnv):
            rewards = base.twin.get_wrapper_attr("compute_reward")(achieved, desired, infos)
        else:
            rewards = self.env.env_method("compute_reward", achieved, desired, infos, indices=[0])[0]
        if np.size(rewards) != len(achieved):
            raise PluginError(
                f"compute_reward returned {np.shape(rewards)} for {len(achieved)} goals; hindsight needs one that "
                "takes goals of shape (n, k) and returns n rewards."
            )
        return np.reshape(rewards, len(achieved))

    def _tensors(self, batch: Batch, env: VecNormalize | None) -> DictReplayBufferSamples:
        before, after = (self._observations(batch, group, env) for group in _OBSERVATIONS)
        # Time that ran out is no end: what would have come is learned from as well.
        dones = batch["dones"] * (1 - batch["timeouts"])
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


def _below(limits: np.ndarray) -> np.ndarray:
    """Return random integers from 0 to below each limit; many times faster than `randint` with many limits."""
    return (np.random.random_sample(len(limits)) * limits).astype(np.int64)


_Field = tuple[str, np.dtype[Any], tuple[int, ...]]
"""Name, type and shape of something that every row has."""
_LINE = 64
"""Bytes of a cache line."""
_BLOCK = 256
"""Bytes that are copied at once: for more the C library takes another, slower way."""


def _field(name: str, array: np.ndarray) -> _Field:
    # No buffer has so many rows that the start of an episode needs 64 bits.
    return name, np.dtype(np.int32) if name.startswith("ep_") else array.dtype, array.shape[2:]


def _in_blocks(fields: Iterable[_Field]) -> list[list[_Field]]:
    """Return fields in blocks: numbers of 32 bits, which are nearly all, side by side, and others alone."""
    blocks: list[list[_Field]] = []
    shared: list[_Field] = []
    for field in fields:
        if field[1].itemsize != 4 or field[0] == _ACHIEVED:
            blocks.append([field])
        elif shared and np.dtype([*shared, field]).itemsize <= _BLOCK:
            shared.append(field)
        else:
            shared = [field]
            blocks.append(shared)
    return blocks


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
        self._blocks = [_zeros(n_envs * rows, fields) for fields in _in_blocks(map(_field, like, like.values()))]
        self._achieved = next(block for block in self._blocks if _ACHIEVED in (block.dtype.names or ()))
        self.arrays = {
            name: array.reshape(n_envs, rows, *array.shape[1:]).swapaxes(0, 1)
            for name, array in _by_name(self._blocks).items()
        }
        """By name, (rows, environments, ...)."""

    def take(self, rows: np.ndarray, envs: np.ndarray) -> Batch:
        """Return a copy of some transitions."""
        index = envs * self.rows + rows
        return _by_name([block.take(index) for block in self._blocks])

    def take_achieved(self, rows: np.ndarray, envs: np.ndarray) -> np.ndarray:
        """Return what some transitions have achieved."""
        return self._achieved.take(envs * self.rows + rows)[_ACHIEVED]


def _by_name(blocks: Iterable[np.ndarray]) -> Batch:
    """Return the fields of blocks: no copies."""
    return {name: block[name] for block in blocks for name in block.dtype.names or ()}
