"""`LocalVecEnv`: environments in this process, with the same results as in any number of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from armature.env_group import EnvGroup, Info, Maker
from armature.journaled_vec_env import JournaledVecEnv
from armature.shared_arrays import SharedArrays


class LocalVecEnv(JournaledVecEnv):
    """Environments in this process, as SB3's `DummyVecEnv`.

    Args:
        makers: make the environments.
    """

    def __init__(self, makers: Sequence[Maker]) -> None:
        envs = [maker() for maker in makers]
        self.twin = first = envs[0]
        arrays = SharedArrays(len(envs), first.observation_space, first.action_space, SharedArrays.PRIVATE)
        self._group = EnvGroup(0, envs, arrays)
        super().__init__(arrays, first.observation_space, first.action_space, len(envs))

    def _begin_step(self) -> None:
        """Do nothing yet."""

    def _finish_step(self) -> dict[int, Info]:
        return self._group.step()

    def _ask(
        self, method: str, indices: Iterable[int], *arguments: Any, each: Sequence[Any] | None = None
    ) -> list[Any]:
        told = arguments if each is None else (*arguments, each)
        return getattr(self._group, method)(list(indices), *told)

    def close(self) -> None:
        """Close the environments."""
        self._group.close()
