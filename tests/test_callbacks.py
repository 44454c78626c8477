"""Metrics, evaluation, checkpoints, progress and signals during training."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback

import armature
from armature.callbacks import saving, stopping
from armature.callbacks.every import Every
from armature.callbacks.stopping import StopOnSignal, StopTraining
from armature.checkpoints import checkpoints, newest, read_json, verify
from armature.runs import CsvTable

ROOT = Path(armature.__file__).parent.parent


def rows(run, name):
    return CsvTable(run / name).rows()


def timeless(run, name):
    """Return a table without the columns that hold wall times."""
    return [{key: value for key, value in row.items() if "time" not in key} for row in rows(run, name)]


# ---------------------------------------------------------------------------------------------- counting


@pytest.mark.parametrize(
    ("freq", "step", "fires"),
    [(100, 50, [100, 200, 300]), (100, 64, [128, 256, 320]), (10, 64, [64, 128, 192, 256, 320])],
)
def test_every_fires_once_for_each_multiple_passed(freq, step, fires):
    every = Every(freq)
    assert [count for count in range(step, 321, step) if every(count)] == fires


def test_every_of_zero_never_fires():
    assert not any(map(Every(0), range(100)))


def test_every_does_not_fire_again_after_a_resume():
    every = Every(100)
    every.start(250)
    assert [count for count in (260, 299, 301) if every(count)] == [301]


# ---------------------------------------------------------------------------------------------- metrics


def test_tables_of_a_run(make_config, train):
    session = train(make_config("sac"))
    metrics, monitor = rows(session.run, "metrics.csv"), rows(session.run, "monitor.csv")
    assert [row["steps"] for row in metrics] == ["100", "200", "300"]
    last = metrics[-1]
    assert int(last["rollout/episodes"]) == len(monitor) == 14
    returns = [float(row["return"]) for row in monitor]
    assert float(last["rollout/return"]) == pytest.approx(sum(returns) / 14)
    assert float(last["reward/distance"]) == pytest.approx(float(last["rollout/return"]), rel=1e-5)
    assert float(last["train/actor_loss"])
    assert not any("evaluation" in name for name in last), "these have a table of their own"
    assert {row["length"] for row in monitor} == {"20"}
    assert [row["steps"] for row in monitor[:4]] == ["40", "40", "80", "80"]
    successes = [row["success"] for row in monitor]
    assert float(last["rollout/success_rate"]) == pytest.approx(successes.count("1") / 14)


def test_the_last_steps_of_a_short_run_are_written(make_config, train):
    session = train(make_config("sac", steps=64, log_freq=1000))
    assert [row["steps"] for row in rows(session.run, "metrics.csv")] == ["64"]


def test_d37_f18_same_seed_same_run(make_config, train):
    """Metrics, evaluations and weights, times aside."""
    config = make_config("sac")
    first, second = train(config), train(config)
    for name in ("metrics.csv", "monitor.csv", "evaluations.csv"):
        assert timeless(first.run, name) == timeless(second.run, name)
    ours, theirs = (session.model.policy.state_dict() for session in (first, second))
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def test_another_seed_is_another_run(make_config, train):
    first, second = (train(make_config("sac", seed=seed)) for seed in (0, 1))
    assert timeless(first.run, "monitor.csv") != timeless(second.run, "monitor.csv")


def test_evaluation_leaves_training_as_it_is(make_config, train):
    first, second = (train(make_config("ppo", eval_freq=freq)) for freq in (0, 50))
    assert timeless(first.run, "monitor.csv") == timeless(second.run, "monitor.csv")


def test_tensorboard_gets_the_same_numbers(make_config, train):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    session = train(make_config("sac", tensorboard=True))
    events = EventAccumulator(str(session.run / "tensorboard")).Reload()
    recorded = {event.step: event.value for event in events.Scalars("rollout/return")}
    expected = {int(row["steps"]): float(row["rollout/return"]) for row in rows(session.run, "metrics.csv")}
    assert recorded == pytest.approx(expected)


def test_ars_is_logged_though_it_shows_its_callbacks_nothing(make_config, train):
    session = train(make_config("ars"))
    assert len(rows(session.run, "monitor.csv")) == session.metrics.episodes > 10


# ---------------------------------------------------------------------------------------------- evaluation


def test_f1_t11_evaluations_and_the_best_model(make_config, train):
    session = train(make_config("sac", steps=1000, eval_freq=200, eval_episodes=10))
    found = rows(session.run, "evaluations.csv")
    assert [row["steps"] for row in found] == ["200", "400", "600", "800", "1000"]
    scores = [(float(row["success_rate"]), float(row["mean_return"])) for row in found]
    best = read_json(session.run / "best" / "model.json")
    assert (best["evaluation"]["success_rate"], best["evaluation"]["mean_return"]) == max(scores)
    assert verify(session.run / "best")["step"] == int(found[scores.index(max(scores))]["steps"])
    low, high = float(found[-1]["low"]), float(found[-1]["high"])
    assert low <= scores[-1][0] <= high


def test_the_toy_is_learned(make_config, train):
    """What the other tests rely on: the environment can be learned within seconds."""
    config = make_config("sac", steps=2000, eval_freq=500, eval_episodes=20, algo_kwargs={"learning_starts": 100})
    assert train(config).evaluations.latest.success_rate >= 0.95


# ---------------------------------------------------------------------------------------------- checkpoints and resume


def test_f1_checkpoints_are_kept_and_complete(make_config, train):
    session = train(make_config("sac", checkpoint_freq=50, keep_checkpoints=2))
    folders = checkpoints(session.run)
    assert [folder.name for folder in folders] == ["000000250", "000000300"]
    names = set(verify(folders[-1])["files"])
    assert {"model.json", "model.zip", "state.json", "replay/buffer.json", "replay/000000000.npz"} <= names


def test_on_policy_checkpoints_stand_between_rollouts(make_config, train):
    session = train(make_config("ppo", checkpoint_freq=100, steps=256))
    assert [int(folder.name) for folder in checkpoints(session.run)] == [128, 256]


def test_no_checkpoints_on_request(make_config, train):
    session = train(make_config("sac", checkpoint_freq=0, steps=100))
    assert [folder.name for folder in checkpoints(session.run)] == ["000000100"]  # the one that the end makes


def test_e10_a_full_disk_does_not_end_the_training(make_config, train, monkeypatch, caplog):
    def full(*args):
        raise OSError(28, "No space left on device")

    class Fill(BaseCallback):
        """Fills the disk for a while."""

        def _on_step(self):
            function = full if 50 < self.num_timesteps < 150 else original
            monkeypatch.setattr(saving, "save_checkpoint", function)
            return True

    original = saving.save_checkpoint
    session = train(make_config("sac"), extra=[Fill()])
    assert [int(folder.name) for folder in checkpoints(session.run)] == [200, 300]
    assert "cannot write checkpoints, going on without" in caplog.text
    assert "checkpoints can be written again" in caplog.text


@pytest.mark.parametrize("algo", ["ppo", "sac", "ars"])
def test_f2_t14_resume_goes_on_counting(algo, make_config, train):
    first = train(make_config(algo))
    steps, episodes = first.model.num_timesteps, first.metrics.episodes
    seconds = first.metrics.wall_time_s
    second = train(make_config(algo, steps=600), first.run, newest(first.run))
    assert second.model.num_timesteps >= 600
    assert second.metrics.wall_time_s > seconds
    monitor = rows(first.run, "monitor.csv")
    assert [int(row["episode"]) for row in monitor] == list(range(1, len(monitor) + 1))
    assert len(monitor) == second.metrics.episodes > episodes
    counted = [int(row["steps"]) for row in rows(first.run, "metrics.csv")]
    assert counted == sorted(set(counted))
    assert counted[-1] == second.model.num_timesteps > steps


def test_resume_from_an_older_checkpoint_cuts_the_tables(make_config, train):
    """Rows of steps that will be made again would stand there twice."""
    config = make_config("sac")
    first = train(config)
    second = train(config, first.run, first.run / "checkpoints" / "000000100")
    assert [row["steps"] for row in rows(first.run, "metrics.csv")] == ["100", "200", "300"]
    assert [row["steps"] for row in rows(first.run, "evaluations.csv")] == ["100", "200", "300"]
    assert second.metrics.episodes == len(rows(first.run, "monitor.csv"))


def test_schedules_go_on_after_a_resume(make_config, train):
    schedule = {"schedule": "linear", "start": 1e-3, "end": 0.0}
    kwargs = {"learning_rate": schedule, "learning_starts": 32, "batch_size": 16, "buffer_size": 1000}
    config = make_config("sac", algo_kwargs=kwargs, steps=400)
    straight = train(config)
    resumed = train(config, straight.run, straight.run / "checkpoints" / "000000200")
    assert resumed.model.lr_schedule(resumed.model._current_progress_remaining) == pytest.approx(0, abs=1e-5)
    rates = [float(row["train/learning_rate"]) for row in rows(straight.run, "metrics.csv")]
    assert rates == pytest.approx([7.5e-4, 5e-4, 2.5e-4, 0.0], abs=2e-5)


def test_a_resumed_run_keeps_its_best_model(make_config, train):
    first = train(make_config("sac", steps=1000, eval_freq=100, eval_episodes=10))
    best = read_json(first.run / "best" / "model.json")["evaluation"]
    train(make_config("sac", steps=1100, eval_freq=100, eval_episodes=10), first.run, newest(first.run))
    again = read_json(first.run / "best" / "model.json")["evaluation"]
    assert (again["success_rate"], again["mean_return"]) >= (best["success_rate"], best["mean_return"])


# ---------------------------------------------------------------------------------------------- signals


class Signal(BaseCallback):
    """Sends this process a signal at a step."""

    def __init__(self, number, step):
        super().__init__()
        self.number, self.step = number, step

    def _on_step(self):
        if self.num_timesteps == self.step:
            os.kill(os.getpid(), self.number)
        return True


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)])
@pytest.mark.parametrize(("algo", "stops_at"), [("ppo", 128), ("sac", 100), ("ars", 160)])
def test_a_signal_stops_at_the_end_of_the_rollout(algo, stops_at, number, status, make_config, train):
    before = signal.getsignal(signal.SIGINT)  # a shell starts what runs in its background with it ignored
    session = train(make_config(algo), extra=[Signal(number, 100)])
    assert session.stop.exit_status == status
    assert session.model.num_timesteps == stops_at
    assert newest(session.run).name == f"{session.model.num_timesteps:09d}"
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupted_run_writes_no_extra_row(make_config, train):
    session = train(make_config("sac"), extra=[Signal(signal.SIGINT, 150)])
    assert [row["steps"] for row in rows(session.run, "metrics.csv")] == ["100"]


def test_e3_f15_a_second_signal_stops_at_once():
    with StopOnSignal():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_an_algorithm_without_rollouts_is_asked_and_then_left():
    with StopOnSignal() as stop:
        assert stop._on_step()
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop._on_step()
        with pytest.raises(StopTraining):
            stop._on_step()


def test_a_long_rollout_is_given_up(make_config, train, monkeypatch):
    """It began with a checkpoint, from which a resumed run does it again."""
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.0)
    monkeypatch.setattr(saving, "PATIENCE_S", 0.0)
    config = make_config("ppo", checkpoint_freq=10_000)
    stopped = train(config, extra=[Signal(signal.SIGTERM, 150)])
    assert stopped.model.num_timesteps == 150
    assert newest(stopped.run).name == "000000128"
    resumed = train(config, stopped.run, newest(stopped.run))
    assert timeless(resumed.run, "monitor.csv") == timeless(train(config).run, "monitor.csv")


def test_a_signal_cuts_an_evaluation_short(make_config, train):
    """The checkpoint before it knows that it is due."""
    config = make_config("sac", eval_episodes=400)

    cut = train(config, extra=[Signal(signal.SIGTERM, 100)])
    assert rows(cut.run, "evaluations.csv") == []
    resumed = train(config, cut.run, newest(cut.run))
    assert timeless(resumed.run, "evaluations.csv") == timeless(train(config).run, "evaluations.csv")


def test_minutes_between_checkpoints(make_config, train):
    session = train(make_config("sac", checkpoint_freq=0, checkpoint_minutes=1e-6, keep_checkpoints=500, steps=40))
    assert len(checkpoints(session.run)) == 21, "one before each step of two environments, and the last"


WORKERS = """
import sys
from contextlib import suppress

