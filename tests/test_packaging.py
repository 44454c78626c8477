"""Bare clone, editable installation and wheel: the same one import name, the same files."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command, cwd):
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what git tracks, so that nothing left lying about gets in."""
    source, dist = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    if (ROOT / ".git").exists():
        run("git", "clone", "-q", ROOT, source, cwd=ROOT)
    else:
        shutil.copytree(ROOT, source, dirs_exist_ok=True, ignore=shutil.ignore_patterns("trained_models", "build"))
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", dist, source, cwd=dist)
    return next(dist.glob("*.whl"))


def test_the_wheel_holds_one_name_and_everything_it_needs(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"armature"}
    needed = "train.py test.py py.typed envs/robot_env.py envs/tasks/push.py myalgos/__init__.py configs/reach.json"
    needed += " envs/assets/button.urdf"
    assert {f"armature/{name}" for name in needed.split()} <= names


@pytest.mark.slow
def test_the_wheel_trains_outside_the_checkout(wheel, tmp_path):
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    bin_ = tmp_path / "venv/bin"
    run(bin_ / "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    flags = ["--steps=64", "--num_envs=2", "--eval_freq=0", "--final_eval_episodes=2", "--run_name=mine"]
    out = run(bin_ / "armature-train", "--config", "reach.json", *flags, cwd=tmp_path)
    assert "see it with" in out
    assert (tmp_path / "trained_models/mine/final/model.zip").is_file()
    assert "2 episodes of model control" in run(bin_ / "armature-test", "--episodes=2", cwd=tmp_path)
    code = "import importlib.util as u; assert not any(u.find_spec(n) for n in ('envs', 'myalgos', 'configs', 'train'))"
    run(bin_ / "python", "-c", code, cwd=tmp_path)
