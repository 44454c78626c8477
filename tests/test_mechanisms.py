"""Buttons, levers, knobs and drawers: their joints, their goals, and that they can be moved."""

import numpy as np
import pytest

from armature.envs.bodies import Pose
from armature.errors import ConfigError
from armature.registry import resolve, robot_actions, tasks
from tests.robot_envs import make, share_solved

STAYING = ("switch", "turn", "open_drawer")
ALL = ("press", *STAYING)


def stand_still(env, steps):
    for _ in range(steps):
        env.step(np.zeros(env.action_space.shape))


def put(env, opening):
    """Put the mechanism's joint somewhere and let a control step pass."""
    env.simulation.place_mechanism(env.bodies.mechanisms[0], Pose((0.1, 0.1, 0)), opening)
    stand_still(env, 1)


@pytest.mark.parametrize("task", STAYING)
def test_a_joint_stays_where_it_is_left(task):
    """Friction holds it, gravity or not."""
    env = make(task=task)
    env.reset(seed=0)
    put(env, 0.1)
    start = env.now.mechanisms[0].opening
    stand_still(env, 40)
    assert env.now.mechanisms[0].opening == pytest.approx(start, abs=1e-3)
    assert start == pytest.approx(0.1, abs=2e-3)


def test_a_button_comes_back():
    env = make(task="press")
    env.reset(seed=0)
    put(env, 0.04)
    stand_still(env, 10)
    assert env.now.mechanisms[0].opening == pytest.approx(0, abs=1e-3)


def test_a_button_that_nobody_presses_is_up():
    env = make(task="press")
    env.reset(seed=0)
    stand_still(env, 20)
    assert env.now.mechanisms[0].opening == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("task", ALL)
def test_goals_are_where_the_handle_is_when_the_joint_is_there(task):
    """The task computes in words what the engine knows from the URDF."""
    env = make(task=task)
    for seed in range(5):
        env.reset(seed=seed)
        mechanism = env.bodies.mechanisms[0]
        layout = env.task.draw(np.random.default_rng(seed))
        (pose, start) = layout.mechanisms[0]
        openings = np.linspace(start - 2, start + 2, 40001)
        if task in ("press", "open_drawer"):
            openings = np.linspace(0, 0.15, 40001)
        handles = np.array([env.task.handle_at(opening) for opening in openings])
        yaw = 2 * np.arctan2(pose.quaternion[2], pose.quaternion[3])
        turned = handles @ np.array([[np.cos(yaw), np.sin(yaw), 0], [-np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
        nearest = np.argmin(np.linalg.norm(turned + pose.position - layout.goal, axis=1))
        env.simulation.place_mechanism(mechanism, pose, openings[nearest])
        assert env.simulation.mechanism_state(mechanism).handle == pytest.approx(layout.goal, abs=1e-4)


@pytest.mark.parametrize("task", ALL)
def test_the_handle_moves_the_way_it_says(task):
    env = make(task=task)
    env.reset(seed=0)
    mechanism, pose = env.bodies.mechanisms[0], Pose((0, 0, 0), (0, 0, np.sin(0.4), np.cos(0.4)))
    states = []
    for opening in (0.02, 0.0201):
        env.simulation.place_mechanism(mechanism, pose, opening)
        states.append(env.simulation.mechanism_state(mechanism))
    moved = states[1].handle - states[0].handle
    assert moved / np.linalg.norm(moved) == pytest.approx(states[0].motion, abs=1e-2)


@pytest.mark.parametrize("task", ALL)
def test_no_episode_begins_with_success_and_goals_differ(task):
    env = make(task=task)
    goals = []
    for seed in range(50):
        _, info = env.reset(seed=seed)
        assert not info["is_success"]
        goals.append(env.goal)
    assert len(np.unique(goals, axis=0)) == 50


@pytest.mark.parametrize("task", ALL)
def test_finishing_pays_far_better_than_staying_at_the_handle(task):
    env = make(task=task, reward="dense")
    for seed in range(5):
        env.reset(seed=seed)
        achieved, desired = env.now.achieved_goal[None], env.now.goal[None]
        motion = env.now.mechanisms[0].motion[None]
        behind = achieved - (env.task.thickness + env.task.hand.radius) * env.task.ahead(achieved, desired, motion)
        facts = {"ee_position": behind, "motion": motion}
        waiting = env.reward.compute(env.task.success(achieved, desired), achieved, desired, facts)
        done = env.reward.compute(env.task.success(desired, desired), desired, desired, facts)
        assert waiting.terms["reach"] == pytest.approx(1, abs=1e-3)
        assert done.rewards == pytest.approx(1)
        assert waiting.rewards < 0.5


@pytest.mark.parametrize("mode", sorted(robot_actions))
@pytest.mark.parametrize("task", ALL)
def test_the_expert_moves_it(task, mode):
    """More seeds are run by benchmarks/experts.py; 20 of them here."""
    env = make(task=task, robot_action=mode)
    assert share_solved(env, 20) >= 0.95


def test_distractors_leave_room_for_hand_and_handle():
    env = make(task="switch", distractors=[{"kind": "box", "size": [0.05]}] * 3)
    assert share_solved(env, 10) == 1


def test_what_an_arm_sees_of_a_mechanism():
    parts = ["mechanism_opening", "mechanism_speed", "handle_position", "handle_motion", "ee_to_handle"]
    env = make(task="open_drawer", observation_parts=parts)
    seen = env.reset(seed=0)[0]["observation"]
    handle = env.now.mechanisms[0].handle
    assert seen.shape == (1 + 1 + 3 + 3 + 3,)
    assert seen[2:5] * 0.25 == pytest.approx(handle, abs=1e-6)
    assert np.linalg.norm(seen[5:8]) == pytest.approx(1)
    assert seen[5] < -0.9, "the drawer opens towards the robot"
    assert seen[8:11] * 0.2 == pytest.approx(handle - env.now.robot.ee_position, abs=1e-6)


@pytest.mark.parametrize(
    ("task", "name", "largest"),
    [("press", "depth", 0.04), ("switch", "lean", 0.5), ("turn", "angle", 2.5), ("open_drawer", "opening", 0.15)],
)
def test_a_goal_that_the_joint_does_not_reach_is_refused(task, name, largest):
    with pytest.raises(ConfigError, match=f"task_kwargs.{name} is 3.5; the joint goes no further than {largest}"):
        resolve(tasks[task]).check({name: 3.5}, {})
