"""Whether what has failed is tried once more: accidents are, what happens again and again is not."""

from __future__ import annotations

import logging
import time

from armature.errors import Fault, WorkerError

log = logging.getLogger(__name__)

RESTARTS = 10
"""How often environments may fail in a run."""
WAITING = "waiting for the next word"
"""What a process was doing that ended while no environment did anything."""
QUICK_S = 10.0
"""Faults that follow each other faster than this are waited after, twice as long each time."""
PAUSES_S = (0.05, 1.0)
"""The first such pause and the longest one."""


class Restarts:
    """Counts what has failed.

    Args:
        allowed: how often something may fail.
    """

    def __init__(self, allowed: int) -> None:
        self.allowed, self.count = allowed, 0
        self._places: set[tuple[str, int, int, int]] = set()
        self._latest, self._pause = -QUICK_S, 0.0

    def allow(self, fault: Fault) -> None:
        """Take note of a fault; raise `WorkerError` if it was there before, or one too many."""
        self.count += 1
        place = fault.doing, fault.index, fault.episode, fault.step
        # What plays an episode again has been there before without harm, or is not even made yet.
        if place in self._places and fault.doing not in ("restore", WAITING):
            raise WorkerError(f"{fault} That was the second time at this very place, so it is no accident.", fault)
        if self.count > self.allowed:
            raise WorkerError(
                f"environments have failed {self.count} times and worker_restarts is {self.allowed}. The last time: "
                f"{fault} When that is mended, train.py --resume RUN goes on.",
                fault,
            )
        self._places.add(place)
        log.warning("%s It is made anew and plays its episode again.", fault)

    def pause(self) -> None:
        """Wait a little if this comes soon after the last time."""
        soon = time.monotonic() - self._latest < QUICK_S
        first, longest = PAUSES_S
        self._pause = min(max(first, 2 * self._pause), longest) if soon else 0.0
        time.sleep(self._pause)
        self._latest = time.monotonic()
