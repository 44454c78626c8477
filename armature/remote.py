"""The trainer's end of a worker process."""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from armature import worker_process
from armature.channel import Channel
from armature.env_group import Maker
from armature.errors import WorkerError
from armature.shared_arrays import SharedArrays
from armature.worker_process import ASK, FAILED, MORE, REFUSED, STEP


class Failure(Exception):  # noqa: N818 - no error of the program's
    """A worker has ended or raised; the text says so."""


@dataclass(frozen=True)
class Refusal:
    """The answer of a worker that could not do what it was asked to, and goes on."""

    no_such_attribute: bool
    traceback: str

    def error(self, asked: str) -> Exception:
        """Return what an environment in this process would have raised, or nearly."""
        kind = AttributeError if self.no_such_attribute else WorkerError
        return kind(f"{asked} raised:\n{self.traceback}")


class Remote:
    """A worker process and what is said to it.

    Args:
        makers: make its environments.
        indices: their numbers among all environments, one after the other.
    """

    def __init__(self, makers: Sequence[Maker], indices: Sequence[int]) -> None:
        self.makers, self.indices = makers, list(indices)

    @property
    def name(self) -> str:
        """What people know it by."""
        first, last = self.indices[0], self.indices[-1]
        return (
            f"the worker of environment {first}" if first == last else f"the worker of environments {first} to {last}"
        )

    def start(self, timeout: float) -> None:
        """Start the process. Nothing that it has begun to say may take longer than `timeout` seconds."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["armature.vec"])  # imported once, for all workers
        ours, its = socket.socketpair()
        ours.settimeout(timeout)
        self.channel = Channel(ours)
        self.process = context.Process(
            target=worker_process.main, args=(self.indices[0], self.makers, its), daemon=True
        )
        self._busy = memoryview(bytearray(16)).cast("q")
        self._note()
        self.process.start()
        its.close()

    @property
    def ends(self) -> tuple[Any, int]:
        """What can be read from when the worker has said something or has ended."""
        return self.channel.sock, self.process.sentinel

    def share(self, arrays: SharedArrays) -> None:
        """Give the worker the memory to write to."""
        place = 2 * self.indices[0]
        self._busy = arrays.busy[place : place + 2]
        self._busy[0] = self._busy[1] = 0
        with suppress(OSError):
            self.channel.send(b"", len(arrays.rewards))
            self.channel.send_handle(arrays.handle)

    # That nobody is there is noticed when the answer is due.

    def step(self) -> None:
        """Tell it to step."""
        self._note()
        with suppress(OSError):
            self.channel.say(STEP)

    def ask(self, *question: Any) -> None:
        """Ask something, which `answer` will return."""
        self._note()
        with suppress(OSError):
            self.channel.send(ASK, question)

    def answer(self) -> Any:
        """Return the answer, which has come, or None if everything is in shared memory.

        Raises `Failure` if what has come is the end.
        """
        try:
            word = self.channel.hear(wait=False)  # an end that somebody holds is silent
            if word == MORE:
                return self.channel.receive()
            if word == REFUSED:
                return Refusal(*self.channel.receive())
            if word == FAILED:
                raise Failure(f"{self.name} raised:\n{self.channel.receive()}")
            if word:
                return None
        except (EOFError, OSError):
            pass
        raise Failure(self.ended())

    def ended(self) -> str:
        """Return the text of its end."""
        self.process.join(1)
        code = self.process.exitcode
        return f"{self.name} has ended (exit code {code})." if code is not None else f"{self.name} says no more."

    @property
    def at(self) -> tuple[int, int]:
        """Which of its environments it is at, and at which action when it plays an episode again."""
        return self._busy[0], self._busy[1]

    def is_overdue(self, patience: float) -> bool:
        """Return whether it has been at the same environment for so many seconds."""
        if self.at != self._was_at:
            self._note()
        return time.monotonic() - self._since > patience

    def _note(self) -> None:
        self._since, self._was_at = time.monotonic(), self.at

    def dismiss(self) -> None:
        """Tell it that there is nothing more to do."""
        self.channel.close()

    def end(self, patience: float) -> None:
        """Wait for its end for so many seconds, then kill it."""
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.channel.close()
