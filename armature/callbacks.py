"""What happens during training besides learning: metrics, evaluation, checkpoints, progress, stopping on a signal.

Steps are environment steps over all environments. Callbacks that count something have `get_state` and `set_state`, so
that a resumed run continues counting.

    metrics, evaluations = MetricsCallback(run, config), EvaluationCallback(run, config, eval_env)
    checkpoints = CheckpointCallback(run, config, {"metrics": metrics})
    with StopOnSignal() as stop, contextlib.suppress(StopTraining):
        model.learn(steps, [evaluations, metrics, checkpoints, stop], log_interval=None, reset_num_timesteps=False)
"""

from __future__ import annotations

import logging
import signal
import statistics
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Protocol, TextIO

import numpy as np
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger, TensorBoardOutputFormat
from stable_baselines3.common.vec_env import VecEnv, unwrap_vec_wrapper
from tqdm import tqdm

from armature.checkpoints import keep_last, read_json, settled
from armature.config import Config
from armature.errors import DivergedError, RunError
from armature.evaluation import Episode, Evaluation, evaluate
from armature.models import Player, restore_model, save_checkpoint, save_model
from armature.runs import CsvTable
from armature.stats_writers import stats_writers
from armature.vec import EpisodeLog, set_episode_counters

log = logging.getLogger(__name__)

WINDOW = 100
"""Episodes that a training success rate is the mean of."""


class Stateful(Protocol):
    """A callback whose state is saved in checkpoints, as JSON values."""

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        ...


class Every:
    """Fires when a count reaches or jumps over a multiple of `freq`; never with a `freq` of 0."""

    def __init__(self, freq: int) -> None:
        self.freq, self._passed = freq, 0

    def start(self, count: int) -> None:
        """Begin at a count that has fired already."""
        self._passed = count // self.freq if self.freq else 0

    def __call__(self, count: int) -> bool:
        """Return whether a multiple was passed since the last call."""
        before = self._passed
        self.start(count)
        return self._passed > before


