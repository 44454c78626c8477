"""How far the training is, for whoever watches."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from stable_baselines3.common.callbacks import BaseCallback
from tqdm import tqdm

from armature.callbacks.every import Every
from armature.callbacks.metrics import MetricsCallback
from armature.callbacks.saving import EvaluationCallback


class ProgressCallback(BaseCallback):
    """Shows steps, speed and success: a bar on a terminal, twenty lines elsewhere.

    Args:
        total: steps of the whole run.
        metrics: knows the training success rate.
        evaluations: knows the latest evaluation; None if there are none.
        stream: where to show it; standard error if None.
    """

    def __init__(
        self,
        total: int,
        metrics: MetricsCallback,
        evaluations: EvaluationCallback | None = None,
        stream: TextIO | None = None,
    ) -> None:
        super().__init__()
        self.total, self.metrics, self.evaluations = total, metrics, evaluations
        self.stream = stream or sys.stderr
        self._bar: tqdm[Any] | None = None
        self._every = Every(max(total // 20, 1))
        self._told = 0.0

    def _on_training_start(self) -> None:
        self._every.start(self.num_timesteps)
        if self.stream.isatty():
            self._bar = tqdm(total=self.total, initial=self.num_timesteps, unit=" steps", file=self.stream)

    def _on_step(self) -> bool:
        if self._bar is None:
            if self._every(self.num_timesteps):
                speed = f"{self.metrics.fps:,.0f} steps/s"
                parts = (f"{self.num_timesteps:,} of {self.total:,} steps", speed, *self._successes())
                self.stream.write(", ".join(parts) + "\n")
                self.stream.flush()
        elif time.monotonic() - self._told > 0.2:
            self._told = time.monotonic()
            self._bar.set_postfix_str(", ".join(self._successes()), refresh=False)
            self._bar.update(self.num_timesteps - self._bar.n)
        return True

    def _on_training_end(self) -> None:
        if self._bar is not None:
            self._bar.update(self.num_timesteps - self._bar.n)
            self._bar.close()

    def _successes(self) -> list[str]:
        latest = self.evaluations.latest if self.evaluations else None
        shares = {"success": self.metrics.success_rate, "evaluated": latest.success_rate if latest else None}
        return [f"{name} {share:.0%}" for name, share in shares.items() if share is not None]
