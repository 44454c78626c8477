"""Signals end a training between two rollouts."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

PATIENCE_S = 3.0
"""Seconds that a signal waits for the end of a rollout."""
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name))
"""Ctrl-C; what `kill` and schedulers send; what schedulers send ahead of time. Windows has no third."""


class StopTraining(Exception):  # noqa: N818, like StopIteration it is no error
    """Leaves `learn`; the caller catches it. A callback's answer would end a rollout and lose its last step."""


class StopOnSignal(BaseCallback):
    """Ends training between two rollouts once a signal has arrived; a second one ends it at once.

    A rollout that has not ended within `PATIENCE_S` is given up: `CheckpointCallback` has saved a checkpoint before it.
    An algorithm that tells of no rollouts is asked to stop after a step.

    A context manager: the signals have their meaning within the `with` block.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal_number: int | None = None
        """The signal that arrived."""
        self._arrived = 0.0
        self._rollouts_told = self._asked = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_status(self) -> int:
        """Return 128 + the signal's number, as shells do, or 0 if there was none."""
        return 0 if self.signal_number is None else 128 + self.signal_number

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in SIGNALS:
                self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None:
            raise KeyboardInterrupt
        self.signal_number, self._arrived = number, time.monotonic()  # and nothing else, wherever this interrupts

    def leave_if_asked(self) -> None:
        """Raise `StopTraining` if a signal has arrived; for places between two rollouts."""
        if self.signal_number is not None:
            raise StopTraining

    def _on_rollout_start(self) -> None:
        self._rollouts_told = True
        self.leave_if_asked()

    def _on_step(self) -> bool:
        if self.signal_number is None:
            return True
        if not self._rollouts_told and not self._asked:
            self._asked = True
            return False
        if not self._rollouts_told or time.monotonic() - self._arrived > PATIENCE_S:
            raise StopTraining
        return True
