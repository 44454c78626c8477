"""Algorithms of one's own on top of Stable-Baselines3: a class and a row, and nothing else to promise."""

import inspect
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy

from armature import train as training
from armature.argument_checks import check_algo_kwargs, check_arguments
from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.errors import ConfigError, UnknownNameError
from armature.making import make_model
from armature.models import load_model, load_pretrained, restore_model, save_model
from armature.vec import make_vec_env
from tests.conftest import TOY
from tests.tutorials import ROOT, run_tutorial

PLAIN = '''
from stable_baselines3 import PPO, SAC
from armature import Combo, register

class PlainPPO(PPO):
    """PPO, counted."""

    def train(self):
        """Update."""
        self.updates = getattr(self, "updates", 0) + 1
        super().train()

class PlainSAC(SAC):
    """SAC, counted."""

    def train(self, gradient_steps, batch_size=64):
        """Update."""
        self.updates = getattr(self, "updates", 0) + 1
        super().train(gradient_steps, batch_size)

register("plain_ppo", "pytorch", Combo(PlainPPO, kwargs={"gamma": 0.9, "n_steps": 64}))
register("plain_sac", "pytorch", Combo(PlainSAC))
'''
"""A plugin with subclasses that override nothing but `train`."""

SMALL = {
    "plain_ppo": {"n_steps": 32, "batch_size": 32},
    "plain_sac": {"buffer_size": 500, "learning_starts": 50, "batch_size": 16},
}
FLAGS = [
    *("--env_name=toy/PointFlat-v0", "--num_envs=2", "--eval_freq=0", "--final_eval_episodes=2"),
    *("--tensorboard=false", "--policy_kwargs.net_arch=[8]", "--run_name=mine"),
]


