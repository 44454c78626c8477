"""Whether a resumed run does what the interrupted one did."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TextIO

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import unwrap_vec_wrapper
from tqdm import tqdm

from armature.callbacks.saving import CheckpointCallback
from armature.episodes import fingerprint
from armature.runs import CsvTable
from armature.vec import EpisodeLog

STEPS = 50
"""Steps of all environments after each checkpoint that are kept in mind."""


class WitnessCallback(BaseCallback):
    """Writes hashes of what is done and seen in the first steps after each checkpoint to `witness.csv`.

    A resumed run that comes by these steps again compares, and says whether it is exact or where it diverged.

    Args:
        run: the run folder.
        checkpoints: knows where checkpoints were saved.
        stream: where to say it; standard error if None.
    """

    def __init__(self, run: Path, checkpoints: CheckpointCallback, stream: TextIO | None = None) -> None:
        super().__init__()
        self.checkpoints, self.stream = checkpoints, stream or sys.stderr
        self.verdict: str | None = None
        """`exact`, `diverged at step N`, or None while there was nothing to compare."""
        self._table = CsvTable(run / "witness.csv")
        self._expected: dict[int, str] = {}
        self._compared = 0
        self._until = 0  # the last step to be written down

    def _on_training_start(self) -> None:
        begin = self.num_timesteps
        self._expected = {int(row["steps"]): row["hash"] for row in self._table.rows() if int(row["steps"]) > begin}
        self._table.keep(lambda row: int(row["steps"]) <= begin)

    def _on_rollout_start(self) -> None:
        if self.checkpoints.saved_at == self.model.num_timesteps:
            self._until = self.model.num_timesteps + STEPS * self.training_env.num_envs

    def _on_step(self) -> bool:
        if self.num_timesteps <= self._until:
            log = unwrap_vec_wrapper(self.training_env, EpisodeLog)
            seen = fingerprint(log.last_step)  # type: ignore[union-attr]
            self._table.append({"steps": self.num_timesteps, "hash": seen})
            if self._expected:
                self._compare(seen)
        return True

    def _compare(self, seen: str) -> None:
        expected = self._expected.pop(self.num_timesteps, seen)  # a full disk may have left some out
        self._compared += 1
        if expected != seen:
            self._expected, self.verdict = {}, f"diverged at step {self.num_timesteps:,}"
        if not self._expected or self.num_timesteps >= self._until:
            self._expected, self.verdict = {}, self.verdict or "exact"
            tqdm.write(f"resume: {self.verdict} ({self._compared} steps of all environments compared)", self.stream)
