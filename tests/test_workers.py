"""Environments that die, hang or raise, in processes of their own or in this one: nobody sees a difference."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from armature import train
from armature.checkpoints import newest
from armature.config import Config
from armature.errors import WorkerError
from armature.plugins import load_plugins
from armature.restarts import Restarts
from armature.vec import make_vec_env

ROOT = Path(__file__).parent.parent
PLUGIN = str(Path(__file__).with_name("fragile_envs.py"))
ENVS, STEPS = 4, 30
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (STEPS, ENVS, 1)).astype(np.float32)


@pytest.fixture
def fragile(tmp_path):
    """Return a function that makes a configuration, and sets up the accidents that its environments have."""

    def make(accidents: int = 0, how: str = "kill", at: str = "step 5", lasts: bool = False, **keys) -> Config:
        folder = tmp_path / "accidents"
        folder.mkdir(exist_ok=True)
        for number in range(accidents):
            (folder / str(number)).touch()
        load_plugins([PLUGIN])
        given = {
            "env_name": "fragile/Arm-v0",
            "plugins": [PLUGIN],
            "env_kwargs": {"folder": str(folder), "how": how, "at": at, "lasts": lasts},
            "algo": "a2c",
            "num_envs": 2,
            "num_workers": 2,
            "eval_freq": 0,
            "eval_episodes": 2,
            "tensorboard": False,
            "logdir": str(tmp_path / "runs"),
            "run_name": "mine",
        }
        return Config(**{**given, **keys})

    return make


def seen_in(env, steps=STEPS):
    """Return all that can be seen of some steps."""
    told = [env.reset().tolist(), str(env.reset_infos)]
    for actions in ACTIONS[:steps]:
        observation, rewards, dones, infos = env.step(actions)
        told += [observation.tolist(), rewards.tolist(), dones.tolist(), str(infos), str(env.reset_infos)]
    told += [state.episode for state in env.episode_states()]
    told += [state.actions.tolist() for state in env.episode_states()]
    env.close()
    return told


@pytest.fixture
def undisturbed(fragile):
    """Return what is seen when nothing happens."""
    return seen_in(make_vec_env(fragile(num_workers=0), "train", ENVS))


@pytest.mark.parametrize(
    ("how", "at", "accidents"),
    [
        ("kill", "step 5", 1),
        ("kill", "step 8", 3),  # some die in the same step
        ("kill", "reset", 2),
        ("kill", "first reset", 1),
        ("exit", "step 1", 2),
        ("raise", "step 5", 3),
        ("raise", "first reset", 2),
        ("hang", "step 5", 2),
        ("hang in C", "step 8", 1),
        ("stop", "reset", 1),
    ],
)
def test_e4_f7_d30_t15_a_worker_that_fails_is_replaced_and_nobody_sees_it(
    how, at, accidents, fragile, undisturbed, caplog
):
    timeout = 1.0 if how in ("hang", "hang in C", "stop") else 300.0
    env = make_vec_env(fragile(accidents, how, at, worker_timeout=timeout), "train", ENVS)
    assert seen_in(env) == undisturbed
    assert 0 < caplog.text.count("made anew and plays its episode again") <= accidents


@pytest.mark.parametrize("at", ["step 5", "reset", "first reset"])
def test_an_environment_of_this_process_that_raises_is_made_anew(at, fragile, undisturbed, caplog):
    assert seen_in(make_vec_env(fragile(3, "raise", at, num_workers=0), "train", ENVS)) == undisturbed
    assert "RuntimeError: a joint came off" in caplog.text


def wait_for(condition, seconds=60.0):
    """Wait until something is true; return whether it is in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_death_is_seen_while_another_worker_hangs(fragile, undisturbed, caplog):
    env = make_vec_env(fragile(2, "stop", "step 1", worker_timeout=20.0), "train", ENVS)
    env.reset()
    processes = [psutil.Process(worker.process.pid) for worker in env.unwrapped._workers]
    env.step_async(ACTIONS[0])
    assert wait_for(lambda: all(process.status() == psutil.STATUS_STOPPED for process in processes))
    processes[1].kill()
    killer = threading.Timer(0.0, lambda: wait_for(lambda: "exit code -9" in caplog.text) and processes[0].kill())
    killer.start()
    started = time.monotonic()
    env.step_wait()
    assert time.monotonic() - started < 20  # neither waited for the deadline
    killer.join()
    env.close()
    assert caplog.text.count("exit code -9") == 2


