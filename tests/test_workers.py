"""Environments in processes of their own that die, hang or raise."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from armature import shm_vec_env, train
from armature.checkpoints import newest
from armature.config import Config
from armature.errors import WorkerError
from armature.plugins import load_plugins
from armature.vec import make_vec_env

ROOT = Path(__file__).parent.parent
FRAGILE = '''
import os, signal, time
from contextlib import suppress
from pathlib import Path
import gymnasium, numpy as np
from gymnasium import spaces

class Fragile(gymnasium.Env):
    """Episodes of ten steps; the fifth step does harm while there are files in a folder, and takes one away."""
    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (1,))
    max_episode_steps = 10

    def __init__(self, folder, how, render_mode=None):
        self.folder, self.how = Path(folder), how

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 5 and self.takes_one():
            if self.how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.how == "hang":
                time.sleep(1000)
            raise RuntimeError("a joint came off")
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), 1.0, False, self.steps >= 10, {}

    def takes_one(self):
        for file in self.folder.iterdir():
            with suppress(FileNotFoundError):  # the other environment was faster
                file.unlink()
                return True

gymnasium.register("fragile/Arm-v0", entry_point=Fragile)
'''


@pytest.fixture
def fragile(tmp_path):
    """Return a function that makes a configuration, and sets up the accidents that its environments have."""

    def make(accidents: int, how: str = "kill", **keys) -> Config:
        plugin, folder = tmp_path / "fragile.py", tmp_path / "accidents"
        plugin.write_text(FRAGILE)
        folder.mkdir()
        for number in range(accidents):
            (folder / str(number)).touch()
        config = Config(
            env_name="fragile/Arm-v0",
            plugins=[str(plugin)],
            env_kwargs={"folder": str(folder), "how": how},
            algo="a2c",
            num_envs=2,
            num_workers=2,
            eval_freq=0,
            eval_episodes=2,
            tensorboard=False,
            logdir=str(tmp_path / "runs"),
            run_name="mine",
            **keys,
        )
        load_plugins(config.plugins)
        return config

    return make


@pytest.mark.slow
@pytest.mark.parametrize("how", ["kill", "raise", "hang"])
def test_e4_f7_d30_t15_a_process_that_fails_is_replaced(how, fragile, monkeypatch, caplog):
    """Its episode ends as one that was cut; the other environment goes on undisturbed."""
    env = make_vec_env(fragile(1, how), "train", 2)
    env.reset()
    monkeypatch.setattr(shm_vec_env, "WAIT_S", 2.0 if how == "hang" else 60.0)
    actions = np.zeros((2, 1), np.float32)
    for _ in range(4):
        before, _, dones, _ = env.step(actions)
        assert not dones.any()
    _, rewards, dones, infos = env.step(actions)
    lost = int(np.flatnonzero(dones)[0])
    assert dones.sum() == 1
    assert rewards.tolist() == [float(index != lost) for index in range(2)]
    assert infos[lost]["TimeLimit.truncated"]
    assert np.array_equal(infos[lost]["terminal_observation"], before[lost])
    assert env.get_attr("episode") == [2 if index == lost else 1 for index in range(2)]
    for _ in range(5):
        _, _, dones, _ = env.step(actions)
    assert dones.tolist() == [index != lost for index in range(2)]
    told = {"kill": "has ended (exit code -9)", "raise": "raised:\nTraceback", "hang": "did not answer for 2 s"}[how]
    assert f"the worker of environment {lost} {told}" in caplog.text
    env.close()


@pytest.mark.slow
def test_e4_t15_a_run_survives_and_shows_the_traceback(fragile, tmp_path):
    config = fragile(1, "raise", steps=100, final_eval_episodes=2)
    config.save(tmp_path / "cfg.json")
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(tmp_path / "cfg.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "RuntimeError: a joint came off" in done.stderr
    assert "Its episodes are cut, and a new worker takes its place." in done.stderr


@pytest.mark.slow
def test_e4_beyond_the_quota_the_run_ends_with_a_checkpoint(fragile, monkeypatch, tmp_path):
    monkeypatch.setattr(shm_vec_env, "RESTARTS", 1)
    with pytest.raises(WorkerError, match=r"have failed 2 times, .*--resume RUN goes on"):
        train.train(fragile(2, steps=1000, checkpoint_freq=0, algo_kwargs={"n_steps": 2}))
    assert 0 < int(newest(tmp_path / "runs/mine").name) < 1000
