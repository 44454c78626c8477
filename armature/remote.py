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
        self._was_at = 0, 0

    @property
    def name(self) -> str:
        """What people know it by."""
        first, last = self.indices[0], self.indices[-1]
        return (
            f"the worker of environment {first}" if first == last else f"the worker of environments {first} to {last}"
        )

    ends: tuple[int, ...] = ()
    """What can be read from when the worker has said something or has ended, as file descriptors."""
    pending = False
    """Whether an answer is due."""
    answer: Any = None
    """The last one; None if everything is in shared memory."""
    failure = ""
    """What happened, if there will be no more answers."""

    def start(self, patience: float, timeout: float) -> None:
        """Start the process, whose first answer tells the spaces of its environments.

        It may take `patience` seconds to make them, and be silent in the middle of a message for `timeout` seconds.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["armature.vec"])  # imported once, for all workers
        ours, its = socket.socketpair()
        ours.settimeout(timeout)
        self.channel, self.failure, self._patience = Channel(ours), "", patience
        self.process = context.Process(
            target=worker_process.main, args=(self.indices[0], self.makers, its), daemon=True
        )
        self._busy = memoryview(bytearray(16)).cast("q")
        self._expect()
        self.process.start()
        its.close()
        self.ends = ours.fileno(), self.process.sentinel

    def share(self, arrays: SharedArrays, patience: float) -> None:
        """Give the worker the memory to write to; from now on it may be `patience` seconds at one environment."""
        place = 2 * self.indices[0]
        self._busy, self._patience = arrays.busy[place : place + 2], patience
        self._busy[0] = self._busy[1] = 0
        with suppress(OSError):
            self.channel.send(b"", len(arrays.rewards))
            self.channel.send_handle(arrays.handle)

    # That nobody is there is noticed when the answer is due.

    def step(self) -> None:
        """Tell it to step."""
        self._expect()
        with suppress(OSError):
            self.channel.say(STEP)

    def ask(self, *question: Any) -> None:
        """Ask something."""
        self._expect()
        with suppress(OSError):
            self.channel.send(ASK, question)

    def listen(self) -> None:
        """Take what it says, which is an answer or the end."""
        self.pending = False
        try:
            word = self.channel.hear(wait=False)  # an end whose socket somebody else holds is silent
            if word == MORE:
                self.answer = self.channel.receive()
            elif word == REFUSED:
                self.answer = Refusal(*self.channel.receive())
            elif word == FAILED:
                self.failure = f"{self.name} raised:\n{self.channel.receive()}"
            elif word:
                self.answer = None
            else:
                raise EOFError
        except (EOFError, OSError):
            self.process.join(1)
            self.failure = f"{self.name} has ended (exit code {self.process.exitcode})."

    @property
    def at(self) -> tuple[int, int]:
        """Which of its environments it is at, and at which action when it plays an episode again."""
        return self._busy[0], self._busy[1]

    def watch(self) -> None:
        """Call it a failure if it has been at the same environment for too long; as a whole it may take its time."""
        if self.at != self._was_at:
            self._since, self._was_at = time.monotonic(), self.at
        if self.pending and time.monotonic() - self._since > self._patience:
            self.failure = f"{self.name} did not answer for {self._patience:g} s."

    def _expect(self) -> None:
        self.pending, self._since, self._was_at = True, time.monotonic(), self.at

    def dismiss(self) -> None:
        """Tell it that there is nothing more to do."""
        self.channel.close()

    def end(self, patience: float) -> None:
        """Wait for its end for so many seconds, then kill it."""
        self.process.join(patience)
        self.process.kill()
        self.process.join()
        self.channel.close()
