"""`LocalVecEnv`: environments in this process, with the same results as in any number of others."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, TypeVar

import gymnasium

from armature.env_group import OF_EPISODES, EnvGroup, Info, Maker
from armature.journaled_vec_env import JournaledVecEnv
from armature.restarts import RESTARTS, Restarts
from armature.shared_arrays import SharedArrays

T = TypeVar("T")


class LocalVecEnv(JournaledVecEnv):
    """Environments in this process, as SB3's `DummyVecEnv`.

    One that raises is made anew, the episodes are played again, and what it was asked to do is asked once more.

    Args:
        makers: make the environments.
        restarts: how often environments may raise.

    Raises:
        WorkerError: an environment raised twice at the same place, or environments raised too often.
    """

    def __init__(self, makers: Sequence[Maker], restarts: int = RESTARTS) -> None:
        self._makers, self._restarts = makers, Restarts(restarts)
        envs = [maker() for maker in makers]
        arrays = SharedArrays(len(envs), envs[0].observation_space, envs[0].action_space, SharedArrays.PRIVATE)
        self._group = EnvGroup(0, envs, arrays)
        super().__init__(arrays, envs[0].observation_space, envs[0].action_space, len(envs))

    @property
    def twin(self) -> gymnasium.Env[Any, Any]:  # type: ignore[override]
        """The first environment."""
        return self._group.envs[0]

    def _begin_step(self) -> None:
        """Do nothing yet."""

    def _finish_step(self) -> dict[int, Info]:
        return self._mending("step", self._group.step)

    def _ask(
        self, method: str, indices: Iterable[int], *arguments: Any, each: Sequence[Any] | None = None
    ) -> list[Any]:
        told = [list(indices), *arguments] if each is None else [list(indices), *arguments, each]
        call = getattr(self._group, method)
        return self._mending(method, lambda: call(*told)) if method in OF_EPISODES else call(*told)

    def _mending(self, doing: str, do: Callable[[], T]) -> T:
        """Do something, if need be again with another environment in the place of one that raised."""
        while True:
            try:
                return do()
            except Exception:
                self._replace(doing, traceback.format_exc())

    def _replace(self, doing: str, told: str) -> None:
        """Put another environment in the place of the one that raised, and bring all to where they were."""
        number, step = self._group.at
        self._restarts.allow(self._fault_of(number, f"environment {number} raised:\n{told}", doing, step))
        self._restarts.pause()
        with suppress(Exception):  # it is broken
            self._group.envs[number].close()
        everything = range(self.num_envs)

        def restore() -> None:
            self._group.make(number, self._makers[number])
            self._group.restore(everything, self._tellings(everything))

        self._mending("restore", restore)

    def close(self) -> None:
        """Close the environments."""
        self._group.close()