# ---------------------------------------------------------------------------------------------- metrics


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
        self._steps_before = self._logged = 0

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
        return 0.0 if self._started is None else (self._ended or time.perf_counter()) - self._started

    @property
    def success_rate(self) -> float | None:
        """Share of successes among the recent episodes; None if there are none, or the environment reports none."""
        known = [episode.success for episode in self._recent if episode.success is not None]
        return statistics.fmean(known) if known else None

    def _on_training_start(self) -> None:
        self._steps_before = self._logged = self.num_timesteps
        self._every.start(self.num_timesteps)
        self._started = time.perf_counter()
        for table in (self._monitor, self._metrics):
            table.keep(lambda row: int(row["steps"]) <= self._steps_before)  # a killed session may have got further
        outputs: list[KVWriter] = [CsvWriter(self._metrics), *stats_writers(self.run, self.config)]
        if self.config.tensorboard:
            outputs.append(_TensorBoard(self.run / "tensorboard", self._steps_before))
        self.model.set_logger(Logger(None, outputs))
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
        self._ended = time.perf_counter()
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
        """Return counters, time and recent episodes."""
        recent = [asdict(episode) for episode in self._recent]
        return {"episodes": self.episodes, "wall_time_s": self.wall_time_s, "recent": recent}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue counting."""
        self.episodes, self._time_before = state["episodes"], state["wall_time_s"]
        self._recent.extend(Episode(**episode) for episode in state["recent"])


class _TensorBoard(TensorBoardOutputFormat):
    """SB3's writer, hiding what an earlier session wrote after the step that this one resumes from."""

    def __init__(self, folder: Path, purge_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        self.writer = SummaryWriter(str(folder), purge_step=purge_step or None)
        self._is_closed = False


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return statistics.fmean(numbers) if numbers else None


# ---------------------------------------------------------------------------------------------- evaluation


class EvaluationCallback(BaseCallback):
    """Evaluates each `eval_freq` steps, writes `evaluations.csv`, and keeps the best model in `best/`.

    The better model has the higher success rate, and at equal rates the higher return. Every evaluation has the same
    episodes, so that two models differ by what they do and not by what they met.

    Args:
        run: the run folder.
        config: of the run.
        env: environments of the stream `evaluation`, not normalised.
    """

    def __init__(self, run: Path, config: Config, env: VecEnv) -> None:
        super().__init__()
        self.run, self.config, self.env = run, config, env
        self.latest: Evaluation | None = None
        self._every = Every(config.eval_freq)
        self._table = CsvTable(run / "evaluations.csv")
        self._best: tuple[float, float] | None = None

    def _on_training_start(self) -> None:
        steps = self.num_timesteps
        self._every.start(steps)
        self._table.keep(lambda row: int(row["steps"]) <= steps)
        self._best = _best_score(self.run)

    def _on_step(self) -> bool:
        if self._every(self.num_timesteps):
            self.evaluate()
        return True

    def evaluate(self) -> Evaluation:
        """Evaluate now, and keep the model if it is the best so far."""
        started = time.perf_counter()
        set_episode_counters(self.env, [0] * self.env.num_envs)
        self.latest = found = evaluate(Player(self.model), self.env, self.config.eval_episodes)
        row = found.to_dict()
        low, high = row.pop("success_interval") or (None, None)
        elapsed = round(time.perf_counter() - started, 3)
        self._table.append({"steps": self.num_timesteps, **row, "low": low, "high": high, "time_s": elapsed})
        self.logger.record("evaluation/return", found.mean_return)
        if found.success_rate is not None:
            self.logger.record("evaluation/success_rate", found.success_rate)
        if self._best is None or found.score > self._best:
            self._best = found.score
            save_model(self.model, self.run / "best", self.config, found)
        return found


def _best_score(run: Path) -> tuple[float, float] | None:
    """Return the score of the model in `best/`. It is newer than any checkpoint's word on it."""
    folder = settled(run / "best")
    if folder is None:
        return None
    try:
        found = read_json(folder / "model.json")["evaluation"]
        return (-1.0 if found["success_rate"] is None else found["success_rate"], found["mean_return"])
    except (RunError, KeyError, TypeError) as error:
        log.warning("%s is unreadable and will be replaced: %s", folder, error)
        return None


# ---------------------------------------------------------------------------------------------- checkpoints


class CheckpointCallback(BaseCallback):
    """Saves a checkpoint each `checkpoint_freq` steps, or rather at the beginning of the next rollout.

    Between rollouts everything that was collected has been learned from; within one, an on-policy algorithm would lose
    the part that it has.

    Args:
        run: the run folder.
        config: of the run.
        callbacks: whose state is saved too, by a name of their own.
    """

    def __init__(self, run: Path, config: Config, callbacks: Mapping[str, Stateful]) -> None:
        super().__init__()
        self.run, self.config, self.callbacks = run, config, callbacks
        self._every = Every(config.checkpoint_freq)
        self._due = False
        self._saved: int | None = None

    def restore(self, model: Any, folder: Path) -> None:
        """Bring a fresh model and the callbacks to where a checkpoint was saved."""
        states = restore_model(model, folder)
        try:
            for name, callback in self.callbacks.items():
                callback.set_state(states[name])
        except (KeyError, TypeError) as error:
            raise RunError(f"{folder / 'state.json'} does not say how far the callbacks were: {error}.") from error

    def save(self) -> Path:
        """Save a checkpoint now, unless that was done at this very step; remove those that are not kept."""
        steps = self.model.num_timesteps
        folder = self.run / "checkpoints" / f"{steps:09d}"
        if self._saved != steps:
            states = {name: callback.get_state() for name, callback in self.callbacks.items()}
            save_checkpoint(self.model, folder, self.config, states, self.config.save_replay_buffer)
            keep_last(folder, self.config.keep_checkpoints)
            self._saved = steps
        return folder

    def _on_training_start(self) -> None:
        self._every.start(self.num_timesteps)

    def _on_step(self) -> bool:
        self._due = self._every(self.num_timesteps) or self._due
        return True

    def _on_rollout_start(self) -> None:
        if self._due:
            self._due = False
            try:
                self.save()
            except OSError as error:  # a full disk must not end the training; the last checkpoint is still there
                log.warning("no checkpoint at %d steps: %s", self.model.num_timesteps, error)


# ---------------------------------------------------------------------------------------------- stopping


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


# ---------------------------------------------------------------------------------------------- progress


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
