"""Environments in processes of their own, some of which may die or hang: a new process takes the place of such a one.

The episode that was under way ends there, as one that was cut, so that nothing wrong is learned from it; the others go
on undisturbed. What an exception printed stands on standard error.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import gymnasium
from stable_baselines3.common.vec_env import SubprocVecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from armature.errors import WorkerError

log = logging.getLogger(__name__)

Maker = Callable[[], "gymnasium.Env[Any, Any]"]

WAIT_S = 300.0
"""Seconds without an answer after which a process counts as hung."""
CLOSE_S = 10.0
"""Seconds that a process has to close its environment."""
RESTARTS = 10
"""Processes that are replaced before training ends; more of them are no accident."""


class Workers(SubprocVecEnv):
    """SB3's environments in processes, over pipes that notice when nobody answers.

    Args:
        makers: make the environments, which have an attribute `episode`: the number of the episode that comes next.
    """

    def __init__(self, makers: Sequence[Maker]) -> None:
        try:
            super().__init__(list(makers))
        except (EOFError, ConnectionError):
            raise WorkerError("the process of an environment ended while it was made; its words are above.") from None
        self.restarts = 0
        """Processes that were replaced."""
        self.remotes: tuple[Worker, ...] = tuple(
            Worker(index, maker, pipe, process, self)
            for index, (maker, pipe, process) in enumerate(zip(makers, self.remotes, self.processes, strict=True))
        )

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for all answers; raise `WorkerError`, with every process in order, once too many were replaced."""
        answers = super().step_wait()
        if self.restarts > RESTARTS:
            raise WorkerError(
                f"processes of environments have died {self.restarts} times. What they printed stands above. When that "
                "is mended, train.py --resume RUN goes on."
            )
        return answers

    def close(self) -> None:
        """End all processes; those that do not listen are killed."""
        if self.closed:
            return
        for worker in self.remotes:
            worker.send(("close", None))
        for worker, process in zip(self.remotes, self.processes, strict=True):
            process.join(CLOSE_S)
            process.kill()
            worker.close()
        self.closed = True


class Worker:
    """Our end of the pipe to one environment's process."""

    def __init__(self, index: int, maker: Maker, pipe: Any, process: Any, owner: Workers) -> None:
        self.index, self.maker, self.pipe, self.process, self.owner = index, maker, pipe, process, owner
        self.episode = 0
        """Number of the episode that the next reset starts."""
        self._asked: tuple[str, Any] = ("", None)
        self._seen: Any = None
        self._info: dict[str, Any] = {}

    def send(self, message: tuple[str, Any]) -> None:
        """Ask for something. That nobody is there is noticed when the answer is due."""
        self._asked = message
        with suppress(OSError):
            self.pipe.send(message)

    def recv(self) -> Any:
        """Return the answer; of a process that gives none, the cut end of its episode."""
        try:
            if not self.pipe.poll(WAIT_S):
                raise TimeoutError
            answer = self.pipe.recv()
        except (EOFError, OSError) as error:
            return self._without_answer("does not answer" if isinstance(error, TimeoutError) else "has ended")
        self._note(answer)
        return answer

    def _note(self, answer: Any) -> None:
        command, data = self._asked
        if command == "set_attr" and data[0] == "episode":
            self.episode = data[1]
        elif command == "reset":
            self._seen, self._info = answer
            self.episode += 1
        elif command == "step":
            self._seen, _, done, self._info, _ = answer
            self.episode += bool(done)

    def _without_answer(self, what: str) -> Any:
        self.process.kill()
        self.process.join()
        told = f"the process of environment {self.index} {what} (exit code {self.process.exitcode})"
        if self._asked[0] != "step":
            raise WorkerError(f"{told}. If it printed something, it stands above.")
        self.owner.restarts += 1
        log.warning("%s; its episode is cut, and a new process takes its place", told)
        return self._replaced()

    def _replaced(self) -> Any:
        """Start anew, and return the last step of the lost episode as SB3's processes do for one that was cut."""
        info = {**self._info, "TimeLimit.truncated": True, "terminal_observation": self._seen}
        info.pop("reward_terms", None)  # those of the step before, which are counted
        fresh = Workers([self.maker]).remotes[0]
        self.pipe, self.process = fresh.pipe, fresh.process
        self.owner.processes[self.index] = self.process
        self._ask("set_attr", ("episode", self.episode))
        observation, reset_info = self._ask("reset", (None, None))
        return observation, 0.0, True, info, reset_info

    def _ask(self, command: str, data: Any) -> Any:
        self.send((command, data))
        return self.recv()

    def close(self) -> None:
        """Close the pipe."""
        self.pipe.close()
