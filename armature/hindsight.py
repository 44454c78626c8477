"""`HindsightReplayBuffer`: SB3's hindsight replay at a cost that does not grow with what is stored.

SB3's buffer lists all transitions that can be replayed for every batch, asks an environment for rewards, perhaps in
another process, and looks at a dozen distant places in memory for every transition. Here

- the transitions of an environment that can be replayed are the steps of one stretch of the ring, from the oldest whole
  episode to the last one that has ended: to know its length is enough to draw from it;
- rewards are computed in this process, for all relabelled transitions at once;
- the numbers of a transition lie side by side, and those of an episode follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        while (later := drawn >= ends[envs]).any():
            envs += later
        # The last one of an environment is the one before its present episode.
        return self._in_ring(drawn + (self._current_ep_start - ends)[envs]), envs

    def _in_ring(self, rows: np.ndarray) -> np.ndarray:
        """Return rows, given some that may lie up to a round before the first; many times faster than a remainder."""
        return rows + (rows < 0) * self.buffer_size

    def _relabel(self, batch: Batch, rows: np.ndarray, envs: np.ndarray) -> None:
        """Put goals that were achieved in place of desired ones, and the rewards for them."""
        starts, steps = batch["ep_start"], self._steps_of_goals(batch, rows)
        goals = self._records.take_achieved(self._in_ring(starts + steps - self.buffer_size), envs)
        for group in _OBSERVATIONS:
            batch[f"{group}.desired_goal"][:] = goals
        infos = self.infos[rows, envs] if self.copy_info_dict else [{}] * len(rows)
        batch["rewards"][:] = self._rewards(batch[_ACHIEVED], goals, infos)

    def _steps_of_goals(self, batch: Batch, rows: np.ndarray) -> np.ndarray:
        """Return the steps in their episodes after which the new goals were achieved."""
        lengths = batch["ep_length"]
        if self.goal_selection_strategy == GoalSelectionStrategy.FINAL:
            return lengths - 1
        if self.goal_selection_strategy == GoalSelectionStrategy.EPISODE:
            return _below(lengths)
        present = self._in_ring(rows - batch["ep_start"])
        return present + _below(lengths - present)

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


def _zeros(rows: int, width: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Return an array of zeros that begins where a cache line does, and so do its rows unless they are short."""
    line = 64 // dtype.itemsize
    width = -(-width // line) * line if width > line // 2 else width
    memory = np.zeros(rows * width + line, dtype)
    begin = -memory.ctypes.data % 64 // dtype.itemsize
    return memory[begin : begin + rows * width].reshape(rows, width)


class _Records:
    """Arrays of shape (rows, environments, ...), of which a batch is read with few looks at distant memory.

    Numbers of 32 bits, which are nearly all, lie side by side for each transition, in blocks of as many as are copied
    at once; those of one environment follow each other.

    Args:
        rows: time steps.
        n_envs: number of environments.
        like: arrays of the same types, and of the same shapes beyond the first two axes.
    """

    WIDTH = 64
    """Numbers in a block: to copy more than 256 bytes takes the C library another, slower way."""

    def __init__(self, rows: int, n_envs: int, like: Mapping[str, np.ndarray]) -> None:
        self.rows = rows
        self._places: dict[str, tuple[int, slice, np.dtype[Any], tuple[int, ...]]] = {}
        widths: list[int] = []
        kinds: list[np.dtype[Any]] = []
        shared = None  # the block that has room
        for name, array in like.items():
            # No buffer has so many rows that the start of an episode needs 64 bits.
            dtype, shape = np.dtype(np.int32) if name.startswith("ep_") else array.dtype, array.shape[2:]
            size, alone = math.prod(shape), dtype.itemsize != 4 or name == _ACHIEVED
            number = shared
            if alone or number is None or widths[number] + size > self.WIDTH:
                number = len(widths)
                widths.append(0)
                kinds.append(dtype)
                shared = shared if alone else number
            self._places[name] = number, slice(widths[number], widths[number] + size), dtype, shape
            widths[number] += size
        self._blocks = [_zeros(n_envs * rows, width, kind) for width, kind in zip(widths, kinds, strict=True)]
        self.arrays = {
            name: field.reshape(n_envs, rows, *field.shape[1:]).swapaxes(0, 1)
            for name, field in self._fields(self._blocks).items()
        }
        """By name, (rows, environments, ...)."""

    def take(self, rows: np.ndarray, envs: np.ndarray) -> Batch:
        """Return a copy of some transitions."""
        index = envs * self.rows + rows
        return self._fields([block.take(index, axis=0) for block in self._blocks])

    def take_achieved(self, rows: np.ndarray, envs: np.ndarray) -> np.ndarray:
        """Return what some transitions have achieved."""
        number, place, dtype, shape = self._places[_ACHIEVED]
        found = self._blocks[number].take(envs * self.rows + rows, axis=0)
        return found[:, place].view(dtype).reshape(-1, *shape)

    def _fields(self, blocks: Sequence[np.ndarray]) -> Batch:
        """Return the parts of blocks by name: no copies."""
        return {
            name: blocks[number][:, place].view(dtype).reshape(-1, *shape)
            for name, (number, place, dtype, shape) in self._places.items()
        }
