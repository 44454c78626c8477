"""Observations and rewards that are no numbers."""

from pathlib import Path

import numpy as np
import pytest

from armature.config import Config
from armature.errors import DivergedError, NotFiniteError
from armature.plugins import load_plugins
from armature.vec import make_vec_env

PLUGIN = str(Path(__file__).with_name("fragile_envs.py"))
ACTIONS = np.random.default_rng(0).uniform(-1, 1, (40, 2, 1)).astype(np.float32)


@pytest.fixture
def spoilt(tmp_path):
    """Return a function that makes two environments, whose second episodes hold a number that is none."""

    def make(what="observation", on_nan="stop", workers=0, number=float("nan")):
        load_plugins([PLUGIN])
        kwargs = {"folder": str(tmp_path), "at": "never", "what": what}
        config = Config(env_name="fragile/Spoilt-v0", plugins=[PLUGIN], algo="a2c", num_workers=workers, on_nan=on_nan)
        return make_vec_env(config.model_copy(update={"env_kwargs": {**kwargs, "number": number}}), "train", 2)

    return make


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("what", "number", "told"),
    [
        ("observation", float("nan"), r"the observation 'goal' of environment . .* step 3 of episode 1: \[0.0, nan\]"),
        ("observation", float("inf"), r"the observation 'goal' of environment . .* step 3 of episode 1: \[0.0, inf\]"),
        ("reward", float("nan"), r"the reward of environment . is not finite at step 3 of episode 1: nan"),
        ("last", float("nan"), r"the last observation 'goal' of environment . .* step \d+ of episode 1"),
        ("first", float("nan"), r"the first observation 'goal' of environment . .* step 0 of episode 1"),
    ],
)
def test_the_run_stops_at_the_step_that_a_number_is_none(what, number, told, workers, spoilt):
    env = spoilt(what, workers=workers, number=number)
    env.reset()
    shown = []

    def go_on():
        for actions in ACTIONS:
            shown.append(env.step(actions)[0])

    with pytest.raises(NotFiniteError, match=told) as caught:
        go_on()
    assert isinstance(caught.value, DivergedError)
    assert caught.value.episode == 1
    assert all(np.isfinite(part).all() for observation in shown for part in observation.values())
    env.close()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("what", ["observation", "reward", "last"])
def test_an_episode_with_such_a_number_can_be_cut(what, workers, spoilt, caplog):
    env = spoilt(what, "skip", workers)
    before = env.reset()
    cuts = 0
    for actions in ACTIONS:
        observation, rewards, dones, infos = env.step(actions)
        assert np.isfinite(rewards).all()
        assert all(np.isfinite(part).all() for part in observation.values())
        for index in np.flatnonzero(dones):
            last = infos[index]["terminal_observation"]
            assert all(np.isfinite(part).all() for part in last.values())
            if all(np.array_equal(last[key], before[key][index]) for key in last):
                cuts += 1
                assert infos[index]["TimeLimit.truncated"]
                assert rewards[index] == 0
        before = observation
    assert cuts == 2
    episodes = env.take()
    assert all(np.isfinite([episode.total_return, *episode.terms.values()]).all() for episode in episodes)
    assert caplog.text.count("is not finite") == 2
    expected = [sum(episode.env == index for episode in episodes) for index in range(2)]
    assert [state.episode for state in env.episode_states()] == expected
    env.close()


def test_after_a_cut_the_episodes_are_those_of_the_journal(spoilt):
    env = spoilt("observation", "skip")
    env.reset()
    for actions in ACTIONS[:20]:
        shown = env.step(actions)[0]
    states = env.episode_states()
    expected = [env.step(actions)[0] for actions in ACTIONS[20:]]
    env.close()
    again = spoilt("none")
    assert all(np.array_equal(part, shown[key]) for key, part in again.restore_episodes(states).items())
    for actions, observation in zip(ACTIONS[20:], expected, strict=True):
        found = again.step(actions)[0]
        assert all(np.array_equal(part, observation[key]) for key, part in found.items())
    again.close()


def test_an_action_that_is_no_number_is_not_carried_out(spoilt):
    env = spoilt("none")
    env.reset()
    with pytest.raises(NotFiniteError, match=r"the action of environment 1 .* step 1 of episode 0"):
        env.step(np.array([[0.0], [np.nan]], np.float32))
    env.close()
