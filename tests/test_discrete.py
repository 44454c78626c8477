"""The grid of discrete actions."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from armature.discrete import DiscreteActions, action_table
from armature.errors import ConfigError

LEVELS = [-1, -0.3, 0.3, 1]


def test_table_is_the_documented_one():
    expected = [[0, 0], [-1, 0], [-0.3, 0], [0.3, 0], [1, 0], [0, -1], [0, -0.3], [0, 0.3], [0, 1]]
    np.testing.assert_allclose(action_table(spaces.Box(-1, 1, (2,)), LEVELS), expected, atol=1e-7)


def test_levels_are_fractions_of_the_box():
    box = spaces.Box(np.array([-2, 0], np.float32), np.array([2, 1], np.float32))
    np.testing.assert_allclose(action_table(box, [-1, 0.5]), [[0, 0], [-2, 0], [1, 0], [0, 0], [0, 0.75]])


def test_rest_lies_within_the_box():
    table = action_table(spaces.Box(1, 3, (2,), np.float32), [1])
    np.testing.assert_allclose(table, [[1, 1], [3, 1], [1, 3]])


def test_every_action_is_one_of_the_environment():
    env = DiscreteActions(gymnasium.make("Pendulum-v1"), LEVELS)
    assert env.action_space == spaces.Discrete(5)
    assert all(env.env.action_space.contains(env.action(number)) for number in range(5))
    env.reset(seed=0)
    assert env.step(np.int64(4))[1] < 0
    env.close()


def test_action_cannot_damage_the_table():
    env = DiscreteActions(gymnasium.make("Pendulum-v1"), LEVELS)
    env.action(1)[:] = 99
    assert env.action(1) == -2


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.Box(-np.inf, np.inf, (2,))])
def test_spaces_without_a_grid_are_refused(space):
    with pytest.raises(ConfigError, match="bounded Box"):
        action_table(space, LEVELS)


@pytest.mark.parametrize("levels", [[], [2], [float("nan")]])
def test_levels_outside_the_box_are_refused(levels):
    with pytest.raises(ConfigError, match="action_levels"):
        action_table(spaces.Box(-1, 1, (2,)), levels)