class Narrow(SACPolicy):
    """Has five hidden units whatever it is told."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **{**kwargs, "net_arch": [5]})


@pytest.fixture
def plugin(tmp_path, tables):
    """A file that registers the plain subclasses."""
    file = tmp_path / "plain.py"
    file.write_text(PLAIN)
    return file


@pytest.fixture
def flags(plugin, tmp_path):
    """Flags of a small run of train.py with the plugin."""
    return [*FLAGS, f"--logdir={tmp_path / 'runs'}", f"--plugins={json.dumps([TOY, str(plugin)])}"]


def build(config):
    """Make a fresh model, as train.py does."""
    env = make_vec_env(config, "train", config.num_envs)
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)


def script(name, *args, **kwargs):
    """Run train.py or test.py as a stranger does."""
    return subprocess.run(
        [sys.executable, str(ROOT / name), *args], capture_output=True, text=True, timeout=300, **kwargs
    )


# ---------------------------------------------------------------------------------------------- the tutorial


@pytest.mark.slow
def test_x16_a3_a4_a5_a9_a10_a15_the_tutorial_runs_as_printed(tmp_path):
    outputs = run_tutorial(ROOT / "docs/tutorials/custom_algorithm.md", tmp_path)
    told = "\n".join(outputs)
    for words in (
        "algorithm  " + str(tmp_path / "my_algos.py:FadingPPO") + " (FadingPPO, pytorch)",
        "did you mean 'batch_size'",
        "600 of 600 steps",
        "bonus_steps: int, 2 here, default 1 in the class",
        "myalgo2 (MyAlgo, pytorch), MyPolicy",
        "mine (EagerSAC, pytorch)",
        "resume        it acts as before",
    ):
        assert words in told
    listed = next(output for output in outputs if "her_sac" in output)
    assert all(name in listed for name in ("fading_ppo", "myalgo2", "her_sac"))
    assert told.count("FAIL") == 0


# ---------------------------------------------------------------------------------------------- the row


@pytest.mark.parametrize("algo", SMALL)
def test_a3_a11_a_subclass_with_nothing_but_train(algo, plugin, make_config, train):
    """It is built, learns, is saved and loaded through the calls that its parent has, and is exactly that class."""
    config = make_config(algo, plugins=[TOY, str(plugin)], algo_kwargs=SMALL[algo])
    session = train(config)
    cls = implemented_combos[algo]["pytorch"].algo_class
    assert type(session.model) is cls
    assert {name for name, value in vars(cls).items() if inspect.isfunction(value)} == {"train"}
    assert session.model.updates >= 2
    folder = save_model(session.model, session.run / "final", config)
    loaded = load_model(folder, allow_import=config.plugins)
    assert type(loaded.model) is cls
    seen = np.stack([session.model.observation_space.sample() for _ in range(20)])
    np.testing.assert_array_equal(
        loaded.model.predict(seen, deterministic=True)[0], session.model.predict(seen, deterministic=True)[0]
    )


@pytest.mark.parametrize("how", ["class", "name", "address", "list", "config"])
def test_a4_a6_a_policy_is_a_class_a_name_or_an_address(how, make_config, tables):
    address = "stable_baselines3.common.policies:ActorCriticPolicy"
    asked = {"class": ActorCriticPolicy, "name": "MlpPolicy", "address": address}
    if how == "list":
        implemented_combos["mine"] = {"pytorch": [PPO, (ActorCriticPolicy,), {"n_steps": 32, "batch_size": 32}]}
    else:
        register("mine", "pytorch", Combo(PPO, asked.get(how), {"n_steps": 32, "batch_size": 32}))
    chosen = {"policy": address} if how == "config" else {}
    model = build(make_config("mine", algo_kwargs={}, **chosen))
    assert type(model.policy) is ActorCriticPolicy


def test_a4_a_policy_class_of_ones_own_is_saved_and_found_again(make_config, tables, train):
    implemented_combos["narrow"] = {"pytorch": [SAC, (Narrow,), SMALL["plain_sac"]]}
    config = make_config("narrow", algo_kwargs={}, policy_kwargs={}, steps=100)
    session = train(config)
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert type(loaded.model.policy) is Narrow
    assert loaded.model.actor.latent_pi[0].out_features == 5


def test_a8_later_arguments_win(make_config, tables):
    """Class < row < what the run decides < configuration; the run gives only what a constructor takes."""

    class Knowing(PPO):
        """Has defaults of its own, and takes no seed."""

        def __init__(self, policy, env, gamma=0.5, gae_lambda=0.5, ent_coef=0.5, n_steps=32, batch_size=32, verbose=1):
            super().__init__(
                policy,
                env,
                gamma=gamma,
                gae_lambda=gae_lambda,
                ent_coef=ent_coef,
                n_steps=n_steps,
                batch_size=batch_size,
                verbose=verbose,
            )

    register("knowing", "pytorch", Combo(Knowing, kwargs={"gae_lambda": 0.6, "ent_coef": 0.6}))
    model = build(make_config("knowing", algo_kwargs={"ent_coef": 0.7}, policy_kwargs={}, seed=4))
    assert (model.gamma, model.gae_lambda, model.ent_coef) == (0.5, 0.6, 0.7)
    assert model.verbose == 0
    assert model.seed is None


def test_a8_flags_win_over_the_file(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"algo": "ppo", "algo_kwargs": {"gamma": 0.8, "n_steps": 32}}')
    config = Config.load(file, {"algo_kwargs.gamma": 0.7})
    assert config.algo_kwargs == {"gamma": 0.7, "n_steps": 32}


# ---------------------------------------------------------------------------------------------- train.py


@pytest.mark.parametrize("form", [["--algo=myalgo"], ["--algo", "myalgo"]])
def test_a10_the_flag_in_both_spellings_beats_the_file(form, tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"algo": "ppo"}')
    done = script("train.py", "--config", str(file), *form, "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ["algo", '"myalgo"', "flag"] in [line.split() for line in done.stdout.splitlines()]


def test_a10_arguments_of_the_files_algorithm_are_reported(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"algo": "ppo", "algo_kwargs": {"clip_range": 0.1}}')
    done = script("train.py", "--config", str(file), "--algo=myalgo", cwd=tmp_path)
    assert done.returncode == 2
    assert "algo_kwargs.clip_range: unknown argument" in done.stderr
    assert not (tmp_path / "trained_models").exists()


def test_a1_a9_training_starts_at_once(tmp_path):
    """From any directory, without a display, with the default configuration or a file that names an algorithm."""
    environment = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    file = tmp_path / "config.json"
    file.write_text('{"algo": "myalgo"}')
    for more, algo in ((), "fast_sac (FastSAC"), (["--config", str(file)], "myalgo (REDQ"):
        short = ["--steps=200", "--num_envs=2", "--eval_freq=0", "--final_eval_episodes=1", "--tensorboard=false"]
        done = script("train.py", *more, *short, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stderr
        assert algo in done.stdout
    assert len(list((tmp_path / "trained_models").glob("*/final/manifest.json"))) == 2


def test_a11_a12_a13_a14_train_is_a_call_and_writes_to_its_folder_alone(flags, tmp_path, monkeypatch, capsys):
    """`learn` gets the total once; the model ends in `final/`; the command to see it is printed."""
    calls = []
    learn = PPO.learn

    def watched(model, total_timesteps, *args, **kwargs):
        calls.append((type(model).__name__, total_timesteps))
        return learn(model, total_timesteps, *args, **kwargs)

    monkeypatch.setattr(PPO, "learn", watched)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    given = ["--algo=plain_ppo", "--steps=128", "--algo_kwargs.n_steps=32", "--algo_kwargs.batch_size=32"]
    assert training.main([*flags, *given]) == 0
    assert calls == [("PlainPPO", 128)]
    run = tmp_path / "runs/mine"
    assert (run / "final/model.zip").is_file()
    assert f"see it with: python test.py --model {run} --allow-import" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plain.py", "runs", "work"]
    assert not list(work.iterdir())


def test_a13_what_ctrl_c_leaves_can_be_replayed_and_continued(flags, plugin, tmp_path):
    run = tmp_path / "runs/mine"
    kwargs = [f"--algo_kwargs.{name}={value}" for name, value in SMALL["plain_sac"].items()]
    command = [sys.executable, str(ROOT / "train.py"), *flags, "--algo=plain_sac", "--steps=100000", "--log_freq=100"]
    going = subprocess.Popen([*command, *kwargs], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (run / "metrics.csv").is_file() or len((run / "metrics.csv").read_text().splitlines()) < 2:
        assert going.poll() is None, going.communicate()[1]
        time.sleep(0.1)
    going.send_signal(signal.SIGINT)
    out, err = going.communicate(timeout=120)
    assert going.returncode == 130, err
    assert f"Go on with: python train.py --resume {run}" in out
    consent = [f"--allow-import={name}" for name in (TOY, str(plugin))]
    done = script("test.py", "--model", str(run), "--episodes=2", *consent)
    assert done.returncode == 0, done.stderr


def test_a15_a16_replayed_and_resumed_through_the_plugin(flags, plugin, tmp_path):
    """In fresh processes, which know the class from nothing but the run folder and the user's word."""
    given = ["--algo=plain_ppo", "--steps=128", "--algo_kwargs.n_steps=32", "--algo_kwargs.batch_size=32"]
    assert script("train.py", *flags, *given).returncode == 0
    run = str(tmp_path / "runs/mine")
    refused = script("test.py", "--model", run, "--episodes=2")
    assert refused.returncode == 2
    assert f"--allow-import {plugin}" in refused.stderr
    consent = [f"--allow-import={name}" for name in (TOY, str(plugin))]
    done = script("test.py", "--model", run, "--episodes=2", *consent)
    assert done.returncode == 0, done.stderr
    done = script("train.py", "--resume", run, "--steps=256", *consent)
    assert done.returncode == 0, done.stderr
    assert json.loads((Path(run) / "summary.json").read_text())["steps"] == 256


