"""Tables and TensorBoard: what is known of the training while it goes on."""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import unwrap_vec_wrapper

from armature.callbacks.every import Every
from armature.config import Config
from armature.errors import DivergedError
from armature.evaluation import Episode
from armature.forgiving import Forgiving
from armature.runs import CsvTable
from armature.stats_writers import stats_writers
from armature.vec import EpisodeLog

WINDOW = 100
"""Episodes that a training success rate is the mean of."""


class CsvWriter(KVWriter):
    """Writes what an SB3 logger collects to a table that survives a resume."""

    def __init__(self, table: CsvTable) -> None:
        self.table = table

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Add a row of all single numbers."""
        numbers = {
            key: value for key, value in sorted(key_values.items()) if isinstance(value, (int, float, np.number))
        }
        self.table.append({"steps": step, **numbers})

    def close(self) -> None:
        """Do nothing: each row is on the disk already."""


def report(logger: Logger, values: Mapping[str, float], step: int) -> None:
    """Hand numbers of a step to TensorBoard and the like, which need no row of all numbers."""
    for output in logger.output_formats:
        if not isinstance(output, CsvWriter):
            output.write(dict(values), dict.fromkeys(values, ()), step)


class MetricsCallback(BaseCallback):
    """Writes `monitor.csv`, a line an episode, and `metrics.csv` and `tensorboard/`, a line each `log_freq` steps.

    Metrics are means over the last 100 episodes (`rollout/...`, `reward/...` for each term of the reward, summed over
    an episode) and the algorithm's own latest values (`train/...`). Wall times stand in `time/...`; everything else is
    the same whenever the same configuration is run again.
    """

    def __init__(self, run: Path, config: Config) -> None:
        super().__init__()
        self.run, self.config = run, config
        self.episodes = 0
        """Episodes finished since the run began."""
        self._recent: deque[Episode] = deque(maxlen=WINDOW)
        self._every = Every(config.log_freq)
        self._monitor, self._metrics = CsvTable(run / "monitor.csv"), CsvTable(run / "metrics.csv")
        self._time_before = 0.0
        self._started: float | None = None
        self._ended: float | None = None
        self._steps_before = 0
        self._logged = 0
        """Step of the last row of metrics."""
        self._unwritten: Mapping[str, Any] = {}

    @property
    def wall_time_s(self) -> float:
        """Seconds spent training, over all sessions of the run."""
        return self._time_before + self._session_s

    @property
    def fps(self) -> float:
        """Steps a second in this session."""
        return (self.num_timesteps - self._steps_before) / max(self._session_s, 1e-9)

    @property
    def _session_s(self) -> float:
        return 0.0 if self._started is None else (self._ended or time.monotonic()) - self._started

    @property
    def success_rate(self) -> float | None:
        """Share of successes among the recent episodes; None if there are none, or the environment reports none."""
        known = [episode.success for episode in self._recent if episode.success is not None]
        return statistics.fmean(known) if known else None

    def _on_training_start(self) -> None:
        self._steps_before = self.num_timesteps
        self._every.start(self.num_timesteps)
        self._started = time.monotonic()
        # A session that was cut may have got further.
        self._monitor.keep(lambda row: int(row["steps"]) <= self._steps_before)
        self._metrics.keep(lambda row: int(row["steps"]) <= self._logged)
        outputs: list[KVWriter] = [CsvWriter(self._metrics), *stats_writers(self.run, self.config)]
        if self.config.tensorboard:
            outputs.append(_TensorBoard(self.run / "tensorboard", self._steps_before))
        self.model.set_logger(Logger(None, outputs))
        _restore_unwritten(self.logger, self._unwritten)
        episode_log = unwrap_vec_wrapper(self.training_env, EpisodeLog)
        if not isinstance(episode_log, EpisodeLog):
            raise RuntimeError("MetricsCallback needs environments made by make_vec_env(config, 'train', ...).")
        self._log = episode_log

    def _on_step(self) -> bool:
        for episode in self._log.take():
            self.episodes += 1
            self._recent.append(episode)
            self._monitor.append(self._monitor_row(episode))
        if self._every(self.num_timesteps):
            self._write_metrics()
        return True

    def _on_training_end(self) -> None:
        self._ended = time.monotonic()
        finished = self.num_timesteps >= self.model._total_timesteps
        if finished and self._every.freq and self._logged < self.num_timesteps:
            self._write_metrics()
        self.logger.close()

    def _monitor_row(self, episode: Episode) -> dict[str, Any]:
        return {
            "episode": self.episodes,
            "env": episode.env,
            "steps": self.num_timesteps,
            "return": episode.total_return,
            "length": episode.length,
            "success": None if episode.success is None else int(episode.success),
            "first_success_step": episode.first_success_step,
        }

    def _write_metrics(self) -> None:
        self._logged = self.num_timesteps
        values: dict[str, float | None] = {
            "time/elapsed_s": round(self.wall_time_s, 3),
            "time/fps": round(self.fps, 1),
            "rollout/episodes": self.episodes,
            "rollout/success_rate": self.success_rate,
            "rollout/return": _mean(episode.total_return for episode in self._recent),
            "rollout/length": _mean(episode.length for episode in self._recent),
        }
        for name in sorted({name for episode in self._recent for name in episode.terms}):
            values[f"reward/{name}"] = _mean(episode.terms.get(name, 0.0) for episode in self._recent)
        for name, value in values.items():
            if value is not None:
                self.logger.record(name, value)
        losses = {name: value for name, value in self.logger.name_to_value.items() if "loss" in name.lower()}
        self.logger.dump(self.num_timesteps)
        for name, value in losses.items():
            if isinstance(value, (float, np.floating)) and not np.isfinite(value):
                raise DivergedError(f"{name} is {value}", self.num_timesteps)

    def get_state(self) -> dict[str, Any]:
        """Return counters, time, recent episodes, the last line's step, and what the algorithm reported since."""
        recent = [asdict(episode) for episode in self._recent]
        own = {"episodes": self.episodes, "wall_time_s": self.wall_time_s, "recent": recent, "logged": self._logged}
        return {**own, "unwritten": _unwritten(self.logger)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue counting."""
        self.episodes, self._time_before = state["episodes"], state["wall_time_s"]
        self._recent.extend(Episode(**episode) for episode in state["recent"])
        self._logged, self._unwritten = state["logged"], state["unwritten"]


def _unwritten(logger: Logger) -> dict[str, Any]:
    """Return by name the numbers that a logger holds: text, type, how many it is the mean of, which outputs skip it."""
    return {
        name: [repr(float(value)), np.asarray(value).dtype.name, logger.name_to_count[name], list(excluded)]
        for name, excluded in logger.name_to_excluded.items()
        if isinstance(value := logger.name_to_value[name], (int, float, np.number))
    }


def _restore_unwritten(logger: Logger, numbers: Mapping[str, Any]) -> None:
    """Let a logger go on with what `_unwritten` returned: means are summed up in the type of their numbers."""
    for name, (text, kind, count, excluded) in numbers.items():
        logger.name_to_value[name] = float(text) if kind == "float64" else np.dtype(kind).type(float(text))
        logger.name_to_count[name], logger.name_to_excluded[name] = int(count), tuple(excluded)


class _TensorBoard(TensorBoardOutputFormat):
    """SB3's writer, hiding what an earlier session wrote after the step that this one resumes from.

    A disk that fails costs what would have been written, and a warning.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        self._folder, self._purge_step, self._writing = folder, purge_step, Forgiving("TensorBoard's files")
        self._is_closed = False
        self.writer: Any = None
        threading.excepthook = _without_failing_disks

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        """Write numbers of a step."""
        from torch.utils.tensorboard.writer import SummaryWriter

        with self._writing:
            if self.writer is None:
                self.writer = SummaryWriter(str(self._folder), purge_step=self._purge_step or None)
            try:
                super().write(key_values, key_excluded, step)
            except OSError:  # its thread has ended, and would say so again and again
                self.writer = None
                raise

    def close(self) -> None:
        """Close the file."""
        with self._writing:
            if self.writer is not None:
                super().close()


def _without_failing_disks(args: threading.ExceptHookArgs) -> None:
    """Print no traceback of TensorBoard's thread when a disk fails: the next write says it in one line."""
    failing = issubclass(args.exc_type, OSError) and type(args.thread).__name__ == "_AsyncWriterThread"
    if not failing:
        threading.__excepthook__(args)


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return statistics.fmean(numbers) if numbers else None