def test_a_slow_worker_is_no_hung_one(fragile):
    """Each of its environments is in time; all together are not."""
    keys = {**fragile().env_kwargs, "takes_s": 0.5}
    env = make_vec_env(fragile(env_kwargs=keys, num_workers=1, worker_timeout=1.0, worker_restarts=0), "train", ENVS)
    env.reset()
    env.step(ACTIONS[0])
    env.close()


def test_the_clock_on_the_wall_does_not_matter(fragile, undisturbed, monkeypatch):
    env = make_vec_env(fragile(worker_timeout=100.0, worker_restarts=0), "train", ENVS)
    days = iter(range(10**9))
    monkeypatch.setattr(time, "time", lambda: 86_400.0 * next(days))
    assert seen_in(env) == undisturbed


@pytest.mark.parametrize(("how", "workers"), [("kill", 2), ("hang", 2), ("raise", 2), ("raise", 0)])
def test_what_fails_twice_at_the_same_place_is_no_accident(how, workers, fragile):
    config = fragile(1, how, "step 5", lasts=True, num_workers=workers, worker_timeout=1.0 if how == "hang" else 300.0)
    env = make_vec_env(config, "train", ENVS)
    env.reset()
    for actions in ACTIONS[:4]:
        env.step(actions)
    with pytest.raises(WorkerError, match="second time at this very place") as caught:
        env.step(ACTIONS[4])
    fault = caught.value.fault
    assert (fault.doing, fault.episode, fault.step) == ("step", 0, 5)
    np.testing.assert_array_equal(fault.actions, ACTIONS[:5, fault.index])
    assert f"environment {fault.index}, episode 0, step 5" in str(caught.value)
    assert ("a joint came off" in str(caught.value)) == (how == "raise")
    assert [len(state.actions) for state in env.episode_states()] == [4] * ENVS  # what a checkpoint needs is there
    assert env.get_attr("episode") == [1] * ENVS
    env.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_beyond_the_quota_it_is_no_accident_either(workers, fragile):
    env = make_vec_env(fragile(9, "raise", "step 5", num_workers=workers, worker_restarts=2), "train", ENVS)
    with pytest.raises(WorkerError, match=r"have failed 3 times and worker_restarts is 2(.|\n)*--resume RUN"):
        seen_in(env)
    env.close()


def test_restarts_that_follow_each_other_wait_longer_and_longer(monkeypatch):
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    restarts = Restarts(10)
    for _ in range(7):
        restarts.pause()
    assert pauses == [0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0]
    later = time.monotonic() + 100
    monkeypatch.setattr(time, "monotonic", lambda: later)
    restarts.pause()
    assert pauses[-1] == 0.0


