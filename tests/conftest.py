"""Shared fixtures: one thread, a toy environment, small fast configurations, a short training."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from stable_baselines3.common.callbacks import CallbackList

from armature import registry
from armature.callbacks.metrics import MetricsCallback
from armature.callbacks.progress import ProgressCallback
from armature.callbacks.saving import CheckpointCallback, EvaluationCallback
from armature.callbacks.stopping import StopOnSignal, StopTraining
from armature.callbacks.witness import WitnessCallback
from armature.combos import implemented_combos
from armature.config import Config
from armature.making import make_model
from armature.plugins import load_plugins
from armature.runs import new_run
from armature.vec import make_vec_env, normalized

TOY = str(Path(__file__).with_name("toy_envs.py"))
"""The plugin that registers the toy environments."""

# A second thread makes networks of this size only slower.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_world_left_open() -> Iterator[None]:
    """Disconnect the physics clients that a test leaves open: each keeps 40 MB."""
    before = _clients()
    yield
    for client in _clients() - before:
        sys.modules["pybullet"].disconnect(client)


def _clients() -> set[int]:
    engine = sys.modules.get("pybullet")
    return {client for client in range(256) if engine.isConnected(client)} if engine else set()


def small_kwargs(algo: str) -> dict[str, dict[str, Any]]:
    """Return algo_kwargs and policy_kwargs that make a row fast."""
    if algo in ("random", "mine"):
        return {}
    if algo == "ars":
        return {"algo_kwargs": {"n_delta": 2}}
    if algo == "ppo_lstm":
        policy_kwargs = {"net_arch": [16], "lstm_hidden_size": 8}
        return {"algo_kwargs": {"n_steps": 32, "batch_size": 32}, "policy_kwargs": policy_kwargs}
    algo_kwargs: dict[str, Any] = {"buffer_size": 2000, "learning_starts": 64, "batch_size": 32}
    if algo in ("ppo", "trpo"):
        algo_kwargs = {"n_steps": 32, "batch_size": 32}
    elif algo == "a2c":
        algo_kwargs = {"n_steps": 8}
    return {"algo_kwargs": algo_kwargs, "policy_kwargs": {"net_arch": [16, 16]}}


@pytest.fixture
def make_config(tmp_path):
    """Return a function that makes a configuration of a row for the toy environment."""

    def make(algo: str = "ppo", **keys) -> Config:
        hindsight = "her" in (algo, keys.get("replay_buffer"))
        settings = {
            "env_name": "toy/Point-v0" if hindsight else "toy/PointFlat-v0",
            "plugins": [TOY],
            "logdir": str(tmp_path / "runs"),
            "algo": algo,
            "num_envs": 2,
            "steps": 300,
            "log_freq": 100,
            "eval_freq": 100,
            "eval_episodes": 4,
            "checkpoint_freq": 100,
            "tensorboard": False,
            **small_kwargs(algo),
        }
        config = Config(**{**settings, **keys})
        load_plugins(config.plugins)
        return config

    return make


@dataclass
class Session:
    """What a short training leaves behind."""

    run: Path
    config: Config
    model: Any
    metrics: MetricsCallback
    evaluations: EvaluationCallback
    checkpoints: CheckpointCallback
    witness: WitnessCallback
    stop: StopOnSignal


@pytest.fixture
def train():
    """Return a function that trains, in a new run or from a checkpoint of an old one, as train.py does."""
    environments = []

    def run(config: Config, run: Path | None = None, checkpoint: Path | None = None, extra=(), stream=None) -> Session:
        run = run or new_run(config)
        env, eval_env = make_vec_env(config, "train", config.num_envs), make_vec_env(config, "evaluation", 2)
        environments.extend([env, eval_env])
        algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
        model = make_model(
            algo_class, policy, {**kwargs, **config.algo_kwargs}, normalized(env) if config.normalize else env, config
        )
        with StopOnSignal() as stop:
            metrics, evaluations = MetricsCallback(run, config), EvaluationCallback(run, config, eval_env, stop)
            checkpoints = CheckpointCallback(run, config, {"metrics": metrics, "evaluations": evaluations})
            progress = ProgressCallback(config.steps, metrics, evaluations, stream or io.StringIO())
            witness = WitnessCallback(run, checkpoints, io.StringIO())
            callbacks = CallbackList([checkpoints, evaluations, metrics, progress, witness, *extra, stop])
            callbacks.init_callback(model)
            if checkpoint is not None:
                checkpoints.restore(model, checkpoint)
            try:
                model.learn(config.steps - model.num_timesteps, callbacks, log_interval=None, reset_num_timesteps=False)
            except StopTraining:
                callbacks.on_training_end()
        if not (stop.signal_number and checkpoints.under_way):
            checkpoints.save()
        return Session(run, config, model, metrics, evaluations, checkpoints, witness, stop)

    yield run
    for env in environments:
        env.close()


@pytest.fixture
def tables():
    """Restore the tables of names after a test that registers something."""
    load_plugins()
    kept = [registry.robots, registry.workspaces, registry.tasks, registry.robot_actions]
    before = [dict(table) for table in kept]
    combos = {algo: dict(rows) for algo, rows in implemented_combos.items()}
    yield
    for table, rows in zip(kept, before, strict=True):
        table.clear()
        table.update(rows)
    implemented_combos.clear()
    for algo, rows in combos.items():
        for framework, row in rows.items():
            implemented_combos.frameworks(algo).place(framework, row)