import numpy as np
sys.path.insert(0, sys.argv[1])
from armature.callbacks.stopping import StopOnSignal, StopTraining
from armature.config import Config
from armature.making import make_model
from armature.plugins import load_plugins
from armature.vec import make_vec_env

if __name__ == "__main__":
    config = Config(env_name="toy/PointFlat-v0", plugins=[sys.argv[2]], num_envs=2, num_workers=2)
    load_plugins(config.plugins)
    env = make_vec_env(config, "train", 2)
    model = make_model("stable_baselines3:A2C", None, {}, env, config)
    print("ready", flush=True)
    with StopOnSignal() as stop, suppress(StopTraining):
        model.learn(10_000_000, stop)
    env.step(np.stack([env.action_space.sample()] * 2))
    env.close()
    sys.exit(stop.exit_status)
"""


def test_f15_workers_leave_ctrl_c_to_their_parent(make_config):
    """It reaches the whole process group; the environments must still be there to save what they hold."""
    command = [sys.executable, "-c", WORKERS, str(ROOT), make_config().plugins[0]]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors


# ---------------------------------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        """Return True."""
        return True


def test_f17_progress_off_a_terminal_is_a_few_lines(make_config, train):
    shown = io.StringIO()
    train(make_config("sac", steps=400), stream=shown)
    lines = shown.getvalue().splitlines()
    assert len(lines) == 20
    assert re.fullmatch(r"400 of 400 steps, [\d,]+ steps/s, success \d+%, evaluated \d+%", lines[-1])


def test_progress_on_a_terminal_is_a_bar(make_config, train):
    shown = Terminal()
    train(make_config("sac", steps=400), stream=shown)
    assert "400/400" in shown.getvalue()


def test_a_resumed_bar_starts_where_the_run_is(make_config, train):
    config = make_config("sac", steps=200)
    first = train(config)
    shown = Terminal()
    train(make_config("sac", steps=400), first.run, newest(first.run), stream=shown)
    assert "200/400" in shown.getvalue()
