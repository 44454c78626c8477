"""Environments from a config: seeds, actions, many at once, normalisation."""

import json

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from armature.config import Config
from armature.discrete import DiscreteActions
from armature.errors import ConfigError
from armature.plugins import load_plugins
from armature.vec import (
    STREAMS,
    SpacesOnly,
    episode_counters,
    episode_length,
    episode_seed,
    make_env,
    make_vec_env,
    normalized,
    set_episode_counters,
    worker_count,
)


def play(env, steps=45):
    """Return all observations and rewards of a fixed sequence of actions."""
    rng = np.random.default_rng(0)
    seen = [env.reset()]
    for _ in range(steps):
        actions = rng.uniform(-1, 1, (env.num_envs, 2)).astype(np.float32)
        observation, rewards, _, _ = env.step(actions)
        seen += [observation, rewards]
    env.close()
    return seen


def test_seeds_do_not_change_between_versions():
    """Recorded runs are repeated with these."""
    assert [episode_seed(0, stream, 0, 0) for stream in STREAMS] == [*(742202927, 2064973073, 2932762783, 3874481208)]
    assert episode_seed(7, "train", 3, 1000) == 641369978


def test_seeds_of_streams_never_meet():
    seeds = {stream: {episode_seed(0, stream, i, k) for i in range(4) for k in range(500)} for stream in STREAMS}
    assert all(len(found) == 2000 for found in seeds.values())
    assert not seeds["train"] & seeds["evaluation"]
    assert not seeds["evaluation"] & seeds["replay"]
    assert max(seeds["replay"]) < 2**32


def test_every_reset_is_seeded(make_config):
    """Also those that a vectorised environment does by itself, with seed None."""
    first, second = (play(make_vec_env(make_config(), "train", 2)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_environment_does_not_depend_on_its_neighbours(make_config):
    two, three = (make_vec_env(make_config(), "train", n) for n in (2, 3))
    np.testing.assert_array_equal(two.reset(), three.reset()[:2])


def test_streams_and_environments_differ(make_config):
    starts = [make_env(make_config(), stream, index).reset()[0] for stream in STREAMS for index in range(2)]
    assert len({start.tobytes() for start in starts}) == 8


def test_episode_counters_are_read_and_set(make_config):
    env = make_vec_env(make_config(), "train", 2)
    first = env.reset()
    assert episode_counters(env) == [1, 1]
    set_episode_counters(env, [0, 7])
    again = env.reset()
    np.testing.assert_array_equal(first[0], again[0])
    assert episode_counters(env) == [1, 8]


def test_processes_give_the_same_numbers(make_config):
    config = make_config()
    apart = make_vec_env(config.model_copy(update={"num_workers": 2}), "train", 2)
    set_episode_counters(apart, [0, 0])
    for a, b in zip(play(make_vec_env(config, "train", 2)), play(apart), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("keys", "workers"),
    [
        ({"algo": "sac"}, 4),
        ({"algo": "fast_sac"}, 3),  # it learns while they simulate
        ({"algo": "sac", "num_envs": 2}, 2),
        ({"algo": "sac", "num_envs": 1}, 0),
        ({"algo": "sac", "steps": 1000}, 0),  # over before processes have started
        ({"algo": "sac", "num_workers": 7}, 7),
    ],
)
def test_how_many_workers_there_are(keys, workers, monkeypatch):
    monkeypatch.setattr("armature.vec.cores", lambda: 4)
    load_plugins(["armature.myalgos"])
    config = Config(steps=100_000).model_copy(update=keys)
    assert worker_count(config, config.num_envs) == workers


def test_environments_that_do_little_stay_in_this_process(make_config, monkeypatch):
    monkeypatch.setattr("armature.vec.cores", lambda: 4)
    config = make_config("sac", steps=100_000, num_envs=8)
    monkeypatch.setattr("armature.vec.SHORT_S", 60.0)
    assert worker_count(config, 8) == 0
    monkeypatch.setattr("armature.vec.SHORT_S", 0.0)
    assert worker_count(config, 8) == 4


def test_the_log_of_episodes_goes_on_from_its_state(make_config):
    """Through JSON, no digit less; also with episodes that nobody has taken."""
    env, other = (make_vec_env(make_config(), "train", 2) for _ in range(2))
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (50, 2, 2)).astype(np.float32)
    env.reset()
    for action in actions[:27]:
        env.step(action)
    other.restore_episodes(env.episode_states())
    other.set_state(json.loads(json.dumps(env.get_state())))
    for action in actions[27:]:
        env.step(action)
        other.step(action)
    assert env.take() == other.take()


def test_finished_episodes_are_logged_and_reported(make_config):
    env = make_vec_env(make_config(), "train", 2)
    env.reset()
    total = np.zeros(2)
    for _ in range(20):
        _, rewards, dones, infos = env.step(np.zeros((2, 2), np.float32))
        total += rewards
    assert dones.all()
    episodes = env.take()
    assert [(episode.env, episode.length) for episode in episodes] == [(0, 20), (1, 20)]
    assert [info["episode"]["r"] for info in infos] == pytest.approx(total)
    assert episodes[0].terms["distance"] == pytest.approx(total[0], rel=1e-6)
    assert env.take() == []


def test_discrete_algorithms_get_the_grid(make_config):
    env = make_env(make_config("dqn"), "train", 0)
    assert env.action_space == spaces.Discrete(9)
    assert isinstance(env.env, DiscreteActions)


def test_continuous_algorithms_refuse_discrete_actions():
    config = Config(env_name="CartPole-v1", algo="sac")
    with pytest.raises(ConfigError, match=r"needs box actions.*ppo"):
        make_env(config, "train", 0)
    assert make_env(Config(env_name="CartPole-v1", algo="dqn"), "train", 0).action_space == spaces.Discrete(2)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"env_name": "Pendulm-v1"}, "Did you mean: `Pendulum`"),
        ({"env_name": "Pendulum-v1", "env_kwargs": {"grvity": 1.0}}, "unexpected keyword argument 'grvity'"),
    ],
)
def test_errors_name_the_key(keys, message):
    with pytest.raises(ConfigError, match=message):
        make_env(Config(**keys), "train", 0)


