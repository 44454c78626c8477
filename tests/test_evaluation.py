"""Episodes, success rates, intervals."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from armature.evaluation import Episode, EpisodeTracker, Evaluation, evaluate, wilson_interval


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(0, 20, 0.0, 0.1611), (8, 10, 0.4902, 0.9433), (95, 100, 0.8882, 0.9785), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_wilson_interval_of_known_values(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=1e-4)


class Counting(gymnasium.Env):
    """Episodes of a fixed length and reward 1 a step; success from step `first` on."""

    observation_space = spaces.Box(0, 100, (1,))
    action_space = spaces.Discrete(2)

    def __init__(self, length, first=None, tells=True):
        self.length, self.first, self.tells = length, first, tells

    def reset(self, *, seed=None, options=None):
        """Begin at step 0."""
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        """Count."""
        self.steps += 1
        success = self.first is not None and self.steps >= self.first
        info = {"is_success": success} if self.tells else {}
        return np.full(1, self.steps, np.float32), 1.0, self.steps >= self.length, False, info


class Recorder:
    """A policy that remembers what it was asked, and counts calls in its state."""

    def __init__(self):
        self.starts, self.states = [], []

    def predict(self, observation, state, episode_start, deterministic):
        """Do nothing, and remember."""
        self.starts.append(episode_start.copy())
        self.states.append(state)
        return np.zeros(len(observation), int), (state or 0) + 1


def vec(*arguments):
    return DummyVecEnv([lambda args=args: Counting(*args) for args in arguments])


def test_each_environment_gives_its_share_however_fast_it_is():
    """By first come, the short episodes would be 9 of 10."""
    found = evaluate(Recorder(), vec((2,), (20,)), episodes=10)
    assert found.episodes == 10
    assert found.mean_length == 11
    assert found.mean_return == 11


def test_the_remainder_goes_to_the_first_environments():
    assert evaluate(Recorder(), vec((1,), (4,)), episodes=3).mean_length == pytest.approx((1 + 1 + 4) / 3)


def test_more_environments_than_episodes():
    assert evaluate(Recorder(), vec((1,), (4,)), episodes=1).mean_length == 1


def test_success_is_that_of_the_last_step():
    found = evaluate(Recorder(), vec((5, 3)), episodes=4)
    assert (found.successes, found.success_rate, found.steps_to_success) == (4, 1.0, 3.0)
    assert found.success_interval == wilson_interval(4, 4)


def test_a_success_that_was_lost_counts_once_only():
    tracker = EpisodeTracker(1)
    for success, done in ((True, False), (False, True)):
        ended = tracker.update(np.ones(1), np.array([done]), [{"is_success": success}])
    found = Evaluation.of(ended)
    assert (found.success_rate, found.success_once_rate, found.steps_to_success) == (0.0, 1.0, 1.0)


def test_environments_that_report_no_success():
    found = evaluate(Recorder(), vec((3, None, False)), episodes=2)
    assert found.success_rate is None
    assert found.success_interval is None
    assert found.score == (-1.0, 3.0)


def test_f14_recurrent_state_and_episode_starts_are_handed_on():
    policy = Recorder()
    evaluate(policy, vec((2,), (3,)), episodes=4)
    assert policy.states == [None, 1, 2, 3, 4, 5]
    assert [start.tolist() for start in policy.starts[:4]] == [
        [True, True],
        [False, False],
        [True, False],
        [False, True],
    ]


def test_on_step_sees_every_step():
    seen = []
    evaluate(Recorder(), vec((3, 2)), episodes=2, on_step=lambda infos, dones: seen.append(infos[0]["is_success"]))
    assert seen == [False, True, True] * 2


def test_reward_terms_are_summed_over_an_episode():
    tracker = EpisodeTracker(1)
    for done in (False, True):
        ended = tracker.update(np.ones(1), np.array([done]), [{"reward_terms": {"reach": 0.5}}])
    assert ended == [Episode(0, 2.0, 2, None, None, {"reach": 1.0})]


def test_better_is_by_success_then_by_return():
    def with_(rate, mean_return):
        return Evaluation(10, int(10 * rate), rate, None, rate, mean_return, 0.0, 10.0, None).score

    assert with_(0.9, -5.0) > with_(0.8, 100.0)
    assert with_(0.9, -4.0) > with_(0.9, -5.0)


def test_what_json_cannot_hold_becomes_null():
    found = Evaluation.of([Episode(0, float("nan"), 3, None, None)])
    assert found.to_dict()["mean_return"] is None
