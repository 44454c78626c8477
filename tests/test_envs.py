"""Every registered environment: checkers, exactness, rewards, experts."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

from armature.envs import ENV_IDS
from armature.envs.tasks.reach import Reach
from armature.errors import ConfigError, UnknownNameError
from armature.registry import resolve, robot_actions, tasks
from tests.robot_envs import is_installed, make, mixed_actions, play, share_solved

TASKS = sorted(tasks)
MODES = sorted(robot_actions)


@pytest.mark.parametrize("form", ["goal", "flat"])
@pytest.mark.parametrize("env_id", [env_id for env_id in ENV_IDS if is_installed(env_id)])
def test_every_id_passes_both_checkers(env_id, form):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity.*")
        env = gymnasium.make(env_id, observation=form, disable_env_checker=True).unwrapped
        gymnasium_check(env, skip_render_check=True)
        sb3_check(env)
    env.close()
    env.close()


@pytest.mark.parametrize(
    ("task", "mode"),
    [
        (task, mode)
        for task in TASKS
        for mode in MODES
        if resolve(robot_actions[mode]).turns_hand or not resolve(tasks[task]).turns_hand
    ],
)
def test_an_episode_depends_on_its_seed_alone(task, mode):
    """A lived-in world gives the same episode as a new one, bit for bit."""
    lived_in = make(task=task, robot_action=mode, observation="flat", reward="dense")
    actions = mixed_actions(lived_in)
    for seed in range(3):
        for history in range(2):
            play(lived_in, 100 + history, actions[: 20 + 5 * history])
        fresh = make(task=task, robot_action=mode, observation="flat", reward="dense")
        assert np.array_equal(play(fresh, seed, actions), play(lived_in, seed, actions))
        fresh.close()
    lived_in.close()


def test_two_environments_in_one_process_do_not_touch_each_other():
    """Every PyBullet call names its client."""
    first, second = (make(task="push", observation="flat") for _ in range(2))
    actions = [first.action_space.sample() for _ in range(20)]
    alone = play(first, 3, actions)
    first.reset(seed=3)
    for action in actions:
        first.step(action)
        second.reset(seed=9)
        second.step(action)
    interleaved = play(first, 3, actions)
    assert np.array_equal(alone, interleaved)
    first.close()
    assert np.array_equal(alone, play(second, 3, actions))


@pytest.mark.parametrize("task", TASKS)
def test_looking_does_not_change_what_happens(task):
    blind, seen = make(task=task, observation="flat"), make(task=task, observation="flat", render_mode="rgb_array")
    actions = mixed_actions(blind, 15)
    watched = play(seen, 1, actions)
    assert np.array_equal(play(blind, 1, actions), watched)
    picture = seen.render()
    assert picture.dtype == np.uint8
    assert picture.shape == (360, 480, 3)
    assert picture.std() > 10, "the picture is empty"


@pytest.mark.parametrize("kind", ["sparse", "dense"])
@pytest.mark.parametrize("task", TASKS)
def test_compute_reward_of_many_rows_equals_the_rewards_of_the_steps(task, kind):
    env = make(task=task, reward=kind)
    rows, rewards = [], []
    for episode in range(20):
        env.reset(seed=episode)
        for action in mixed_actions(env, 50):
            observation, reward, _, _, info = env.step(env.expert_action() if action is None else action)
            rows.append((observation["achieved_goal"], observation["desired_goal"], info))
            rewards.append(reward)
    achieved, desired, infos = zip(*rows, strict=True)
    assert np.array_equal(env.compute_reward(np.array(achieved), np.array(desired), infos), rewards)
    assert env.compute_reward(*rows[7]) == rewards[7]


@pytest.mark.parametrize("task", TASKS)
def test_dense_reward_is_the_weighted_mean_of_its_terms_and_at_most_one(task):
    env = make(task=task, reward="dense", reward_weights={"success": 3.0})
    env.reset(seed=0)
    done = False
    while not done:
        _, reward, _, done, info = env.step(env.expert_action())
        weights = {**env.task.reward_terms, "success": 3.0}
        mean = sum(weights[name] * term for name, term in info["reward_terms"].items()) / sum(weights.values())
        assert reward == pytest.approx(mean)
        assert all(0 <= term <= 1 for term in info["reward_terms"].values())
    assert info["is_success"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("task", "bar"), [("reach", 0.98), ("push", 0.98), ("pick_and_place", 0.95)])
def test_the_expert_solves_the_task(task, bar, mode):
    """The full 200 seeds are run by benchmarks/experts.py; 40 of them here."""
    env = make(task=task, robot_action=mode)
    assert share_solved(env, 40) >= bar


@pytest.mark.parametrize("task", TASKS)
def test_success_of_one_goal_is_that_of_rows_also_at_the_border(task):
    env = make(task=task)
    env.reset(seed=0)
    rng, goal = np.random.default_rng(0), env.now.goal
    for excess in (-1e-3, -1e-5, -1e-7, 0, 1e-7, 1e-5, 1e-3):
        for _ in range(20):
            way = rng.normal(size=goal.shape)
            way *= env.task.success_distance * (1 + excess) / np.linalg.norm(way)
            achieved = (goal + way).astype(np.float32)
            assert env.task.succeeds(achieved, goal) == env.task.success(achieved[None], goal[None])[0]


def test_success_of_a_task_of_ones_own_holds_for_one_goal_too():
    class Never(Reach):
        def success(self, achieved, desired):
            return np.zeros(len(achieved), bool)

    point = np.zeros(3, np.float32)
    assert Reach().succeeds(point, point)
    assert not Never().succeeds(point, point)


def test_the_last_info_tells_success_once_at_the_end_and_first():
    env = make(task="reach", episode_steps=12)
    env.reset(seed=0)
    successes = []
    for step in range(12):
        *_, truncated, info = env.step(env.expert_action() if step < 9 else -np.ones(3))
        assert ("success_once" in info) == truncated == (step == 11)
        successes.append(info["is_success"])
    assert info["success_once"]
    assert not info["success_at_end"]
    assert info["first_success_step"] == successes.index(True) + 1


def test_terminate_on_success_ends_the_episode():
    env = make(task="reach", terminate_on_success=True)
    env.reset(seed=0)
    terminated = truncated = False
    while not (terminated or truncated):
        *_, terminated, truncated, info = env.step(env.expert_action())
    assert terminated
    assert not truncated
    assert info["success_at_end"]


def test_the_gripper_closes_on_a_block_and_keeps_it():
    env = make(task="pick_and_place", task_kwargs={"on_table": 0.0})
    env.reset(seed=5)
    for _ in range(50):
        env.step(env.expert_action())
    assert env.now.grasped
    assert env.now.robot.gripper_width == pytest.approx(0.04, abs=0.004)


def test_a_flat_observation_is_the_goal_observation_with_the_goal_added():
    flat, goal = make(task="push", observation="flat"), make(task="push")
    vector, parts = flat.reset(seed=4)[0], goal.reset(seed=4)[0]
    assert np.array_equal(vector[:-6], parts["observation"])
    assert np.allclose(vector[-6:-3] * 0.25, parts["desired_goal"])
    assert np.allclose(vector[-3:] * 0.2, parts["desired_goal"] - parts["achieved_goal"], atol=1e-6)


def test_observation_parts_are_selected_by_name():
    env = make(observation="flat", observation_parts=["joints", "joint_velocities", "previous_action", "to_goal"])
    assert env.observation_space.shape == (7 + 7 + 3 + 3,)


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"robot": "pandas"}, UnknownNameError, "did you mean 'panda'"),
        ({"task": "reech"}, UnknownNameError, "did you mean 'reach'"),
        ({"workspace": "tabel"}, UnknownNameError, "did you mean 'table'"),
        ({"robot_action": "ee_delt"}, UnknownNameError, "did you mean 'ee_delta'"),
        ({"observation_parts": ["joint"]}, UnknownNameError, "did you mean 'joints'"),
        ({"observation_parts": ["to_goal"]}, ConfigError, "hindsight would keep the old goal"),
        ({"observation": "dict"}, ConfigError, "allowed: 'flat', 'goal'"),
        ({"reward": "dens"}, ConfigError, "allowed: 'dense', 'sparse'"),
        ({"reward_weights": {"gaol": 1}}, UnknownNameError, "did you mean 'goal'"),
        ({"reward_weights": {"goal": -1}}, ConfigError, "at least 0"),
        ({"reward_weights": {"goal": 0, "success": 0}}, ConfigError, "all 0"),
        ({"task_kwargs": {"goal_sise": 0.2}}, UnknownNameError, "did you mean 'goal_size'"),
        ({"task_kwargs": {"goal_size": float("nan")}}, ConfigError, "task_kwargs.goal_size is nan"),
    ],
)
def test_a_wrong_argument_is_named_with_what_is_allowed(kwargs, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        make(**kwargs)