def test_a_worker_that_dies_while_nobody_asks_is_replaced_at_the_next_question(fragile, undisturbed):
    env = make_vec_env(fragile(), "train", ENVS)
    told = [env.reset().tolist(), str(env.reset_infos)]
    for step, actions in enumerate(ACTIONS):
        if step in (3, 17):
            for worker in env.unwrapped._workers[: 1 + step // 10]:
                worker.process.kill()
                worker.process.join()
            if step == 3:
                assert env.get_attr("note") == ["written by __init__"] * ENVS
        observation, rewards, dones, infos = env.step(actions)
        told += [observation.tolist(), rewards.tolist(), dones.tolist(), str(infos), str(env.reset_infos)]
    env.close()
    assert told == undisturbed[: len(told)]


@pytest.mark.parametrize("how", ["kill", "hang"])
def test_a_fault_in_a_question_ends_in_an_error(how, fragile):
    """It is asked twice, then it is no accident; nothing waits for ever."""
    env = make_vec_env(fragile(worker_timeout=1.0), "train", ENVS)
    env.reset()
    with pytest.raises(WorkerError, match="at env_method of environment"):
        env.env_method("do_harm", how, indices=[1])
    env.close()


@pytest.mark.parametrize("how", ["kill", "hang", "raise"])
def test_a_fault_while_an_episode_is_played_again_is_mended_too(how, fragile, undisturbed):
    config = fragile(2, how, "step 5", worker_timeout=1.0 if how == "hang" else 300.0)
    env = make_vec_env(config.model_copy(update={"env_kwargs": {**config.env_kwargs, "at": "never"}}), "train", ENVS)
    env.reset()
    for actions in ACTIONS[:7]:
        env.step(actions)
    states = env.episode_states()
    expected = [env.step(actions)[0].tolist() for actions in ACTIONS[7:]]
    env.close()
    again = make_vec_env(config, "train", ENVS)
    again.restore_episodes(states)
    assert not any(Path(config.env_kwargs["folder"]).iterdir())
    assert [again.step(actions)[0].tolist() for actions in ACTIONS[7:]] == expected
    again.close()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_question_that_has_no_answer_costs_no_worker(workers, fragile):
    env = make_vec_env(fragile(num_workers=workers, worker_restarts=0), "train", ENVS)
    env.reset()
    with pytest.raises(AttributeError, match="colour"):
        env.get_attr("colour")
    with pytest.raises((WorkerError, RuntimeError), match="a joint came off"):
        env.env_method("do_harm", "raise", indices=2)
    assert not env.has_attr("colour")
    env.step(ACTIONS[0])
    env.close()


def test_an_environment_that_cannot_be_made_is_an_error(fragile):
    config = fragile()
    with pytest.raises(WorkerError, match=r"could not be made: .*raised:(.|\n)*unexpected keyword argument"):
        make_vec_env(config.model_copy(update={"env_kwargs": {"colour": "red"}}), "train", 2)


TRAINER = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from armature.config import Config
from armature.plugins import load_plugins
from armature.restarts import Restarts
from armature.vec import make_vec_env

if __name__ == "__main__":
    how = {"folder": sys.argv[3], "how": sys.argv[4], "at": "step 2", "lasts": True}
    config = Config(env_name="fragile/Arm-v0", plugins=[sys.argv[2]], env_kwargs=how, num_workers=2, algo="a2c")
    load_plugins(config.plugins)
    env = make_vec_env(config, "train", 4)
    env.reset()
    env.step(np.zeros((4, 1), np.float32))
    print(*[worker.process.pid for worker in env.unwrapped._workers], flush=True)
    env.step(np.zeros((4, 1), np.float32))
"""


@pytest.mark.parametrize("how", ["hang", "hang in C"])
def test_nothing_outlives_a_trainer_that_is_killed(how, fragile, tmp_path):
    """Not even an environment that will never look up from what it does."""
    config = fragile(1, how)
    command = [sys.executable, "-c", TRAINER, str(ROOT), PLUGIN, config.env_kwargs["folder"], how]
    trainer = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    workers = [psutil.Process(int(pid)) for pid in trainer.stdout.readline().split()]
    family = [*psutil.Process(trainer.pid).children(recursive=True), *workers]
    time.sleep(0.5)  # they are in the step that has no end
    assert all(worker.is_running() for worker in workers)
    trainer.kill()
    trainer.wait()
    assert wait_for(lambda: not any(map(is_alive, family)), 30)


def is_alive(process):
    """Return whether a process is there and no zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_e4_t15_a_run_survives_and_shows_the_traceback(fragile, tmp_path):
    config = fragile(1, "raise", steps=100, final_eval_episodes=2)
    config.save(tmp_path / "cfg.json")
    command = [sys.executable, str(ROOT / "train.py"), "--config", str(tmp_path / "cfg.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "RuntimeError: a joint came off" in done.stderr
    assert "It is made anew and plays its episode again." in done.stderr


@pytest.mark.slow
def test_e4_beyond_the_quota_the_run_ends_with_a_checkpoint(fragile, tmp_path):
    config = fragile(2, steps=1000, checkpoint_freq=0, algo_kwargs={"n_steps": 2}, worker_restarts=1)
    with pytest.raises(WorkerError, match=r"have failed 2 times(.|\n)*--resume RUN goes on"):
        train.train(config)
    assert 0 < int(newest(tmp_path / "runs/mine").name) < 1000
