"""Every robot: it is what its description says, its gripper is one mechanism, and its experts succeed."""

import gymnasium
import numpy as np
import pytest

import armature.envs  # noqa: F401, registers the environments
from armature.envs.engine import p
from armature.registry import resolve, robots
from tests.test_envs import mixed_actions, play

PLAIN = ("panda", "kuka", "xarm6")
ROBOTS = list(PLAIN)
GRIPPERS = [name for name in ROBOTS if resolve(robots[name]).gripper]


def make(**kwargs):
    return gymnasium.make("armature/RobotEnv-v1", disable_env_checker=True, **kwargs).unwrapped


def openings(robot):
    """Return for each joint of a gripper the opening in metres that it stands for."""
    client, gripper = robot.simulation.client, robot.description.gripper
    states = p.getJointStates(robot.body, robot.gripper_joints, physicsClientId=client)
    rows = zip(states, gripper.open, gripper.closed, strict=True)
    return np.array([(state[0] - near) / (far - near) for state, far, near in rows]) * gripper.max_width


def gap(robot):
    """Return the distance in metres between the two fingers, as the engine sees it."""
    first, second = robot.fingers
    points = p.getClosestPoints(robot.body, robot.body, 1.0, first, second, physicsClientId=robot.simulation.client)
    return min(point[8] for point in points)


@pytest.mark.parametrize("name", ROBOTS)
def test_a_robot_rests_above_the_middle_of_the_table_looking_down(name):
    env = make(robot=name)
    now, wanted = env.now.robot, env.robot.description.ee_quaternion
    assert np.linalg.norm(now.ee_position[:2]) < 0.06
    assert 0.1 < now.ee_position[2] < 0.35
    assert abs(np.dot(now.ee_quaternion, wanted)) > 0.999


@pytest.mark.parametrize("task", ["reach", "push", "pick_and_place"])
@pytest.mark.parametrize("name", ROBOTS)
def test_the_expert_solves_the_task_with_every_robot(name, task):
    """The full hundred seeds are run by benchmarks/experts.py; 20 of them here."""
    env = make(robot=name, task=task)
    solved = 0
    for seed in range(20):
        env.reset(seed=seed)
        done = False
        while not done:
            *_, done, info = env.step(env.expert_action())
        solved += info["success_at_end"]
    assert solved >= 19


@pytest.mark.parametrize("name", GRIPPERS)
def test_the_joints_of_a_gripper_move_together_with_and_without_something_between_them(name):
    env = make(robot=name, task="pick_and_place", task_kwargs={"on_table": 0.0})
    held = 0
    for seed in range(3):
        env.reset(seed=seed)
        for _ in range(50):
            env.step(env.expert_action())
            assert np.ptp(openings(env.robot)) < 0.006
            held += env.now.grasped
    assert held > 30


@pytest.mark.parametrize("name", GRIPPERS)
def test_the_width_of_a_gripper_is_the_distance_between_its_fingers(name):
    robot = make(robot=name, task="pick_and_place").robot
    for width in np.linspace(0, robot.description.gripper.max_width, 9):
        robot.reset(width)
        assert robot.measure().gripper_width == pytest.approx(width, abs=1e-6)
        assert gap(robot) == pytest.approx(width, abs=0.003)


@pytest.mark.parametrize("name", GRIPPERS)
def test_the_end_effector_lies_between_the_finger_tips(name):
    robot = make(robot=name, task="pick_and_place").robot
    robot.reset(0.04)
    point = robot.measure().ee_position
    client = robot.simulation.client
    first, second = robot.fingers
    closest = p.getClosestPoints(robot.body, robot.body, 1.0, first, second, physicsClientId=client)
    middle = np.mean([np.add(found[5], found[6]) / 2 for found in closest], axis=0)
    assert np.linalg.norm(middle[:2] - point[:2]) < 0.009
    tip = min(p.getAABB(robot.body, finger, physicsClientId=client)[0][2] for finger in robot.fingers)
    assert -0.012 < tip - point[2] < 0


@pytest.mark.parametrize("mode", ["ee_delta", "joint_delta"])
@pytest.mark.parametrize("name", ROBOTS)
def test_joint_and_velocity_limits_hold_under_any_action(name, mode):
    env = make(robot=name, robot_action=mode)
    most = 1.1 * np.array(env.robot.description.max_velocities) + 0.05
    rng = np.random.default_rng(1)
    for episode in range(2):
        env.reset(seed=episode)
        for step in range(30):
            if step % 8 == 0:
                action = rng.choice([-1.0, 1.0], env.action_space.shape)
            env.step(action)
            now = env.now.robot
            assert np.all(now.joint_positions > env.robot.low - 0.02)
            assert np.all(now.joint_positions < env.robot.high + 0.02)
            assert np.all(np.abs(now.joint_velocities) < most)


@pytest.mark.parametrize("name", ROBOTS)
def test_an_episode_depends_on_its_seed_alone_with_every_robot(name):
    task = "pick_and_place" if name in GRIPPERS else "push"
    lived_in = make(robot=name, task=task, observation="flat", reward="dense")
    actions = mixed_actions(lived_in)
    for seed in range(2):
        play(lived_in, 100 + seed, actions)
        fresh = make(robot=name, task=task, observation="flat", reward="dense")
        assert np.array_equal(play(fresh, seed, actions), play(lived_in, seed, actions))
        fresh.close()


@pytest.mark.parametrize("name", ROBOTS)
def test_the_base_stands_still_where_the_description_says(name):
    env = make(robot=name)
    before = env.simulation.pose(env.robot.body)
    for _ in range(10):
        env.step(np.ones(3))
    assert env.simulation.pose(env.robot.body) == before
