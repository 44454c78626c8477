"""The journal of what environments were told."""

import numpy as np

from armature.journal import Journal


def test_each_environment_has_the_actions_of_its_present_episode():
    journal = Journal(2, np.zeros(3, np.float32))
    told = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    for actions, dones in zip(told, ([0, 0], [1, 0], [0, 0], [0, 0]), strict=True):
        journal.step(actions, np.array(dones, bool))
    np.testing.assert_array_equal(journal.of(0), told[2:, 0])
    np.testing.assert_array_equal(journal.of(1), told[:, 1])
    assert journal.lengths.tolist() == [2, 4]


def test_what_no_episode_needs_is_forgotten():
    journal = Journal(2)
    for step in range(1000):
        journal.step(np.zeros(2), np.array([step % 10 == 9, step % 10 == 4]))
        assert len(journal._actions) <= 10


def test_actions_are_copied():
    journal, actions = Journal(1, np.zeros(2)), np.zeros((1, 2))
    journal.step(actions, np.zeros(1, bool))
    actions[:] = 7
    assert not journal.of(0).any()


def test_an_episode_that_has_just_begun_has_no_actions():
    journal = Journal(1, np.zeros(2, np.float32))
    assert journal.of(0).shape == (0, 2)
    journal.step(np.ones((1, 2), np.float32), np.array([True]))
    assert journal.of(0).shape == (0, 2)
    assert journal.of(0).dtype == np.float32


def test_it_can_be_filled_with_what_it_gave():
    journal, other = Journal(3, np.zeros(2)), Journal(3, np.zeros(2))
    for step, action in enumerate(np.random.default_rng(0).uniform(size=(20, 3, 2))):
        journal.step(action, np.array([step % 7 == 0, step % 5 == 0, step == 19]))
    other.fill([journal.of(index) for index in range(3)])
    for action, dones in ((np.ones((3, 2)), [0, 0, 0]), (np.zeros((3, 2)), [0, 1, 0])):
        for each in (journal, other):
            each.step(action, np.array(dones, bool))
        for index in range(3):
            np.testing.assert_array_equal(journal.of(index), other.of(index))


def test_a_reset_begins_everything():
    journal = Journal(2)
    journal.step(np.ones(2), np.zeros(2, bool))
    journal.reset()
    assert journal.of(0).shape == (0,)
