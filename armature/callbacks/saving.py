"""The best model and the newest checkpoints: evaluation, and saving while training goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from armature.callbacks.every import Every
from armature.checkpoints import keep_last, read_json, settled
from armature.config import Config
from armature.errors import RunError
from armature.evaluation import Evaluation, evaluate
from armature.models import Player, restore_model, save_checkpoint, save_model
from armature.runs import CsvTable
from armature.vec import set_episode_counters

log = logging.getLogger(__name__)


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


class Stateful(Protocol):
    """A callback whose state is saved in checkpoints, as JSON values."""

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed run needs."""
        ...

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""
        ...


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
