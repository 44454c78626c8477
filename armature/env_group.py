"""A few environments that are stepped one after the other, in a worker process or in the trainer's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gymnasium
import numpy as np

from armature.shared_arrays import SharedArrays

Maker = Callable[[], "gymnasium.Env[Any, Any]"]
Info = dict[str, Any]
NONE = -1
"""Number of an environment, for none."""
OF_EPISODES = ("reset", "restore")
"""Questions that every environment has an answer to. Others may be wrong: one asks for what is not there."""


class EnvGroup:
    """Environments whose actions come from arrays, and whose results go there.

    `numbers` count the environments of the group.

    Args:
        first: number of the first one among all environments of the trainer; the others follow.
        envs: the environments.
        arrays: where actions come from and results go to.
    """

    def __init__(self, first: int, envs: Sequence[gymnasium.Env[Any, Any]], arrays: SharedArrays) -> None:
        self.first, self.envs, self.arrays = first, list(envs), arrays
        self.mine = slice(first, first + len(envs))
        self._busy = arrays.busy[2 * first : 2 * first + 2]  # so that the trainer knows where it was if it ends here
        self._numbers = range(len(envs))
        self._successes: list[Any] = []

    @property
    def at(self) -> tuple[int, int]:
        """Which environment is being busied with, and at which action when it plays an episode again."""
        return self._busy[0], self._busy[1]

    def rest(self) -> None:
        """Say that none is."""
        self._busy[0] = NONE

    def make(self, number: int, maker: Maker) -> None:
        """Put a new environment in the place of one."""
        self._busy[0], self._busy[1] = number, 0
        self.envs[number] = maker()

    def step(self) -> dict[int, Info]:
        """Step every environment, and reset those whose episode is over; return infos that say more than flags can."""
        arrays, busy, mine = self.arrays, self._busy, self.mine
        actions = arrays.actions[mine].copy()  # an environment may keep its last action
        results = [env.step(action) for busy[0], env, action in zip(self._numbers, self.envs, actions, strict=True)]
        seen, rewards, terminated, truncated, infos = zip(*results, strict=True)
        more = self._tell(infos)
        arrays.rewards[mine] = rewards
        if any(terminated) or any(truncated):
            ended = np.array(terminated, dtype=np.bool_)
            arrays.truncated[mine] = np.array(truncated, dtype=np.bool_) & ~ended
            arrays.dones[mine] = ended | arrays.truncated[mine]
            arrays.see(mine, self._begin_next(seen, more))
        else:
            arrays.truncated[mine] = arrays.dones[mine] = False
            arrays.see(mine, seen)
        return more

    def _tell(self, infos: Sequence[Info]) -> dict[int, Info]:
        """Write the flags that stand in infos; return what else does."""
        successes = [info.get("is_success") for info in infos]
        if successes != self._successes:  # which takes less time than to write them
            known = [SharedArrays.NO_SUCCESS if success is None else success for success in successes]
            self._successes, self.arrays.success[self.mine] = successes, known
        if None not in successes and sum(map(len, infos)) == len(infos):
            return {}
        return {
            number: {name: value for name, value in info.items() if name != "is_success"}
            for number, info in enumerate(infos, self.first)
            if len(info) > ("is_success" in info)
        }

    def _begin_next(self, seen: Sequence[Any], more: dict[int, Info]) -> list[Any]:
        """Reset those whose episode is over; return what all show then."""
        shown = list(seen)
        for number in np.flatnonzero(self.arrays.dones[self.mine]).tolist():
            self._busy[0] = number
            self.arrays.end(self.first + number, shown[number])
            shown[number], reset_info = self.envs[number].reset()
            more.setdefault(self.first + number, {})["reset_info"] = reset_info
        return shown

    def reset(self, numbers: Sequence[int], told: Sequence[tuple[int | None, dict[str, Any]]]) -> list[Info]:
        """Reset environments, each with a seed and options; return their infos."""
        infos = []
        for number, (seed, options) in zip(numbers, told, strict=True):
            self._busy[0] = number
            observation, info = self.envs[number].reset(seed=seed, **({"options": options} if options else {}))
            self.arrays.see_one(self.first + number, observation)
            infos.append(info)
        return infos

    def restore(self, numbers: Sequence[int], states: Sequence[tuple[int, np.ndarray, int]]) -> list[Info]:
        """Begin episodes again and play their actions; return the infos of the resets.

        A state is the number of the episode, its actions, and the number of the episode after it. An episode below 0
        has not begun, so nothing is done but to say which one comes next.
        """
        infos: list[Info] = []
        for number, (episode, actions, following) in zip(numbers, states, strict=True):
            env = self.envs[number]
            info: Info = {}
            self._busy[0], self._busy[1] = number, 0
            if episode >= 0:
                env.set_wrapper_attr("episode", episode)
                observation, info = env.reset()
                for step, action in enumerate(actions, 1):
                    self._busy[1] = step
                    observation, *_ = env.step(action)
                self.arrays.see_one(self.first + number, observation)
            env.set_wrapper_attr("episode", following)
            infos.append(info)
        return infos

    def render(self, numbers: Sequence[int]) -> list[Any]:
        """Return pictures of environments."""
        return [env.render() for env in self._each(numbers)]

    def get_attr(self, numbers: Sequence[int], name: str) -> list[Any]:
        """Return an attribute of environments."""
        return [env.get_wrapper_attr(name) for env in self._each(numbers)]

    def has_attr(self, numbers: Sequence[int], name: str) -> list[bool]:
        """Return whether environments have an attribute."""
        return [env.has_wrapper_attr(name) for env in self._each(numbers)]

    def set_attr(self, numbers: Sequence[int], name: str, value: Any) -> list[bool]:
        """Set an attribute of environments; return whether they had it."""
        return [env.set_wrapper_attr(name, value) for env in self._each(numbers)]

    def env_method(self, numbers: Sequence[int], name: str, args: Any, kwargs: Any) -> list[Any]:
        """Return what a method of environments returns."""
        return [env.get_wrapper_attr(name)(*args, **kwargs) for env in self._each(numbers)]

    def env_is_wrapped(self, numbers: Sequence[int], wrapper: type[gymnasium.Wrapper]) -> list[bool]:
        """Return whether environments are wrapped in a class."""
        from stable_baselines3.common import env_util

        return [env_util.is_wrapped(env, wrapper) for env in self._each(numbers)]

    def _each(self, numbers: Sequence[int]) -> Iterator[gymnasium.Env[Any, Any]]:
        for number in numbers:
            self._busy[0] = number
            yield self.envs[number]

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()
