"""A run that is cut anywhere and resumed ends as one that was never cut, bit for bit."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import armature
from armature.checkpoints import checkpoints, newest, read_json
from armature.combos import implemented_combos
from armature.runs import CsvTable
from armature.weights import jax_arrays

ROOT = Path(armature.__file__).parent.parent


class Killed(BaseException):
    """What stands for the end of a process."""


class Kill(BaseCallback):
    """Ends the training in the middle of a step."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def _on_step(self):
        if self.num_timesteps >= self.step:
            raise Killed
        return True


def outcome(session):
    """Return all that a run ends with, as hashes by name: weights, moments, counters, tables without their times."""
    model, found = session.model, {}
    for name, part in model.get_parameters().items():
        found[name] = _hash(_plain(part))
    found |= {name: _hash(array.tolist()) for name, array in jax_arrays(model).items()}
    for name in ("metrics.csv", "monitor.csv", "evaluations.csv"):
        rows = CsvTable(session.run / name).rows()
        found[name] = [{key: value for key, value in row.items() if "time" not in key} for row in rows]
    last = checkpoints(session.run)[-1]
    found["steps"], state = model.num_timesteps, read_json(last / "state.json")
    found |= {"random": state["random"], "episodes": state["episodes"], "seen": state["seen"]}
    for path in sorted(last.glob("*.npz")) + sorted(last.glob("replay/*.npz")):
        with np.load(path) as arrays:
            found[path.relative_to(last).as_posix()] = {key: _hash(arrays[key].tolist()) for key in arrays}
    return found


def _plain(value):
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else repr(value)


def _hash(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def cut_and_resumed(config, train, cuts):
    """Return a session that was cut at each of some steps, and resumed in new objects."""
    run = None
    for cut in cuts:
        try:
            train(config, run, newest(run) if run and checkpoints(run) else None, extra=[Kill(cut)])
        except Killed:
            run = run or max(Path(config.logdir).iterdir(), key=lambda path: path.stat().st_mtime)
    return train(config, run, newest(run) if checkpoints(run) else None)


ROWS = [algo for algo, rows in implemented_combos.items() if "pytorch" in rows and algo not in ("random", "mine")]


@pytest.mark.parametrize("algo", ROWS)
def test_a_cut_run_ends_as_one_that_was_never_cut(algo, make_config, train):
    config = make_config(algo, checkpoint_freq=50, steps=260, num_envs=3)
    straight = train(config)
    resumed = cut_and_resumed(config, train, [131, 190])
    assert outcome(resumed) == outcome(straight)
    assert resumed.witness.verdict == "exact"


@pytest.mark.parametrize("algo", ["ppo", "fast_sac"])
def test_in_workers(algo, make_config, train):
    config = make_config(algo, num_workers=2, checkpoint_freq=50, steps=260, num_envs=3)
    here = config.model_copy(update={"num_workers": 0})
    assert outcome(cut_and_resumed(config, train, [131, 190])) == outcome(train(here))


@pytest.mark.parametrize("algo", ["sac", "tqc", "dqn", "fast_sac"])
def test_with_hindsight(algo, make_config, train):
    config = make_config(algo, replay_buffer="her", checkpoint_freq=50, steps=300)
    assert outcome(cut_and_resumed(config, train, [143, 271])) == outcome(train(config))


VARIANTS = {
    "statistics": ("ppo", {"normalize": True}),
    "statistics of a replay buffer": ("sac", {"normalize": True}),
    "state-dependent exploration": (
        "sac",
        {"algo_kwargs": {"use_sde": True, "learning_starts": 64, "buffer_size": 900}},
    ),
    "state-dependent exploration, on policy": ("ppo", {"algo_kwargs": {"use_sde": True, "n_steps": 16}}),
    "noise with a memory": (
        "td3",
        {
            "algo_kwargs": {
                "action_noise": {"type": "ornstein-uhlenbeck", "std": 0.3},
                "learning_starts": 64,
                "buffer_size": 900,
            }
        },
    ),
    "a ring that is full": ("sac", {"algo_kwargs": {"buffer_size": 100, "learning_starts": 32, "batch_size": 16}}),
    "hindsight in a ring that is full": (
        "sac",
        {"replay_buffer": "her", "algo_kwargs": {"buffer_size": 150, "learning_starts": 48, "batch_size": 16}},
    ),
    "a schedule": (
        "ars",
        {"algo_kwargs": {"n_delta": 2, "learning_rate": {"schedule": "linear", "start": 0.1, "end": 0}}},
    ),
    "one environment": ("ppo", {"num_envs": 1}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_whatever_is_carried_over(name, make_config, train):
    algo, keys = VARIANTS[name]
    config = make_config(algo, checkpoint_freq=48, steps=320, **keys)
    assert outcome(cut_and_resumed(config, train, [77, 251])) == outcome(train(config))


def test_neither_number_nor_time_of_checkpoints_matters(make_config, train):
    often, rarely = (train(make_config("fast_sac", checkpoint_freq=freq)) for freq in (2, 0))
    assert {name: value for name, value in outcome(often).items()} == outcome(rarely)
