"""Shared fixtures: one thread, a toy environment, small fast configurations."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from armature import registry
from armature.combos import implemented_combos
from armature.config import Config
from armature.plugins import load_plugins

TOY = str(Path(__file__).with_name("toy_envs.py"))
"""The plugin that registers the toy environments."""

SMALL = {
    "on_policy": {"n_steps": 32},
    "off_policy": {"buffer_size": 2000, "learning_starts": 64, "batch_size": 32},
}

# Tests run side by side with other things; a second thread only makes small networks slower.
torch.set_num_threads(1)


def small_kwargs(algo: str) -> dict:
    """Return algo_kwargs that make a row fast."""
    if algo == "ars":
        return {"n_delta": 2}
    if algo in ("ppo", "a2c", "trpo", "ppo_lstm"):
        return {"n_steps": 32} if algo == "a2c" else {"n_steps": 32, "batch_size": 32}
    return {"buffer_size": 2000, "learning_starts": 64, "batch_size": 32}


def toy_config(algo: str = "ppo", **keys) -> Config:
    """Return a configuration that trains a row on the toy environment, on a goal dict if it replays with hindsight."""
    hindsight = "her" in (algo, keys.get("replay_buffer"))
    settings = {
        "env_name": "toy/Point-v0" if hindsight else "toy/PointFlat-v0",
        "plugins": [TOY],
        "algo": algo,
        "num_envs": 2,
        "policy_kwargs": {} if algo == "ars" else {"net_arch": [16, 16]},
        "algo_kwargs": small_kwargs(algo),
        "steps": 300,
        "log_freq": 100,
        "eval_freq": 100,
        "eval_episodes": 4,
        "checkpoint_freq": 100,
        "tensorboard": False,
    }
    if algo == "ppo_lstm":
        settings["policy_kwargs"] = {"net_arch": [16], "lstm_hidden_size": 8}
    config = Config(**{**settings, **keys})
    load_plugins(config.plugins)
    return config


@pytest.fixture
def config() -> Config:
    """A fast configuration."""
    return toy_config()


@pytest.fixture
def tables():
    """Restore the tables of names after a test that registers something."""
    load_plugins()
    kept = [implemented_combos, registry.robots, registry.workspaces, registry.tasks, registry.robot_actions]
    before = [{name: copy.copy(row) for name, row in table.items()} for table in kept]
    yield
    for table, rows in zip(kept, before, strict=True):
        table.clear()
        table.update(rows)
