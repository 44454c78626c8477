"""A few environments that are stepped one after the other, in a worker process or in the trainer's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np

from armature.shared_arrays import SharedArrays

Maker = Callable[[], "gymnasium.Env[Any, Any]"]
Info = dict[str, Any]
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

    @property
    def at(self) -> tuple[int, int]:
        """Which environment is being busied with, and at which action when it plays an episode again."""
        return self._busy[0], self._busy[1]

    def make(self, number: int, maker: Maker) -> None:
        """Put a new environment in the place of one."""
        self._busy[0], self._busy[1] = number, 0
        self.envs[number] = maker()

    def step(self) -> dict[int, Info]:
        """Step every environment, and reset those whose episode is over; return infos that say more than flags can."""
        arrays, busy, mine = self.arrays, self._busy, self.mine
        results = []
        actions = arrays.actions[mine].copy()  # an environment may keep its last action
        for number, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            busy[0] = number
            results.append(env.step(action))
        seen, rewards, terminated, truncated, infos = map(list, zip(*results, strict=True))
        ended = np.array(terminated, dtype=np.bool_)
        arrays.truncated[mine] = np.array(truncated, dtype=np.bool_) & ~ended
        arrays.dones[mine] = dones = ended | arrays.truncated[mine]
        arrays.rewards[mine] = rewards
        successes = [info.get("is_success") for info in infos]
        arrays.success[mine] = [SharedArrays.NO_SUCCESS if success is None else success for success in successes]
        more = {
            self.first + number: _rest(info) for number, info in enumerate(infos) if len(info) > ("is_success" in info)
        }
        for number in np.flatnonzero(dones).tolist():
            busy[0] = number
            arrays.end(self.first + number, seen[number])
            seen[number], reset_info = self.envs[number].reset()
            more.setdefault(self.first + number, {})["reset_info"] = reset_info
        arrays.see(mine, seen)
        return more

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
        return [self.envs[number].render() for number in numbers]

    def get_attr(self, numbers: Sequence[int], name: str) -> list[Any]:
        """Return an attribute of environments."""
        return [self.envs[number].get_wrapper_attr(name) for number in numbers]

    def has_attr(self, numbers: Sequence[int], name: str) -> list[bool]:
        """Return whether environments have an attribute."""
        return [self.envs[number].has_wrapper_attr(name) for number in numbers]

    def set_attr(self, numbers: Sequence[int], name: str, value: Any) -> list[bool]:
        """Set an attribute of environments; return whether they had it."""
        return [self.envs[number].set_wrapper_attr(name, value) for number in numbers]

    def env_method(self, numbers: Sequence[int], name: str, args: Any, kwargs: Any) -> list[Any]:
        """Return what a method of environments returns."""
        return [self.envs[number].get_wrapper_attr(name)(*args, **kwargs) for number in numbers]

    def env_is_wrapped(self, numbers: Sequence[int], wrapper: type[gymnasium.Wrapper]) -> list[bool]:
        """Return whether environments are wrapped in a class."""
        from stable_baselines3.common import env_util

        return [env_util.is_wrapped(self.envs[number], wrapper) for number in numbers]

    def close(self) -> None:
        """Close the environments."""
        for env in self.envs:
            env.close()


def _rest(info: Info) -> Info:
    return {name: value for name, value in info.items() if name != "is_success"}
