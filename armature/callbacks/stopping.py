"""Ctrl-C and SIGTERM end a training between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback


class StopTraining(Exception):  # noqa: N818, like StopIteration it is no error
    """Leaves `learn` of an algorithm (ARS) that goes on when a callback asks it to stop; the caller catches this."""


class StopOnSignal(BaseCallback):
    """Ends training after the step during which SIGINT (Ctrl-C) or SIGTERM arrives; a second signal ends it at once.

    A context manager: the signals have their meaning within the `with` block.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal_number: int | None = None
        """The signal that arrived."""
        self._asked = False
        self._previous: dict[int, Any] = {}

    @property
    def exit_status(self) -> int:
        """Return 128 + the signal's number, as shells do, or 0 if there was none."""
        return 0 if self.signal_number is None else 128 + self.signal_number

    def __enter__(self) -> StopOnSignal:
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in (signal.SIGINT, signal.SIGTERM):
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
        self.signal_number = number  # and nothing else: training stops between two steps, not in the middle of one

    def _on_step(self) -> bool:
        if self.signal_number is None:
            return True
        if self._asked:  # it took no notice of the answer
            raise StopTraining
        self._asked = True
        return False
