"""`ShmVecEnv`: environments spread over worker processes, results in shared memory.

W workers step K environments each. A step costs one word to each worker and one word back; observations, actions,
rewards, flags and last observations lie in memory that all processes see. Infos travel only where they say more.
Seeds belong to environments, not to workers, so results are the same for every W and K, and in one process.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

import gymnasium
import numpy as np

from armature.env_group import NONE, Info, Maker
from armature.errors import Fault, WorkerError
from armature.journaled_vec_env import JournaledVecEnv
from armature.remote import Refusal, Remote
from armature.restarts import RESTARTS, WAITING, Restarts
from armature.shared_arrays import SharedArrays

WAIT_S = 300.0
"""Seconds that an environment may take for a step."""
START_S = 300.0
"""Seconds that a worker may take to make its environments for the first time."""
START_AGAIN = 10
"""How many times as long a worker that takes the place of another may need, besides the time for a step."""
CLOSE_S = 10.0
"""Seconds that a worker has to close its environments."""


def cores() -> int:
    """Return how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ShmVecEnv(JournaledVecEnv):
    """Environments in worker processes, as SB3's `SubprocVecEnv` and many times faster.

    A worker that dies, hangs or raises is replaced, its environments play their episodes again, and what it was asked
    to do is asked of the new one: nobody sees a difference.

    Args:
        makers: make the environments.
        num_workers: processes; None takes one for each core.
        twin: makes `twin`; None takes the first of `makers`.
        timeout: seconds that an environment may take for a step before its worker counts as hung.
        restarts: how often workers may fail.

    Raises:
        WorkerError: an environment could not be made, or failed twice at the same place, or workers failed too often.
    """

    def __init__(
        self,
        makers: Sequence[Maker],
        num_workers: int | None = None,
        twin: Maker | None = None,
        timeout: float = WAIT_S,
        restarts: int = RESTARTS,
    ) -> None:
        self._make_twin, self._timeout, self._restarts = twin or makers[0], timeout, Restarts(restarts)
        self._closed = False
        self._watched: dict[int, Remote] = {}  # by file descriptor
        self._poll = select.poll()
        shares = np.array_split(np.arange(len(makers)), min(num_workers or cores(), len(makers)))
        self._workers = [Remote([makers[index] for index in share], share.tolist()) for share in shares]
        self._owner = {index: worker for worker in self._workers for index in worker.indices}
        started, self._start_s = time.monotonic(), START_S
        for worker in self._workers:
            self._start(worker)
        if failures := self._wait(self._workers):
            self._end_workers()
            raise WorkerError(f"an environment could not be made: {next(iter(failures.values()))}")
        self._start_s = timeout + START_AGAIN * (time.monotonic() - started)
        observation_space, action_space = self._workers[0].answer
        arrays = SharedArrays(len(makers), observation_space, action_space)
        for worker in self._workers:
            worker.share(arrays, timeout)
        super().__init__(arrays, observation_space, action_space, len(makers))

    @cached_property
    def twin(self) -> gymnasium.Env[Any, Any]:  # type: ignore[override]
        """An environment like the others, but in this process: calling its pure functions takes no message."""
        return self._make_twin()

    @property
    def num_workers(self) -> int:
        """How many processes there are."""
        return len(self._workers)

    # -------------------------------------------------------------------------------------------- asking

    def _begin_step(self) -> None:
        for worker in self._workers:
            worker.step()

    def _finish_step(self) -> dict[int, Info]:
        answers = self._answers(self._workers, "step", Remote.step)
        return {index: info for worker in self._workers for index, info in (answers[worker] or {}).items()}

    def _ask(
        self, method: str, indices: Iterable[int], *arguments: Any, each: Sequence[Any] | None = None
    ) -> list[Any]:
        wanted = list(indices)
        places: dict[Remote, list[int]] = {}  # in what is wanted, of the environments of each worker
        for place, index in enumerate(wanted):
            places.setdefault(self._owner[index], []).append(place)

        def say(worker: Remote) -> None:
            numbers = [wanted[place] - worker.indices[0] for place in places[worker]]
            own = [] if each is None else [[each[place] for place in places[worker]]]
            worker.ask(method, numbers, *arguments, *own)

        for worker in places:
            say(worker)
        found: list[Any] = [None] * len(wanted)
        for worker, answers in self._answers(places, method, say).items():
            if isinstance(answers, Refusal):
                raise answers.error(f"{method} of {worker.name}")
            for place, answer in zip(places[worker], answers, strict=True):
                found[place] = answer
        return found

    def _answers(self, workers: Collection[Remote], doing: str, say: Callable[[Remote], None]) -> dict[Remote, Any]:
        """Return what workers answer to what was said; it is said again to those that take the place of others."""
        while failures := self._wait(workers):
            self._replace(failures, doing)
            for worker in failures:
                say(worker)
        return {worker: worker.answer for worker in workers}

    def _wait(self, workers: Collection[Remote]) -> dict[Remote, str]:
        """Wait until workers have answered, or for the first that will not; return what happened to those."""
        while not (failures := {worker: worker.failure for worker in workers if worker.failure}):
            if not any(worker.pending for worker in workers):
                break
            ready = {self._watched[end] for end, _ in self._poll.poll(250 * self._timeout)}
            for worker in ready:
                worker.listen()
            # In silence look after all of them, also those that others wait for.
            for worker in ready or set(self._watched.values()):
                worker.watch()
                if worker.failure:
                    self._forget(worker)
        return failures

    # -------------------------------------------------------------------------------------------- starting and ending

    def _start(self, worker: Remote) -> None:
        worker.start(self._start_s, self._timeout)
        for end in worker.ends:
            self._watched[end] = worker
            self._poll.register(end, select.POLLIN)

    def _forget(self, worker: Remote) -> None:
        """Watch a worker no longer."""
        for end in worker.ends:
            if self._watched.pop(end, None):
                self._poll.unregister(end)

    def _replace(self, failures: Mapping[Remote, str], doing: str) -> None:
        """Put others in the place of workers that failed, and bring their environments to where they were."""
        for worker in failures:
            self._forget(worker)
            worker.end(0)
        for worker, what in failures.items():
            self._restarts.allow(self._fault(worker, what, doing))
        self._restarts.pause()
        for worker in failures:
            self._start(worker)
        self._answers(failures, "restore", lambda worker: None)  # once they have made their environments
        for worker in failures:
            worker.share(self._arrays, self._timeout)
            self._restore(worker)
        self._answers(failures, "restore", self._restore)

    def _restore(self, worker: Remote) -> None:
        worker.ask("restore", range(len(worker.indices)), self._tellings(worker.indices))

    def _fault(self, worker: Remote, what: str, doing: str) -> Fault:
        number, step = worker.at
        if number == NONE:  # and it is nobody's fault
            return self._fault_of(worker.indices[0], what, WAITING, step)
        return self._fault_of(worker.indices[number], what, doing, step)

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
            self._forget(worker)
            worker.dismiss()
        for worker in self._workers:
            worker.end(CLOSE_S)
