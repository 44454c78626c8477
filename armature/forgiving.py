"""Disks that fail do not end a training: what could not be written is told once, and tried again later."""

from __future__ import annotations

import logging
from types import TracebackType

log = logging.getLogger(__name__)


class Forgiving:
    """A context manager, to be entered again and again, that lets an `OSError` pass with a warning.

        saving = Forgiving("the checkpoint")
        with saving:
            save()
        if not saving.failing: ...

    A cause (a full disk, a folder that is read-only or gone) is told when it begins, and once more when it is over.

    Args:
        what: is written, with its article.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._cause: int | None = None

    @property
    def failing(self) -> bool:
        """Whether it could not be written the last time."""
        return self._cause is not None

    def __enter__(self) -> Forgiving:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if error is None:
            if self.failing:
                log.warning("%s can be written again", self.what)
            self._cause = None
            return False
        if not isinstance(error, OSError) or isinstance(error, ConnectionError):  # which is a process, and no disk
            return False
        cause = error.errno or 0
        if cause != self._cause:
            log.warning("cannot write %s, going on without: %s", self.what, error)
        self._cause = cause
        return True
