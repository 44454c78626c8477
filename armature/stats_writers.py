"""Writers of metrics that installed packages bring, beside metrics.csv and TensorBoard.

An entry point of the group `armature.stats_writers` names a function `(run: Path, config: Config) -> KVWriter` (SB3's
class: `write(key_values, key_excluded, step)` and `close()`). What such a writer does wrong never ends a training: it
is told once, and switched off.
"""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from stable_baselines3.common.logger import KVWriter

from armature.config import Config

GROUP = "armature.stats_writers"
"""The group of entry points that bring writers."""

log = logging.getLogger(__name__)


def stats_writers(run: Path, config: Config) -> list[KVWriter]:
    """Return the writers of all installed packages."""
    return [GuardedWriter(point, run, config) for point in entry_points(group=GROUP)]


class GuardedWriter(KVWriter):
    """A writer of an entry point that is switched off, with a warning, at its first failure."""

    def __init__(self, point: EntryPoint, run: Path, config: Config) -> None:
        self.name = f"stats writer {point.name!r} ({point.value})"
        self.writer: Any = None
        self.writer = self._guarded(lambda: point.load()(run, config))

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Hand the metrics of a step over."""
        if self.writer is not None:
            self._guarded(lambda: self.writer.write(dict(key_values), dict(key_excluded), step))

    def close(self) -> None:
        """Close the writer."""
        if self.writer is not None:
            self._guarded(lambda: self.writer.close())

    def _guarded(self, action: Any) -> Any:
        try:
            return action()
        except Exception:  # metrics are not worth a training
            log.warning("%s failed and is switched off", self.name, exc_info=True)
            self.writer = None
            return None
