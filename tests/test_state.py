"""Exact states, exact repetitions, flat memory. The long forms are benchmarks/exactness.py and benchmarks/memory.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import psutil
import pytest

from armature.config import Config
from armature.envs import ENV_IDS
from armature.plugins import load_plugins
from armature.registry import tasks
from armature.vec import make_vec_env
from tests.robot_envs import is_installed

ROOT = Path(__file__).parent.parent
RANDOM = {"gravity": {"uniform": [9.5, 10]}, "motor_strength": {"uniform": [0.8, 1.1]}}
UNSURE = {"observation_noise": {"ee_position": 0.005}, "observation_latency": {"ee_position": 2}}


def make(env_id="armature/RobotEnv-v1", **kwargs):
    return gymnasium.make(env_id, disable_env_checker=True, **{"observation": "flat", **kwargs}).unwrapped


def numbers(env, observation):
    seen = [observation, env.now.robot.joint_positions, env.now.robot.joint_velocities]
    return np.concatenate([*seen, *(body.spin for body in env.now.objects)])


def lively_actions(env, seed):
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    actions = []
    for step in range(env.episode_steps):
        actions.append(env.expert_action() if step % 3 else rng.uniform(-1, 1, env.action_space.shape))
        env.step(actions[-1])
    return actions


def follow(env, actions):
    """Take actions and begin the next episode, unseeded; return all that was seen."""
    seen = [numbers(env, env.step(action)[0]) for action in actions]
    return np.array([*seen, numbers(env, env.reset()[0]), numbers(env, env.step(np.zeros(env.action_space.shape))[0])])


# ------------------------------------------------------------------------------------------------ states


@pytest.mark.parametrize("task", sorted(tasks))
def test_a_state_continues_exactly_in_the_same_and_in_another_environment(task):
    env, other = (make(task=task, randomize=RANDOM, **UNSURE) for _ in range(2))
    rng = np.random.default_rng(0)
    for seed in range(3):
        actions = lively_actions(env, seed)
        cut = int(rng.integers(len(actions)))
        env.reset(seed=seed)
        for action in actions[:cut]:
            env.step(action)
        state = env.get_state()
        uninterrupted = follow(env, actions[cut:])
        for place in (env, other):
            place.set_state(state)
            assert len(place.get_state()["actions"]) == cut
            assert np.array_equal(follow(place, actions[cut:]), uninterrupted)


def test_taking_a_state_disturbs_nothing():
    watched, left_alone = make(task="pick_and_place"), make(task="pick_and_place")
    actions = lively_actions(watched, 4)[:30]
    watched.reset(seed=4)
    left_alone.reset(seed=4)
    for action in actions:
        watched.get_state()
        assert np.array_equal(watched.step(action)[0], left_alone.step(action)[0])


CONTINUE = """
import json, sys
import gymnasium, numpy as np
import armature.envs
arrays, rest = np.load("state.npz", allow_pickle=False), json.load(open("state.json"))
env = gymnasium.make("armature/RobotEnv-v1", **rest.pop("kwargs")).unwrapped
env.set_state({**rest, "actions": arrays["actions"]})
seen = [env.step(action)[0] for action in arrays["to_come"]] + [env.reset()[0]]
np.save("seen.npy", np.array(seen))
"""


def test_a_state_continues_exactly_in_a_fresh_process(tmp_path):
    """It travels as arrays and JSON; nothing is pickled."""
    kwargs = {
        "task": "pick_and_place",
        "observation": "flat",
        "randomize": {**RANDOM, "object_size": {"uniform": [0.9, 1.1]}},
    }
    env = make(**kwargs)
    actions = lively_actions(env, 1)
    env.reset(seed=1)
    for action in actions[:33]:
        env.step(action)
    state = env.get_state()
    np.savez(tmp_path / "state.npz", actions=state.pop("actions"), to_come=actions[33:])
    (tmp_path / "state.json").write_text(json.dumps({**state, "kwargs": kwargs}))
    uninterrupted = [env.step(action)[0] for action in actions[33:]] + [env.reset()[0]]
    # The last bits are those of the BLAS kernels, which the environment may choose (OPENBLAS_CORETYPE).
    everything = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", CONTINUE], cwd=tmp_path, check=True, env=everything)
    assert np.array_equal(np.load(tmp_path / "seen.npy"), uninterrupted)


@pytest.mark.parametrize("workers", [0, 2])
def test_states_of_many_environments_are_restored_in_other_processes(workers):
    """What a resumed run needs of its environments comes from one call, through all wrappers, be it in processes."""
    load_plugins()
    config = Config(task_type="push", max_episode_steps=6, randomize=RANDOM, algo="dqn", num_workers=workers)
    env = make_vec_env(config, "train", 3)
    rng = np.random.default_rng(0)
    actions = rng.integers(env.action_space.n, size=(25, 3))
    env.reset()
    for action in actions[:9]:
        shown = env.step(action)[0]
    states = env.episode_states()
    assert [(state.episode, len(state.actions)) for state in states] == [(1, 3)] * 3
    uninterrupted = [env.step(action)[:3] for action in actions[9:]]
    env.close()

    resumed = make_vec_env(config.model_copy(update={"num_workers": 2 - workers}), "train", 3)
    assert np.array_equal(resumed.restore_episodes(states), shown)
    for expected, action in zip(uninterrupted, actions[9:], strict=True):
        assert all(map(np.array_equal, expected, resumed.step(action)[:3]))
    resumed.close()


# ------------------------------------------------------------------------------------------------ histories


def wander(env, steps, seed):
    """Take random steps, with a new episode now and then; return all that was seen."""
    rng = np.random.default_rng(seed)
    seen = [numbers(env, env.reset(seed=seed)[0])]
    for step in range(steps):
        observation, _, _, truncated, _ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        seen.append(numbers(env, observation))
        if truncated or rng.random() < 0.03:
            seen.append(numbers(env, env.reset(seed=seed + step)[0]))
    return np.array(seen)


@pytest.mark.parametrize("env_id", [env_id for env_id in ENV_IDS if is_installed(env_id)])
def test_random_steps_with_resets_repeat_in_a_world_with_a_past(env_id):
    """The benchmark takes 1,000 steps."""
    fresh, lived_in = make(env_id), make(env_id)
    wander(lived_in, 60, seed=9)
    assert np.array_equal(wander(fresh, 150, seed=1), wander(lived_in, 150, seed=1))
    for env in (fresh, lived_in):
        env.close()
        env.close()


# ------------------------------------------------------------------------------------------------ memory

MEASURE = """
import ctypes, gc, sys
import gymnasium, psutil
import armature.envs

def resident():
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: 0)(0)
    return psutil.Process().memory_info().rss / 1e6

def round_of(count):
    envs = [gymnasium.make("armature/PandaPush-v1") for _ in range(count)]
    for env in envs:
        env.reset(seed=0)
        env.step(env.action_space.sample())
    for env in envs:
        env.close()

round_of(5)
before = resident()
for _ in range(3):
    round_of(6)
print(resident() - before)
"""


def test_closed_environments_leave_nothing_behind():
    """An open one has about 40 MB, most of them PyBullet's own."""
    grown = subprocess.run(
        [sys.executable, "-c", MEASURE], env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=True
    )
    assert float(grown.stdout) < 30


@pytest.mark.parametrize("task", sorted(tasks))
def test_episodes_leave_nothing_behind(task):
    env = make(task=task, randomize=RANDOM)
    rng = np.random.default_rng(0)

    def play(episodes):
        for episode in range(episodes):
            env.reset(seed=episode)
            for _ in range(2):
                env.step(rng.uniform(-1, 1, env.action_space.shape))

    play(100)
    before = psutil.Process().memory_info().rss
    play(200)
    assert psutil.Process().memory_info().rss - before < 4_000_000
