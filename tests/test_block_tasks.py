"""Stack, slide, insert, flip: goals, what counts as success and what does not, experts."""

import numpy as np
import pybullet as p
import pytest

from armature.envs.rewards import way_from_above
from armature.envs.rotations import turned
from armature.errors import ConfigError
from tests.robot_envs import make, share_solved


def test_a_way_from_above_gets_shorter_on_the_way_up_over_and_down():
    goal = np.array([0.1, 0.0, 0.06])
    way = np.array([[0, 0, 0.02], [0, 0, 0.1], [0.05, 0, 0.1], [0.08, 0, 0.1], [0.1, 0, 0.1], [0.1, 0, 0.08], goal])
    for slope in (1.0, 4.0):
        lengths = way_from_above(way, np.tile(goal, (len(way), 1)), 0.04, slope)
        assert np.all(np.diff(lengths) < 0)
        assert lengths[[0, -1]] == pytest.approx([0.08 + 0.04 + 0.1, 0.0])


# ------------------------------------------------------------------------------------------------ stack


def stacked(env, upper=(0, 0, 0), lower=(0, 0, 0), held=0.0):
    """Return whether it is success to have both blocks that far from their goals."""
    away = np.array([*upper, *lower, held * env.task.HELD])
    return bool(env.task.success((env.goal + away)[None], env.goal[None])[0])


@pytest.fixture(scope="module")
def stack():
    env = make(task="stack", reward="dense")
    env.reset(seed=0)
    return env


def test_a_block_is_stacked_once_it_is_let_go(stack):
    assert stacked(stack)
    assert not stacked(stack, held=1.0)


def test_a_block_above_or_beside_the_other_is_not_stacked(stack):
    assert not stacked(stack, upper=(0, 0, 0.03))
    assert not stacked(stack, upper=(0.025, 0, 0))
    assert not stacked(stack, upper=(0.04, 0, -0.04))


def test_a_block_on_one_that_was_bumped_away_is_not_stacked(stack):
    assert not stacked(stack, upper=(0.03, 0, 0), lower=(0.03, 0, 0))


def test_a_stack_stands_on_the_lower_block_where_it_was(stack):
    for seed in range(20):
        stack.reset(seed=seed)
        upper, lower = (block.position for block in stack.now.objects)
        assert np.allclose(stack.goal[:3] - lower, [0, 0, 0.04], atol=1e-6)
        assert np.linalg.norm(upper[:2] - lower[:2]) >= stack.task.min_distance


def test_every_stage_of_stacking_pays_better_than_the_one_before(stack):
    """Lie, hold, hold above, hold at the goal, squeeze less, let go: a learner must never be paid to wait."""
    goal = stack.goal.astype(float)
    start = np.array([*(goal[:2] + 0.12), 0.02])
    stages = [
        (start, 0.0, 0.0),
        (start, 1.0, 0.0),
        ((*start[:2], 0.1), 1.0, 0.0),
        ((*goal[:2], 0.1), 1.0, 0.0),
        (goal[:3], 1.0, 0.0),
        (goal[:3], 1.0, 0.6),
        (goal[:3], 0.0, 1.0),
    ]
    achieved = np.array([[*place, *goal[3:6], held * stack.task.HELD] for place, held, _ in stages])
    desired = np.tile(goal, (len(stages), 1))
    facts = {"ee_position": achieved[:, :3], "opening": np.array([opening for *_, opening in stages])}
    rewards = stack.reward.compute(stack.task.success(achieved, desired), achieved, desired, facts).rewards
    assert np.all(np.diff(rewards) > 0.015)
    assert rewards[-1] == pytest.approx(1.0)
    assert rewards[-1] - rewards[-2] > 0.5


def test_a_stack_of_other_blocks_has_its_goal_on_the_lower_one():
    env = make(task="stack", task_objects=[{"size": [0.03]}, {"size": [0.06, 0.06, 0.05]}])
    env.reset(seed=1)
    assert env.goal[2] == pytest.approx(0.05 + 0.015)


def test_the_expert_stacks():
    assert share_solved(make(task="stack"), 15) >= 0.93


# ------------------------------------------------------------------------------------------------ slide


def test_goals_of_slide_lie_beyond_the_hand():
    env = make(task="slide")
    for seed in range(20):
        env.reset(seed=seed)
        assert env.goal[0] > env.workspace.high[0]
        assert env.now.achieved_goal[0] < 0.05


def test_a_puck_comes_to_rest_where_its_speed_says():
    """Friction stops it, and Bullet slows bodies down a little by itself, too: by 7 % here."""
    env = make(task="slide", episode_steps=100)
    env.reset(seed=0)
    env.simulation.place(env.bodies.objects[0], (0.1, 0.2, 0.025))
    for _ in range(3):
        env.step(np.zeros(3))
    set_velocity(env, (0.35, 0, 0))
    start, slide = env.simulation.pose(env.bodies.objects[0])[0][0], env.task.slide(np.array([0.35, 0, 0]))
    for _ in range(60):
        env.step(np.zeros(3))
    assert np.linalg.norm(env.now.objects[0].velocity) < 0.01
    assert env.now.achieved_goal[0] - start == pytest.approx(slide[0], rel=0.03)


