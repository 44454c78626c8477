"""A run that is cut anywhere and resumed ends as one that was never cut, bit for bit."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from stable_baselines3.common.callbacks import BaseCallback

import armature
from armature.checkpoints import checkpoints, newest
from armature.combos import implemented_combos
from armature.runs import CsvTable
from tests.outcomes import differences, outcome

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


def assert_same(one, other):
    assert differences(outcome(one.run), outcome(other.run)) == []
    assert one.model.num_timesteps == other.model.num_timesteps


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
    steps = 900 if algo == "ars" else 260  # its rollouts have 240 of them
    config = make_config(algo, checkpoint_freq=50, steps=steps, num_envs=3)
    straight = train(config)
    resumed = cut_and_resumed(config, train, [steps // 2, 3 * steps // 4])
    assert_same(resumed, straight)
    assert resumed.witness.verdict == "exact"


@pytest.mark.parametrize("algo", ["ppo", "fast_sac"])
def test_in_workers(algo, make_config, train):
    config = make_config(algo, num_workers=2, checkpoint_freq=50, steps=260, num_envs=3)
    here = config.model_copy(update={"num_workers": 0})
    assert_same(cut_and_resumed(config, train, [131, 190]), train(here))


@pytest.mark.parametrize("algo", ["sac", "tqc", "dqn", "fast_sac"])
def test_with_hindsight(algo, make_config, train):
    config = make_config(algo, replay_buffer="her", checkpoint_freq=50, steps=300)
    assert_same(cut_and_resumed(config, train, [143, 271]), train(config))


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
    assert_same(cut_and_resumed(config, train, [77, 251]), train(config))


def test_neither_number_nor_time_of_checkpoints_matters(make_config, train):
    often, rarely = (train(make_config("fast_sac", checkpoint_freq=freq)) for freq in (2, 0))
    of_schedule = {"witness.csv"}
    assert set(differences(outcome(often.run), outcome(rarely.run))) <= of_schedule


@pytest.mark.parametrize("algo", ["sac", "ppo"])
def test_a_signal_changes_nothing(algo, make_config, train):
    """Whether a run is stopped and resumed, or never stopped, it ends the same."""
    config = make_config(algo, checkpoint_freq=0)

    class Signal(BaseCallback):
        def _on_step(self):
            if self.num_timesteps == 130:
                os.kill(os.getpid(), signal.SIGTERM)
            return True

    stopped = train(config, extra=[Signal()])
    assert stopped.stop.exit_status == 143
    resumed = train(config, stopped.run, newest(stopped.run))
    assert set(differences(outcome(resumed.run), outcome(train(config).run))) <= {"witness.csv"}


def test_it_says_where_it_diverged(make_config, train):
    config = make_config("sac", checkpoint_freq=100, steps=160)
    first = train(config)
    table = CsvTable(first.run / "witness.csv")
    rows = table.rows()
    rows[-3]["hash"] = "another"
    table.keep(lambda row: False)
    for row in rows:
        table.append(row)
    resumed = train(config, first.run, first.run / "checkpoints" / "000000100")
    assert resumed.witness.verdict == f"diverged at step {rows[-3]['steps']}"


def test_a_real_kill_of_a_robot_in_mid_episode(tmp_path):
    """A process that is killed, a fresh one that goes on: the arm moves on where it was."""
    keys = ["--algo=fast_sac", "--steps=600", "--num_envs=3", "--algo_kwargs.learning_starts=100", "--task_type=push"]
    keys += ["--checkpoint_freq=90", "--eval_freq=200", "--eval_episodes=1", "--final_eval_episodes=1"]
    command = [sys.executable, str(ROOT / "train.py")]
    subprocess.run([*command, *keys, "--run_name=straight"], cwd=tmp_path, check=True, capture_output=True)
    killed = subprocess.Popen([*command, *keys, "--run_name=cut"], cwd=tmp_path, stdout=subprocess.DEVNULL)
    run = tmp_path / "trained_models" / "cut"
    while killed.poll() is None and not (run / "checkpoints" / "000000270").is_dir():
        time.sleep(0.002)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL, "it was done before it could be killed"
    done = subprocess.run([*command, f"--resume={run}"], cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "resume: exact" in done.stderr or "resume" not in done.stderr
    assert differences(outcome(run), outcome(tmp_path / "trained_models" / "straight")) == []