def test_a16_training_starts_from_a_pretrained_model_with_its_state(make_config, tables, train):
    class Remembering(PPO):
        """Keeps something that no parameter holds."""

        memory = np.zeros(2)

        def get_state(self):
            """Return it."""
            return {"memory": self.memory}

        def set_state(self, state):
            """Take it back."""
            self.memory = state["memory"]

    register("remembering", "pytorch", Combo(Remembering))
    config = make_config("remembering", algo_kwargs=SMALL["plain_ppo"], steps=64)
    session = train(config)
    session.model.memory = np.array([3.0, 4.0])
    session.checkpoints.saved_at = None  # this very step is saved already
    checkpoint = session.checkpoints.save()
    fresh = build(config)
    restore_model(fresh, checkpoint)
    np.testing.assert_array_equal(fresh.memory, [3, 4])
    begun = build(config)
    load_pretrained(begun, checkpoint)
    assert begun.num_timesteps == 0
    assert all(map(torch.equal, begun.policy.parameters(), session.model.policy.parameters()))


# ---------------------------------------------------------------------------------------------- mistakes


def test_a7_a_framework_it_is_not_known_for(make_config):
    with pytest.raises(UnknownNameError, match=r"train_framework for algo 'myalgo' 'jax'.*Known: pytorch"):
        make_config("myalgo", train_framework="jax").check()


def test_a18_an_unknown_argument_is_found_before_anything_is_built(plugin, make_config):
    """By the signature, its parents' included."""
    config = make_config("plain_sac", plugins=[TOY, str(plugin)], algo_kwargs={"learning_rat": 1e-3})
    with pytest.raises(ConfigError, match=r"algo_kwargs\.learning_rat: unknown argument; did you mean 'learning_rate'"):
        check_arguments(config)


def test_a18_a_class_that_takes_anything_is_not_checked_and_said_so(caplog):
    class Anything:
        """Takes whatever it gets."""

        def __init__(self, policy, env, known: int = 1, **others):
            self.others = others

    check_algo_kwargs(Anything, {"whatever": 3})
    assert "algo_kwargs.whatever is not checked: Anything takes any argument" in caplog.text
    with pytest.raises(ConfigError, match=r"algo_kwargs\.known"):
        check_algo_kwargs(Anything, {"known": "x"})
