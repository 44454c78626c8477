"""Classes that are no SB3 algorithms: they learn, are saved, resumed, replayed and checked as any row is."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from armature.adapters import AlgorithmAdapter
from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.errors import ConfigError, PluginError
from armature.making import make_model
from armature.models import load_model, restore_model, save_model
from armature.plugin_check import check_plugin
from armature.registry import resolve
from armature.vec import make_vec_env

ROOT = Path(__file__).parent.parent
LEARNERS = str(Path(__file__).with_name("own_learners.py"))
TOYS = str(Path(__file__).with_name("toy_envs.py"))
TOY = ["--env_name=toy/PointFlat-v0", f'--plugins=["{TOYS}", "{LEARNERS}"]', "--num_envs=2"]


@pytest.fixture
def climber(make_config, tables):
    """Return a configuration of the climber."""
    register("climber", "pytorch", Combo(resolve(f"{LEARNERS}:Climber"), source=LEARNERS))
    return make_config("climber", plugins=[TOYS, LEARNERS], algo_kwargs={}, policy_kwargs={})


def train_py(*flags, cwd=None):
    """Run train.py."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *flags], capture_output=True, text=True, env=env, cwd=cwd, timeout=300
    )


def build(config):
    """Make a fresh model."""
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return make_model(
        algo_class, policy, {**kwargs, **config.algo_kwargs}, make_vec_env(config, "train", config.num_envs), config
    )


def test_a17_x3_a_class_without_base_class_is_a_row_like_any_other(climber, train):
    """Metrics, evaluations, checkpoints, best model and replay come without code of its own."""
    session = train(climber)
    assert isinstance(session.model, AlgorithmAdapter)
    assert session.model.num_timesteps >= 300
    for table in ("metrics.csv", "monitor.csv", "evaluations.csv"):
        assert len(list(csv.DictReader((session.run / table).open()))) >= 2
    loaded = load_model(session.run / "best", allow_import=climber.plugins)
    space = session.model.observation_space
    seen = np.stack([space.sample() for _ in range(4)])
    save_model(session.model, session.run / "final", climber)
    final = load_model(session.run / "final", allow_import=climber.plugins)
    assert np.array_equal(final.predict(seen)[0], session.model.predict(seen)[0])
    assert loaded.step <= session.model.num_timesteps


def test_a16_it_resumes(climber, train):
    session = train(climber)
    fresh = build(climber)
    restore_model(fresh, session.checkpoints.save())
    assert np.array_equal(fresh.algorithm.weights, session.model.algorithm.weights)
    fresh.learn(100, None, reset_num_timesteps=False)
    assert fresh.num_timesteps >= 400


def test_a18_an_unknown_or_wrong_argument_is_named(climber):
    from armature.argument_checks import check_algo_kwargs

    cls = implemented_combos["climber"]["pytorch"].algo_class
    with pytest.raises(ConfigError, match=r"algo_kwargs\.nois: unknown argument; did you mean 'noise'"):
        check_algo_kwargs(cls, {"nois": 1})
    with pytest.raises(ConfigError, match=r'algo_kwargs\.noise is "big"; allowed: float'):
        check_algo_kwargs(cls, {"noise": "big"})