def test_foreign_environments_take_kwargs_and_a_time_limit():
    config = Config(env_name="Pendulum-v1", env_kwargs={"g": 5.0}, max_episode_steps=7)
    env = make_vec_env(config, "train", 1)
    assert env.get_attr("g") == [5.0]
    assert episode_length(env) == 7


def test_robot_keys_reach_the_robot_environment():
    load_plugins()
    config = Config(robot_action="joint_delta", reward="sparse", max_episode_steps=9, task_type="pick_and_place")
    env = make_env(config, "train", 0)
    assert isinstance(env.observation_space, spaces.Box)
    assert env.action_space.shape == (8,)
    assert env.unwrapped.episode_steps == 9
    assert env.unwrapped.reward.kind == "sparse"
    env.close()


def test_hindsight_sees_the_goal_apart():
    load_plugins()
    env = make_env(Config(algo="her"), "train", 0)
    assert set(env.observation_space) == {"observation", "achieved_goal", "desired_goal"}
    env.close()


def test_a_shorthand_keeps_its_robot_and_task():
    load_plugins()
    env = make_env(Config(env_name="armature/PandaPush-v1"), "train", 0)
    assert type(env.unwrapped.task).__name__ == "Push"
    env.close()


def test_normalisation_of_a_vector(make_config):
    env = normalized(make_vec_env(make_config(), "train", 2))
    assert not env.norm_reward
    seen = np.concatenate([observation for observation in play(env, 400)[1::2]])
    assert np.abs(seen[-400:].mean(axis=0)).max() < 0.5
    np.testing.assert_allclose(seen[-400:].std(axis=0), 1, atol=0.4)


def test_normalisation_of_a_goal_dict(make_config):
    env = normalized(make_vec_env(make_config("her"), "train", 2), training=False)
    assert set(env.norm_obs_keys) == {"observation", "achieved_goal", "desired_goal"}
    before = env.obs_rms["observation"].count
    env.reset()
    assert env.obs_rms["observation"].count == before


def test_images_are_not_normalised():
    picture, numbers = spaces.Box(0, 255, (8, 8, 3), np.uint8), spaces.Box(-1, 1, (2,))
    both = spaces.Dict({"camera": picture, "joints": numbers})
    action = spaces.Discrete(2)
    assert normalized(SpacesOnly(both, action)).norm_obs_keys == ["joints"]
    with pytest.raises(ConfigError, match="nothing to normalise"):
        normalized(SpacesOnly(picture, action))


def test_episode_length_is_unknown_for_endless_environments():
    class Endless(gymnasium.Env):
        observation_space = action_space = spaces.Box(0, 1, (1,))

    assert episode_length(DummyVecEnv([Endless])) is None
