"""`ShmVecEnv`: environments spread over worker processes, results in shared memory.

W workers step K environments each. A step costs one word to each worker and one word back; observations, actions,
rewards, flags and last observations lie in memory that all processes see. Infos travel only where they say more.
Seeds belong to environments, not to workers, so results are the same for every W and K, and in one process.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from multiprocessing.reduction import send_handle
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from armature import worker_process
from armature.errors import WorkerError
from armature.shared_arrays import SharedArrays
from armature.worker_process import ASK, FAILED, MORE, STEP, Maker

log = logging.getLogger(__name__)

WAIT_S = 300.0
"""Seconds without an answer after which a worker counts as hung."""
CLOSE_S = 10.0
"""Seconds that a worker has to close its environments."""
RESTARTS = 10
"""Workers that are replaced before training ends; more of them are no accident."""


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ShmVecEnv(VecEnv):
    """Environments in worker processes, as SB3's `SubprocVecEnv` and many times faster.

    A worker that dies, hangs or raises is replaced: its episodes end as ones that were cut, the others go on.

    Args:
        makers: make the environments, which have an attribute `episode`: the number of the episode that comes next.
        num_workers: processes; None takes one for each core.
        twin: makes `twin`; None takes the first of `makers`.

    Raises:
        WorkerError: an environment could not be made, or too many workers were replaced.
    """

    def __init__(self, makers: Sequence[Maker], num_workers: int | None = None, twin: Maker | None = None) -> None:
        self._make_twin = twin or makers[0]
        shares = np.array_split(np.arange(len(makers)), min(num_workers or cores(), len(makers)))
        self._workers = [_Remote([makers[index] for index in share], share.tolist()) for share in shares]
        self._closed = False
        self.restarts = 0
        """Workers that were replaced."""
        try:
            told = [worker.hello() for worker in self._workers]
        except _NoAnswer as failure:
            self._end_workers()
            raise WorkerError(f"an environment could not be made: {failure}") from None
        observation_space, action_space, self._render_mode = told[0]
        self._arrays = SharedArrays(len(makers), observation_space, action_space, None)
        for worker in self._workers:
            worker.share(self._arrays)
        self._owner = {index: worker for worker in self._workers for index in worker.indices}
        self._episodes = np.zeros(len(makers), dtype=np.int64)
        """Number of the episode that the next reset of each environment starts."""
        super().__init__(len(makers), observation_space, action_space)

    @cached_property
    def twin(self) -> gymnasium.Env[Any, Any]:
        """An environment like the others, but in this process: calling its pure functions takes no message."""
        return self._make_twin()

    @property
    def num_workers(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    # -------------------------------------------------------------------------------------------- stepping

    def reset(self) -> VecEnvObs:
        """Start an episode in every environment."""
        for worker in self._workers:
            seeds, options = ([given[index] for index in worker.indices] for given in (self._seeds, self._options))
            worker.say("reset", seeds, options)
        for worker in self._workers:
            for index, info in zip(worker.indices, self._answer(worker), strict=True):
                self.reset_infos[index] = info
        self._episodes += 1
        self._reset_seeds()
        self._reset_options()
        return self._arrays.seen()

    def step_async(self, actions: np.ndarray) -> None:
        """Tell every worker to step."""
        self._arrays.actions[:] = actions
        for worker in self._workers:
            worker.step()

    def step_wait(self) -> VecEnvStepReturn:
        """Return what came of the step, as SB3's vectorised environments do."""
        more: dict[int, dict[str, Any]] = {}
        last: _NoAnswer | None = None
        for worker in self._workers:
            try:
                more |= worker.answer() or {}
            except _NoAnswer as failure:
                self._replace(worker, failure)
                last = failure
        if last and self.restarts > RESTARTS:  # only now, when every worker can be asked for what a checkpoint holds
            raise WorkerError(
                f"workers have failed {self.restarts} times, the last one so: {last} When that is mended, "
                "train.py --resume RUN goes on."
            )
        arrays = self._arrays
        self._episodes += arrays.dones
        infos = self._infos(more)
        return arrays.seen(), arrays.rewards.copy(), arrays.dones.copy(), infos

    def _infos(self, more: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        arrays = self._arrays
        infos: list[dict[str, Any]] = [
            {"TimeLimit.truncated": cut, "is_success": success > 0} if success >= 0 else {"TimeLimit.truncated": cut}
            for cut, success in zip(arrays.truncated.tolist(), arrays.success.tolist(), strict=True)
        ]
        for index, info in more.items():
            self.reset_infos[index] = info.pop("reset_info", self.reset_infos[index])
            infos[index] |= info
        for index in np.flatnonzero(arrays.dones).tolist():
            infos[index]["terminal_observation"] = arrays.ended_with(index)
        return infos

    # -------------------------------------------------------------------------------------------- faults

    def _replace(self, worker: _Remote, failure: _NoAnswer) -> None:
        """Cut the episodes of a worker that failed and put a new one in its place, which starts the next ones."""
        self.restarts += 1
        log.warning("%s Its episodes are cut, and a new worker takes its place.", failure)
        arrays, share = self._arrays, worker.indices
        for index in share:
            arrays.end_with_what_is_seen(index)
        arrays.rewards[share], arrays.dones[share], arrays.truncated[share] = 0.0, True, True
        arrays.success[share] = np.minimum(arrays.success[share], 0)
        worker.start()
        worker.hello()
        worker.share(arrays)
        for number, index in enumerate(share):
            self._ask(worker, "set_attr", "episode", int(self._episodes[index]), [number])
        for index, info in zip(share, self._ask(worker, "reset", [None] * len(share), [{}] * len(share)), strict=True):
            self.reset_infos[index] = info

    def _answer(self, worker: _Remote) -> Any:
        try:
            return worker.answer()
        except _NoAnswer as failure:
            raise WorkerError(str(failure)) from None

    def _ask(self, worker: _Remote, method: str, *arguments: Any) -> Any:
        worker.say(method, *arguments)
        return self._answer(worker)

    # -------------------------------------------------------------------------------------------- asking

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return an attribute of some environments."""
        return self._ask_each("get_attr", (attr_name,), (), indices)

    def has_attr(self, attr_name: str) -> bool:
        """Return whether every environment has an attribute."""
        return all(self._ask_each("has_attr", (attr_name,), (), None))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of some environments."""
        self._ask_each("set_attr", (attr_name, value), (), indices)
        if attr_name == "episode":
            self._episodes[list(self._get_indices(indices))] = value

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Return what a method of some environments returns."""
        return self._ask_each("env_method", (method_name,), (args, kwargs), indices)

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return whether some environments are wrapped in a class."""
        return self._ask_each("env_is_wrapped", (wrapper_class,), (), indices)

    def get_images(self) -> Sequence[np.ndarray | None]:
        """Return a picture of every environment."""
        if self._render_mode != "rgb_array":
            return [None] * self.num_envs
        return [picture for worker in self._workers for picture in self._ask(worker, "render")]

    def _ask_each(self, method: str, before: Iterable[Any], after: Iterable[Any], indices: VecEnvIndices) -> list[Any]:
        """Ask every worker that has some of the environments at once; return the answers in the order of `indices`."""
        asked: dict[_Remote, list[int]] = {}
        for index in (wanted := list(self._get_indices(indices))):
            asked.setdefault(self._owner[index], []).append(index)
        for worker, share in asked.items():
            worker.say(method, *before, [worker.indices.index(index) for index in share], *after)
        answers: dict[int, Any] = {}
        for worker, share in asked.items():
            answers |= dict(zip(share, self._answer(worker) or [None] * len(share), strict=True))
        return [answers[index] for index in wanted]

    def close(self) -> None:
        """End all workers; those that do not listen are killed."""
        if self._closed:
            return
        self._closed = True
        self._end_workers()
        self._arrays.close()
        if "twin" in vars(self):
            self.twin.close()

    def _end_workers(self) -> None:
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end(CLOSE_S)


class _NoAnswer(Exception):  # noqa: N818 - no error of the program's
    """A worker has ended, hangs or raised."""


class _Remote:
    """Our end of a worker process.

    Args:
        makers: make its environments.
        indices: their numbers among all environments, one after the other.
    """

    def __init__(self, makers: Sequence[Maker], indices: Sequence[int]) -> None:
        self.makers, self.indices = makers, list(indices)
        self.start()

    def start(self) -> None:
        """Start the process."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["armature.vec"])  # imported once, for all workers
        self.wake, its_wake = socket.socketpair()
        self.wake.settimeout(WAIT_S)
        self.pipe, its_pipe = context.Pipe()
        self.process = context.Process(
            target=worker_process.main, args=(self.indices[0], self.makers, its_wake, its_pipe), daemon=True
        )
        self.process.start()
        its_wake.close()
        its_pipe.close()

    def hello(self) -> tuple[spaces.Space[Any], spaces.Space[Any], str | None]:
        """Return observation space, action space and render mode of the environments, once they are made."""
        return self.answer()

    def share(self, arrays: SharedArrays) -> None:
        """Give the worker the memory to write to."""
        self.pipe.send(len(arrays.rewards))
        send_handle(self.pipe, arrays.handle, self.process.pid)

    def step(self) -> None:
        """Tell it to step. That nobody is there is noticed when the answer is due."""
        with suppress(OSError):
            self.wake.sendall(STEP)

    def say(self, *question: Any) -> None:
        """Ask something, which `answer` will return."""
        with suppress(OSError):
            self.pipe.send(question)
            self.wake.sendall(ASK)

    def answer(self) -> Any:
        """Return the answer, or None if everything is in shared memory; raise `_NoAnswer` if there is none."""
        self.wake.settimeout(WAIT_S)
        try:
            word = self.wake.recv(1)
            if word == MORE:
                return self.pipe.recv()
            if word == FAILED:
                raise _NoAnswer(f"{self._named()} raised:\n{self.pipe.recv()}")
            if word:
                return None
        except TimeoutError:
            self.end(0)
            raise _NoAnswer(f"{self._named()} did not answer for {WAIT_S:g} s.") from None
        except (EOFError, OSError):
            pass
        self.process.join(CLOSE_S)
        raise _NoAnswer(f"{self._named()} has ended (exit code {self.process.exitcode}).")

    def _named(self) -> str:
        first, last = self.indices[0], self.indices[-1]
        return (
            f"the worker of environment {first}" if first == last else f"the worker of environments {first} to {last}"
        )

    def dismiss(self) -> None:
        """Tell it that there is nothing more to do."""
        self.wake.close()

    def end(self, patience: float) -> None:
        """Wait for its end for so many seconds, then kill it."""
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.wake.close()
        self.pipe.close()