@pytest.mark.parametrize("name", ["Silent", "OwnLoop"])
def test_a12_a_loop_that_calls_no_callback_still_gets_its_model_saved(tmp_path, name):
    """And a warning says what is missing."""
    done = train_py(f"--algo={LEARNERS}:{name}", *TOY, "--steps=200", "--run_name=own", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "never called callback.on_step()" in done.stderr
    assert (tmp_path / "trained_models/own/final/model.zip").is_file()
    assert len(list((tmp_path / "trained_models/own/checkpoints").iterdir())) == 1


def test_x14_the_file_is_recorded_and_a_change_is_told(tmp_path):
    """run.json holds the hash of each file that code came from; test.py says when one has changed."""
    own = tmp_path / "own.py"
    own.write_text(Path(LEARNERS).read_text())
    flags = ["--env_name=Pendulum-v1", "--num_envs=2", "--steps=200", "--run_name=own", "--final_eval_episodes=2"]
    done = train_py(f"--algo={own}:Climber", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    command = next(line for line in done.stdout.splitlines() if line.startswith("see it with: "))
    assert f"--allow-import {own}:Climber" in command
    assert f'"{own}:Climber": "sha256:' in (tmp_path / "trained_models/own/run.json").read_text()
    replay = [sys.executable, str(ROOT / "test.py"), "--episodes=2", "--allow-import", f"{own}:Climber"]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.run(replay, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert (quiet.returncode, quiet.stderr) == (0, "")
    own.write_text(own.read_text() + "\n# changed\n")
    loud = subprocess.run(replay, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert loud.returncode == 0
    assert "own.py:Climber has changed since this model was trained" in loud.stderr
    refused = subprocess.run([*replay[:3]], capture_output=True, text=True, cwd=tmp_path, env=env)
    assert refused.returncode == 2
    assert f"--allow-import {own}:Climber" in refused.stderr


def test_x12_worker_processes_need_no_import_of_a_class_in_a_file(climber, train):
    """Environments of their own processes know the row without its class."""
    register("mine", "pytorch", implemented_combos["climber"]["pytorch"])
    session = train(climber.model_copy(update={"algo": "mine", "plugins": [TOYS], "num_workers": 1}))
    assert session.model.num_timesteps >= 300


def test_a_save_that_writes_nothing_is_told(climber, train, monkeypatch, tmp_path):
    session = train(climber)
    monkeypatch.setattr(type(session.model.algorithm), "save", lambda self, path: None)
    with pytest.raises(PluginError, match=r"Climber.*wrote no file"):
        save_model(session.model, tmp_path / "final", climber)
    assert not (tmp_path / "final").exists()


# ------------------------------------------------------------------------------------------------ --check-plugin


def test_r4_24_a_sound_plugin_passes_every_check(climber):
    steps = list(check_plugin(climber))
    assert [step.name for step in steps] == ["import", "definition", "settings", "train", "save, load", "resume"]
    assert all(step.ok for step in steps), [step.text for step in steps]


def test_r4_24_state_that_is_lost_is_found(climber, monkeypatch):
    """A save that forgets the weights makes a model that acts differently."""
    cls = implemented_combos["climber"]["pytorch"].algo_class
    monkeypatch.setattr(
        cls, "save", lambda self, path: Path(path).write_text('{"noise": 1, "weights": [[0, 0, 0, 0], [0, 0, 0, 0]]}')
    )
    *fine, last = check_plugin(climber)
    assert [step.ok for step in fine] == [True] * 4
    assert (last.name, last.ok) == ("save, load", False)
    assert "acts differently" in last.text


def test_r4_24_an_exception_while_learning_is_shown_with_its_traceback(climber, monkeypatch):
    cls = implemented_combos["climber"]["pytorch"].algo_class

    def learn(self, total_timesteps, callback):
        raise RuntimeError("out of ideas")

    monkeypatch.setattr(cls, "learn", learn)
    *_, last = check_plugin(climber)
    assert (last.name, last.ok) == ("train", False)
    assert "RuntimeError: out of ideas" in last.text
    assert "test_adapters.py" in last.text


def test_r4_24_it_is_a_command(tmp_path):
    done = train_py("--check-plugin", "climber", *TOY, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok  ") == 6
    assert "Train it with: python train.py --algo=climber" in done.stdout
    wrong = train_py("--check-plugin", f"{LEARNERS}:np", *TOY, cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stdout.startswith("FAIL  import")
    assert not list(tmp_path.iterdir())


def test_x2_train_py_names_no_algorithm():
    """The same lines drive every row."""
    text = (ROOT / "train.py").read_text()
    assert "if algo" not in text
    assert "config.algo ==" not in text
    assert Config().algo == "fast_sac"
