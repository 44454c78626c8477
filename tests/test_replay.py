"""test.py as people use it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import armature
from armature import test as replay
from armature import train

ROOT = Path(armature.__file__).parent.parent
REFERENCE = str(ROOT / "trained_models/panda_reach")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run of a real robot."""
    logdir = tmp_path_factory.mktemp("runs")
    flags = ["--num_envs=2", "--eval_freq=100", "--eval_episodes=2", "--final_eval_episodes=2", "--tensorboard=false"]
    small = ["--algo=ppo", "--algo_kwargs.n_steps=50", "--algo_kwargs.batch_size=50", "--policy_kwargs.net_arch=[16]"]
    assert train.main(["--steps=200", f"--logdir={logdir}", "--run_name=mine", *flags, *small]) == 0
    return logdir / "mine"


def test_the_reference_run_is_as_good_as_it_was(tmp_path):
    """A regression test of physics, loading and evaluation at once: the bar of the default task."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "test.py"), f"--json={figures}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert found["episodes"] == 100
    assert found["success_rate"] >= 0.95
    assert "success at any step" in done.stdout


def test_the_reference_run_is_small():
    assert sum(file.stat().st_size for file in Path(REFERENCE).rglob("*") if file.is_file()) < 1_000_000


def test_a_replay_repeats_itself(run, tmp_path):
    figures = [tmp_path / "one.json", tmp_path / "two.json"]
    for file in figures:
        assert replay.main(["--model", str(run), "--episodes=3", f"--json={file}"]) == 0
    assert figures[0].read_text() == figures[1].read_text()


@pytest.mark.parametrize("part", ["", "best", "final", "checkpoints/000000200"])
def test_runs_and_their_models_can_be_named(run, part, capsys):
    if part.startswith("checkpoints"):
        part = str(sorted((run / "checkpoints").iterdir())[-1].relative_to(run))
    assert replay.main(["--model", str(run / part), "--episodes=1"]) == 0
    assert f"{run / (part or 'best')}, trained for" in capsys.readouterr().out


def test_stochastic_actions_differ_from_deterministic_ones(run, tmp_path):
    for name in ("deterministic", "stochastic"):
        assert replay.main(["--model", str(run), "--episodes=2", f"--{name}", f"--json={tmp_path / name}"]) == 0
    one, two = (json.loads((tmp_path / name).read_text())["mean_return"] for name in ("deterministic", "stochastic"))
    assert one != two


def test_the_expert_and_chance_act_only_when_asked(tmp_path, capsys):
    config = tmp_path / "push.json"
    config.write_text('{"task_type": "push"}')
    for control, low, high in (("expert", 1, 1), ("random", 0, 0.3)):
        flags = ["--control", control, "--config", str(config), "--episodes=5", f"--json={tmp_path / control}"]
        assert replay.main(flags) == 0
        assert low <= json.loads((tmp_path / control).read_text())["success_rate"] <= high
        assert f"5 episodes of {control} control" in capsys.readouterr().out


def test_the_expert_moves_on_the_grid_of_a_discrete_algorithm(tmp_path):
    config = tmp_path / "reach.json"
    config.write_text('{"algo": "dqn"}')
    figures = tmp_path / "figures"
    flags = ["--control=expert", "--config", str(config), "--episodes=5", f"--json={figures}"]
    assert replay.main(flags) == 0
    assert json.loads(figures.read_text())["success_once_rate"] == 1


@pytest.mark.parametrize("suffix", ["gif", "mp4"])
def test_films(run, suffix, tmp_path):
    film = tmp_path / f"film.{suffix}"
    assert replay.main(["--model", str(run), "--episodes=1", "--record", str(film)]) == 0
    from imageio.v3 import improps, imread

    pictures = imread(film)
    assert len(pictures) == 50
    assert improps(film).shape[-3:] == (360, 480, 3)
    assert pictures.std() > 10


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--episodes=0"], "--episodes is 0"),
        (["--episodes=many"], "invalid int value"),
        (["--control=exper"], "invalid choice"),
        (["--modell=x"], "did you mean '--model'"),
        (["--model=nowhere"], "nowhere is no run folder"),
        (["--config=reach.json"], "--config takes the place of --model"),
        (["--record=film.avi"], "must end in .gif or .mp4"),
        (["--json=nowhere/figures.json"], "no folder nowhere"),
        (["--record=a.gif", "--gui"], "not allowed with"),
        (["--deterministic", "--stochastic"], "not allowed with"),
    ],
)
def test_mistakes_get_one_message(flags, words, run, capsys):
    flags = [f"--model={run}", *flags] if not any(flag.startswith(("--mod", "--conf")) for flag in flags) else flags
    assert replay.main(flags) == 2
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_d31_t18_without_a_model_it_says_how_to_make_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert replay.main([]) == 2
    assert "Make one with: python train.py" in capsys.readouterr().err


def test_an_environment_without_an_expert_says_so(tmp_path, capsys):
    config = tmp_path / "pendulum.json"
    config.write_text('{"env_name": "Pendulum-v1"}')
    assert replay.main(["--control=expert", "--config", str(config)]) == 2
    assert "no scripted expert" in capsys.readouterr().err


def test_a_window_without_a_display_is_an_error_and_no_crash(run):
    code = f"from armature import test; raise SystemExit(test.main(['--gui', '--model', {str(run)!r}]))"
    env = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "DISPLAY is not set" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.gui
@pytest.mark.skipif(shutil.which("xvfb-run") is None, reason="needs Xvfb")
def test_a_window_shows_the_robot_in_real_time(run):
    command = ["xvfb-run", "-a", sys.executable, str(ROOT / "test.py"), "--gui", "--episodes=1", f"--model={run}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert "50.0 steps" in done.stdout