def set_velocity(env, velocity):
    p.resetBaseVelocity(env.bodies.objects[0], velocity, (0, 0, 0), physicsClientId=env.simulation.client)


def test_a_puck_that_will_reach_the_goal_is_paid_at_once():
    env = make(task="slide", reward="dense")
    env.reset(seed=0)
    achieved, desired = env.now.achieved_goal[None].astype(float), env.goal[None].astype(float)
    gap = (desired - achieved)[0]
    facts = {"ee_position": achieved, "slide": gap[None]}
    assert env.task.terms(achieved, desired, facts)["goal"][0] == pytest.approx(1.0)
    facts["slide"] = 2 * gap[None]
    assert env.task.terms(achieved, desired, facts)["goal"][0] < 0.3


def test_the_expert_slides():
    assert share_solved(make(task="slide"), 15) >= 0.8


# ------------------------------------------------------------------------------------------------ insert


def test_a_peg_above_beside_or_at_the_mouth_of_the_hole_is_not_inserted():
    env = make(task="insert")
    env.reset(seed=0)
    away = np.array([[0, 0, 0], [0, 0, 0.05], [0.08, 0, 0], [0, 0, 0.02]])
    found = env.task.success(env.goal + away, np.tile(env.goal, (4, 1)))
    assert found.tolist() == [True, False, False, False]


def test_the_hole_is_around_the_goal_and_lets_the_peg_in():
    env = make(task="insert")
    env.reset(seed=3)
    walls = np.array([env.simulation.pose(wall)[0] for wall in env.bodies.fixtures])
    assert np.allclose(walls.mean(axis=0)[:2], env.goal[:2], atol=1e-6)
    peg = env.bodies.objects[0]
    env.simulation.place(peg, env.goal + np.array([0, 0, 0.05]))
    for _ in range(20):
        env.step(np.zeros(4))
    assert env.step(np.zeros(4))[-1]["is_success"]


def test_a_peg_that_is_put_beside_the_hole_does_not_go_through_its_walls():
    env = make(task="insert")
    env.reset(seed=3)
    env.simulation.place(env.bodies.objects[0], env.goal + np.array([0.03, 0, 0.06]))
    for _ in range(20):
        *_, info = env.step(np.zeros(4))
    assert env.now.objects[0].position[2] > 0.045
    assert not info["is_success"]


def test_every_stage_of_inserting_pays_better_than_the_one_before():
    """Lie, hold, lift, hold above the hole, half way down, done."""
    env = make(task="insert", reward="dense")
    env.reset(seed=0)
    goal = env.goal.astype(float)
    start = goal + np.array([0.12, 0.1, 0])
    up = np.array([0, 0, 0.05])
    achieved = np.array([start, start, start + up, goal + up, goal + up / 2, goal])
    desired = np.tile(goal, (6, 1))
    facts = {"ee_position": achieved, "grasped": np.array([0.0, 1, 1, 1, 1, 1])}
    rewards = env.reward.compute(env.task.success(achieved, desired), achieved, desired, facts).rewards
    assert np.all(np.diff(rewards) > 0.02)


def test_the_expert_inserts():
    assert share_solved(make(task="insert"), 15) >= 0.9


# ------------------------------------------------------------------------------------------------ flip


def test_flip_asks_for_a_mode_that_turns_the_hand():
    with pytest.raises(ConfigError, match=r"'ee_delta' cannot\. These can: .*ee_delta_pose.*joint_delta"):
        make(task="flip", robot_action="ee_delta")


def test_the_angle_of_a_flip_is_that_of_the_rotation_between():
    env = make(task="flip", robot_action="joint_delta")
    start = np.array(turned((0, 0, 0, 1), (0.3, -0.2, 0.5)))
    ends = np.array([turned(start, np.array([0.6, 0.0, 0.8]) * angle) for angle in (0.0, 0.2, 0.3, 1.5)])
    starts = np.tile(start, (4, 1))
    assert env.task.angle(starts, ends) == pytest.approx([0.0, 0.2, 0.3, 1.5], abs=1e-6)
    assert env.task.angle(starts, -ends) == pytest.approx([0.0, 0.2, 0.3, 1.5], abs=1e-6)
    assert env.task.success(starts, ends).tolist() == [True, True, False, False]


def test_a_cube_that_lies_as_it_started_is_not_flipped():
    env = make(task="flip", robot_action="joint_delta")
    tilts = []
    for seed in range(30):
        _, info = env.reset(seed=seed)
        assert not info["is_success"]
        assert env.goal[3] >= 0
        x, y = env.goal[:2]
        tilts.append(np.arccos(1 - 2 * (x * x + y * y)))  # of the cube's upper face
    assert min(tilts) >= env.task.min_tilt - 1e-6
    assert max(tilts) <= env.task.max_tilt + 1e-6


def test_pictures_show_which_orientation_is_wanted():
    env = make(task="flip", robot_action="joint_delta", render_mode="rgb_array")
    env.reset(seed=0)
    env.render()
    assert env.simulation.pose(env.camera.marker.ghost)[1] == pytest.approx(tuple(env.goal), abs=1e-6)


@pytest.mark.parametrize("mode", ["ee_delta_pose", "joint_delta"])
def test_the_expert_flips(mode):
    assert share_solved(make(task="flip", robot_action=mode), 15) >= 0.85
