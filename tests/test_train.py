"""train.py as people use it: real processes, real files."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

import armature
from armature import train
from armature.checkpoints import verify
from armature.config import Config, shipped_configs

ROOT = Path(armature.__file__).parent.parent
QUICK = [
    *("--num_envs=2", "--eval_freq=200", "--eval_episodes=2", "--final_eval_episodes=2", "--tensorboard=false"),
    *("--algo_kwargs.learning_starts=50", "--algo_kwargs.buffer_size=1000", "--policy_kwargs.net_arch=[16]"),
]
FILES = {
    *("config.json", "run.json", "metrics.csv", "monitor.csv", "evaluations.csv", "summary.json"),
    *("best/model.zip", "final/model.zip", "plots/learning_curve.png"),
}


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def timeless(path):
    return [{key: value for key, value in row.items() if "time" not in key} for row in rows(path)]


def weights(run, model="final"):
    """Return the network's tensors of a saved model."""
    with zipfile.ZipFile(run / model / "model.zip") as archive:
        return torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)


def process(*args, **kwargs):
    """Start train.py as a stranger would, from another folder."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_r4_27_a_run_leaves_everything_it_promises(tmp_path):
    """In a process of its own, from a folder that is not the checkout."""
    done = process("--steps=400", "--run_name=mine", "--record=gif", "--checkpoint_freq=200", *QUICK, cwd=tmp_path)
    out, err = done.communicate(timeout=600)
    assert done.returncode == 0, err
    run = tmp_path / "trained_models/mine"
    assert {name for name in FILES if not (run / name).is_file()} == set()
    assert (run / "videos/replay.gif").stat().st_size > 10_000
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["000000200", "000000400"]
    for folder in (run / "best", run / "final", *(run / "checkpoints").iterdir()):
        verify(folder)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["steps"] == 400
    assert summary["episodes"] == 8
    assert 0 <= summary["success_interval"][0] <= summary["success_rate"] <= summary["success_interval"][1] <= 1
    for word in (
        "armature",
        "fast_sac (FastSAC, pytorch)",
        "panda, ee_delta",
        "reach, dense reward",
        "cpu, torch threads: 1",
    ):
        assert word in out
    assert f"see it with: python test.py --model {Path('trained_models/mine')}" in out
    assert "400 of 400 steps" in err


def test_f18_the_same_configuration_gives_the_same_run(tmp_path):
    for name in ("one", "two"):
        assert train.main(["--steps=300", f"--logdir={tmp_path}", f"--run_name={name}", *QUICK]) == 0
    assert timeless(tmp_path / "one/metrics.csv") == timeless(tmp_path / "two/metrics.csv")
    assert rows(tmp_path / "one/monitor.csv") == rows(tmp_path / "two/monitor.csv")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_processes_give_the_same_run(tmp_path):
    """Where environments live changes nothing."""
    for count in (0, 1, 2):
        flags = ["--steps=200", f"--logdir={tmp_path}", f"--run_name=with{count}", f"--num_workers={count}"]
        assert train.main([*flags, *QUICK]) == 0
    tables = [timeless(tmp_path / f"with{count}/metrics.csv") for count in (0, 1, 2)]
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_e3_f15_t16_a_signal_saves_and_the_run_can_go_on(number, status, tmp_path):
    run = tmp_path / "trained_models/mine"
    going = process("--steps=100000", "--run_name=mine", "--log_freq=100", *QUICK, cwd=tmp_path)
    while not (run / "metrics.csv").is_file() or len(rows(run / "metrics.csv")) < 2:
        assert going.poll() is None, going.communicate()[1]
        time.sleep(0.1)
    going.send_signal(number)
    out, err = going.communicate(timeout=600)
    assert going.returncode == status, err
    assert f"python train.py --resume {Path('trained_models/mine')}" in out
    assert "Traceback" not in err
    (checkpoint,) = (run / "checkpoints").iterdir()
    stopped_at = int(checkpoint.name)
    before = rows(run / "metrics.csv")

    assert train.main(["--resume", str(run), f"--steps={stopped_at + 200}"]) == 0
    after = rows(run / "metrics.csv")
    assert after[: len(before)] == before
    steps = [int(row["steps"]) for row in after]
    assert steps == sorted(set(steps))
    assert steps[-1] == stopped_at + 200
    episodes = [int(row["episode"]) for row in rows(run / "monitor.csv")]
    assert episodes == list(range(1, len(episodes) + 1))
    elapsed = [float(row["time/elapsed_s"]) for row in after]
    assert elapsed == sorted(elapsed)
    assert json.loads((run / "config.json").read_text())["steps"] == stopped_at + 200
    assert len(json.loads((run / "run.json").read_text())["resumed"]) == 1


def test_d26_t9_resume_refuses_what_would_make_it_another_run(tmp_path, capsys):
    assert train.main(["--steps=100", f"--logdir={tmp_path}", "--run_name=mine", *QUICK]) == 0
    run = str(tmp_path / "mine")
    capsys.readouterr()
    for flags, words in {
        ("--seed=3",): "--seed cannot change in a resumed run",
        ("--algo=ppo",): "--algo cannot change in a resumed run",
        (): "has done its 100 steps",
    }.items():
        assert train.main(["--resume", run, *flags]) == 2
        assert words in capsys.readouterr().err
    assert train.main(["--resume", str(tmp_path / "none")]) == 2


def test_t8_a_schedule_goes_on_where_it_was(tmp_path):
    """Half a run and its resumed half end with the learning rate of the whole."""
    schedule = '--algo_kwargs.learning_rate={"schedule": "linear", "start": 0.001, "end": 0.0001}'
    flags = [f"--logdir={tmp_path}", "--run_name=mine", schedule, "--log_freq=100", *QUICK]
    assert train.main(["--steps=200", *flags]) == 0
    assert train.main(["--resume", str(tmp_path / "mine"), "--steps=400"]) == 0
    rates = [float(row["train/learning_rate"]) for row in rows(tmp_path / "mine/metrics.csv")]
    assert rates[-1] == pytest.approx(0.0001, rel=0.1)
    assert rates[2] == pytest.approx(0.001 - 0.0009 * 300 / 400, rel=0.05)


def test_one_process_a_run_folder(tmp_path):
    going = process("--steps=1000000", "--run_name=mine", "--log_freq=100", *QUICK, cwd=tmp_path)
    run = tmp_path / "trained_models/mine"
    while not (run / "metrics.csv").is_file():
        assert going.poll() is None, going.communicate()[1]
        time.sleep(0.1)
    other = process("--resume", str(run), cwd=tmp_path)
    _, err = other.communicate(timeout=600)
    going.terminate()
    going.communicate(timeout=600)
    assert other.returncode == 3, err
    assert "is in use by process" in err


def test_t22_any_gymnasium_id_trains(tmp_path):
    flags = ["--steps=200", "--env_name=Pendulum-v1", f"--logdir={tmp_path}", "--run_name=mine", *QUICK]
    assert train.main(flags) == 0
    summary = json.loads((tmp_path / "mine/summary.json").read_text())
    assert summary["success_rate"] is None
    assert summary["mean_return"] < 0
    assert "robot" not in json.loads((tmp_path / "mine/config.json").read_text())


def test_panda_gym_trains_as_a_plugin(tmp_path):
    pytest.importorskip("panda_gym")
    flags = ["--env_name=PandaReach-v3", '--plugins=["panda_gym"]', "--algo=her", f"--logdir={tmp_path}"]
    assert train.main([*flags, "--steps=200", "--run_name=mine", *QUICK]) == 0
    assert json.loads((tmp_path / "mine/summary.json").read_text())["success_rate"] is not None


def test_a_pretrained_model_is_where_training_starts(tmp_path):
    flags = [f"--logdir={tmp_path}", *QUICK]
    assert train.main(["--steps=200", "--run_name=first", *flags]) == 0
    again = ["--steps=40", "--run_name=second", f"--pretrained_model={tmp_path / 'first'}"]
    assert train.main([*again, *flags]) == 0
    best, second = weights(tmp_path / "first", "best"), weights(tmp_path / "second")
    # Forty steps are fewer than learning_starts: nothing was learned since.
    assert all(torch.equal(best[name], second[name]) for name in best)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_shipped_configuration_is_sound(name, capsys):
    assert train.main(["--config", name, "--dry-run"]) == 0
    assert "file" in capsys.readouterr().out


def test_the_default_run_is_configs_reach():
    assert Config.load("reach.json") == Config()


def test_questions_load_no_torch_and_no_physics():
    """This is what makes them answer at once."""
    for flag in (["--help"], ["--list-algos"], ["--algo=ppoo"], ["--steps=x"]):
        code = (
            "import sys\nfrom armature import train\n"
            f"try:\n    train.main({flag!r})\nexcept SystemExit:\n    pass\n"
            "assert not {'torch', 'pybullet', 'stable_baselines3'} & set(sys.modules)"
        )
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )


def test_f16_threads_are_chosen_and_recorded(tmp_path):
    assert train.main(["--steps=20", f"--logdir={tmp_path}", "--run_name=mine", "--torch_threads=2", *QUICK]) == 0
    assert json.loads((tmp_path / "mine/run.json").read_text())["circumstances"]["torch_threads"] == 2
    torch.set_num_threads(1)


def test_train_py_stays_short():
    assert len((ROOT / "train.py").read_text().splitlines()) <= 300
