"""The best model and the newest checkpoints: evaluation, and saving while training goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from stable_baselines3.common.vec_env import VecEnv

from armature.callbacks.between import BetweenRollouts
from armature.callbacks.every import Every
from armature.callbacks.metrics import report
from armature.callbacks.stopping import PATIENCE_S, StopOnSignal
from armature.checkpoints import keep_last, read_json, settled, sync_file
from armature.config import Config
from armature.errors import RunError
from armature.evaluation import Evaluation, evaluate
from armature.forgiving import Forgiving
from armature.models import Player, RolloutStart, restore_model, save_checkpoint, save_model
from armature.replay import ReplayFiles
from armature.runs import CsvTable
from armature.vec import set_episode_counters

log = logging.getLogger(__name__)


class EvaluationCallback(BetweenRollouts):
    """Evaluates each `eval_freq` steps, writes `evaluations.csv`, and keeps the best model in `best/`.

    The better model has the higher success rate, and at equal rates the higher return. Every evaluation has the same
    episodes, so that two models differ by what they do and not by what they met.

    Args:
        run: the run folder.
        config: of the run.
        env: environments of the stream `evaluation`, not normalised.
        stop: cuts an evaluation short; a resumed run does it again.
    """

    def __init__(self, run: Path, config: Config, env: VecEnv, stop: StopOnSignal | None = None) -> None:
        super().__init__()
        self.run, self.config, self.env, self.stop = run, config, env, stop
        self.latest: Evaluation | None = None
        self._every = Every(config.eval_freq)
        self._evaluated = 0
        self._table = CsvTable(run / "evaluations.csv")
        self._best: tuple[float, float] | None = None
        self._saving = Forgiving("best/")

    def _on_training_start(self) -> None:
        self._every.start(self._evaluated)
        self._table.keep(lambda row: int(row["steps"]) <= self._evaluated)
        self._best = _best_score(self.run)

    def between(self) -> None:
        """Evaluate, if it is time."""
        steps = self.model.num_timesteps
        if self._every(steps):
            self.evaluate()
            self._evaluated = steps

    def _on_training_end(self) -> None:
        super()._on_training_end()
        if self.finished:
            self.between()

    def evaluate(self) -> Evaluation:
        """Evaluate now, and keep the model if it is the best so far."""
        steps, started = self.model.num_timesteps, time.monotonic()
        set_episode_counters(self.env, [0] * self.env.num_envs)
        self.latest = found = evaluate(
            Player(self.model), self.env, self.config.eval_episodes, on_step=self._look_for_signals
        )
        row = found.to_dict()
        low, high = row.pop("success_interval") or (None, None)
        elapsed = round(time.monotonic() - started, 3)
        self._table.append({"steps": steps, **row, "low": low, "high": high, "time_s": elapsed})
        told = {"evaluation/return": found.mean_return, "evaluation/success_rate": found.success_rate}
        report(self.logger, {name: value for name, value in told.items() if value is not None}, steps)
        if self._best is None or found.score > self._best:
            with self._saving:
                save_model(self.model, self.run / "best", self.config, found)
                self._best = found.score
        return found

    def _look_for_signals(self, *_: Any) -> None:
        if self.stop is not None:
            self.stop.leave_if_asked()

    def get_state(self) -> dict[str, Any]:
        """Return the step of the last evaluation."""
        return {"evaluated": self._evaluated}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after it."""
        self._evaluated = int(state["evaluated"])


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


class Stateful(Protocol):
    """A callback whose state is saved in checkpoints, as JSON values."""

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        ...


class CheckpointCallback(BetweenRollouts):
    """Saves a checkpoint each `checkpoint_freq` steps and `checkpoint_minutes`, between two rollouts.

    There everything that was collected has been learned from; within one, an on-policy algorithm would lose the part
    that it has. A rollout that takes longer than a signal may wait begins with a checkpoint.

    Must come first among the callbacks: a resumed run begins its first rollout with what the checkpoint holds.

    Args:
        run: the run folder.
        config: of the run.
        callbacks: whose state is saved too, by a name of their own.
    """

    def __init__(self, run: Path, config: Config, callbacks: Mapping[str, Stateful]) -> None:
        super().__init__()
        self.run, self.config, self.callbacks = run, config, callbacks
        self.saved_at: int | None = None
        """Step of the newest checkpoint."""
        self._every = Every(config.checkpoint_freq)
        self.saving = Forgiving("checkpoints")
        """Knows whether the last one could be written."""
        self._replay = ReplayFiles()
        self._start: RolloutStart | None = None
        self._began = self._saved_time = time.monotonic()

    def restore(self, model: Any, folder: Path) -> None:
        """Bring a fresh model and the callbacks to where a checkpoint was saved."""
        states, self._start = restore_model(model, folder, self._replay)
        try:
            for name, callback in self.callbacks.items():
                callback.set_state(states[name])
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{folder / 'state.json'} does not say how far the callbacks were: {error}.") from error
        self.saved_at = model.num_timesteps

    def save(self) -> Path:
        """Save a checkpoint now, unless that was done at this very step; remove those that are not kept.

        A disk that fails costs the checkpoint and a warning: the ones before are still there.
        """
        steps = self.model.num_timesteps
        folder = self.run / "checkpoints" / f"{steps:09d}"
        if self.saved_at != steps or not folder.is_dir():  # somebody may have removed it
            states = {name: callback.get_state() for name, callback in self.callbacks.items()}
            replay = self._replay if self.config.save_replay_buffer else None
            with self.saving:
                for table in self.run.glob("*.csv"):  # a checkpoint that survives a power cut needs the rows before it
                    sync_file(table)
                save_checkpoint(self.model, folder, self.config, states, replay)
                self.saved_at = steps
                keep_last(folder, self.config.keep_checkpoints)
        return folder

    def between(self) -> None:
        """Save, if it is time."""
        steps = self.model.num_timesteps
        if self._every(steps) or self._time_is_over():
            self.save()
            self._saved_time = time.monotonic()
        self._began = time.monotonic()

    def _time_is_over(self) -> bool:
        now, minutes = time.monotonic(), self.config.checkpoint_minutes
        long = now - self._began > PATIENCE_S and (self.config.checkpoint_freq or minutes) > 0
        return long or 0 < 60 * minutes <= now - self._saved_time

    def _on_training_start(self) -> None:
        self._every.start(self.num_timesteps)
        self._began = self._saved_time = time.monotonic()

    def _on_training_end(self) -> None:
        super()._on_training_end()
        if self.finished:  # before the last evaluation, as before every other one: what cuts that changes nothing
            self.save()

    def _on_rollout_start(self) -> None:
        if self._start is not None:
            self._start.put_into(self.model)
            self._start = None
        super()._on_rollout_start()
