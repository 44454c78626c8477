"""What runs in a worker process: a few environments, stepped one after the other, at the word of the trainer."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from socket import socket
from typing import Any

import gymnasium

from armature.shared_arrays import SharedArrays

Maker = Callable[[], "gymnasium.Env[Any, Any]"]

STEP, ASK = b"s", b"a"
"""What the trainer says: take a step with the actions in shared memory; read a question from the pipe."""
DONE, MORE, FAILED = b".", b"+", b"!"
"""What a worker answers: everything is in shared memory; there is more in the pipe; a traceback is in the pipe."""


class Worker:
    """The environments of one process.

    Args:
        first: number of the first one among all environments of the trainer.
        envs: the environments.
        arrays: where actions come from and results go to.
    """

    def __init__(self, first: int, envs: Sequence[gymnasium.Env[Any, Any]], arrays: SharedArrays) -> None:
        self.first, self.envs, self.arrays = first, envs, arrays
        self.mine = slice(first, first + len(envs))
        self.reset_infos: list[dict[str, Any]] = [{} for _ in envs]

    def step(self) -> dict[int, dict[str, Any]]:
        """Step every environment, and reset those whose episode is over; return infos that say more than flags can."""
        arrays, more = self.arrays, {}
        seen, rewards, dones, cuts, successes = [], [], [], [], []
        actions = arrays.actions[self.mine].copy()  # an environment may keep its last action
        for number, (env, action) in enumerate(zip(self.envs, actions, strict=True)):
            observation, reward, terminated, truncated, info = env.step(action)
            success = info.get("is_success")
            if len(info) > (success is not None):
                more[self.first + number] = {name: value for name, value in info.items() if name != "is_success"}
            if terminated or truncated:
                arrays.end(self.first + number, observation)
                observation, self.reset_infos[number] = env.reset()
                more.setdefault(self.first + number, {})["reset_info"] = self.reset_infos[number]
            seen.append(observation)
            rewards.append(reward)
            dones.append(terminated or truncated)
            cuts.append(truncated and not terminated)
            successes.append(SharedArrays.NO_SUCCESS if success is None else success)
        arrays.see(self.mine, seen)
        arrays.rewards[self.mine], arrays.dones[self.mine] = rewards, dones
        arrays.truncated[self.mine], arrays.success[self.mine] = cuts, successes
        return more

    def reset(self, seeds: Sequence[int | None], options: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Reset every environment; return what they say."""
        seen = []
        for number, env in enumerate(self.envs):
            extra = {"options": options[number]} if options[number] else {}
            observation, self.reset_infos[number] = env.reset(seed=seeds[number], **extra)
            seen.append(observation)
        self.arrays.see(self.mine, seen)
        return self.reset_infos

    def render(self) -> list[Any]:
        """Return a picture of every environment."""
        return [env.render() for env in self.envs]

    def get_attr(self, name: str, numbers: Sequence[int]) -> list[Any]:
        """Return an attribute of some environments."""
        return [self.envs[number].get_wrapper_attr(name) for number in numbers]

    def has_attr(self, name: str, numbers: Sequence[int]) -> list[bool]:
        """Return whether some environments have an attribute."""
        return [self.envs[number].has_wrapper_attr(name) for number in numbers]

    def set_attr(self, name: str, value: Any, numbers: Sequence[int]) -> None:
        """Set an attribute of some environments."""
        for number in numbers:
            self.envs[number].set_wrapper_attr(name, value)

    def env_method(self, name: str, numbers: Sequence[int], args: Any, kwargs: Any) -> list[Any]:
        """Return what a method of some environments returns."""
        return [self.envs[number].get_wrapper_attr(name)(*args, **kwargs) for number in numbers]

    def env_is_wrapped(self, wrapper: type[gymnasium.Wrapper], numbers: Sequence[int]) -> list[bool]:
        """Return whether some environments are wrapped in a class."""
        from stable_baselines3.common import env_util

        return [env_util.is_wrapped(self.envs[number], wrapper) for number in numbers]


def main(first: int, makers: Sequence[Maker], wake: socket, pipe: Connection) -> None:
    """Make the environments and serve until the trainer is gone; a fault is told, and ends the process."""
    # Ctrl-C reaches the whole process group; the trainer decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    envs: list[gymnasium.Env[Any, Any]] = []
    try:
        envs += [maker() for maker in makers]
        pipe.send((envs[0].observation_space, envs[0].action_space, envs[0].render_mode))
        wake.sendall(MORE)
        num_envs = pipe.recv()
        arrays = SharedArrays(num_envs, envs[0].observation_space, envs[0].action_space, recv_handle(pipe))
        _serve(Worker(first, envs, arrays), wake, pipe)
    except (BrokenPipeError, ConnectionResetError, EOFError):  # the trainer is gone
        pass
    except BaseException:  # whatever it was, the trainer shall hear of it
        with suppress(OSError):  # unless it is gone
            pipe.send(traceback.format_exc())
            wake.sendall(FAILED)
        raise SystemExit(1) from None
    finally:
        for env in envs:
            env.close()


def _serve(worker: Worker, wake: socket, pipe: Connection) -> None:
    while word := wake.recv(1):
        if word == STEP:
            more = worker.step()
            if more:
                pipe.send(more)
            wake.sendall(MORE if more else DONE)
        else:
            method, *arguments = pipe.recv()
            pipe.send(getattr(worker, method)(*arguments))
            wake.sendall(MORE)
