"""Action modes: what numbers mean, and that limits hold whatever they are."""

import itertools
import subprocess
import sys

import gymnasium
import numpy as np
import pytest

import armature.envs  # noqa: F401, registers environments and modes
from armature.config import Config
from armature.envs.actions.limits import nearest
from armature.envs.engine import p
from armature.envs.rotations import turn_between, turned
from armature.envs.tasks.base import Waypoint
from armature.envs.tasks.reach import Reach
from armature.errors import ConfigError
from armature.registry import resolve, robot_actions, tasks

MODES = sorted(robot_actions)
POSE_MODES = [name for name in MODES if resolve(robot_actions[name]).turns_hand]
BORDERS = {"panda": 0.02, "kuka": 0.03, "xarm6": 0.03}
"""Metres by which an end effector may cross the workspace's borders, by robot."""


class Tilt(Reach):
    """A task that only modes that turn the hand can do."""

    turns_hand = True


def make(mode="ee_delta", task="reach", **kwargs):
    return gymnasium.make(
        "armature/RobotEnv-v1", robot_action=mode, task=task, disable_env_checker=True, episode_steps=10_000, **kwargs
    ).unwrapped


def stand_still(env):
    """Return the action that asks the arm to stay where it is."""
    now, mode = env.now.robot, env.action_mode
    return np.clip(mode.arm_action(now.ee_position, now.ee_quaternion), -1, 1)


def wild_actions(kind, size, steps=40):
    """Return actions that strain an arm: changing at random, now and then, at every step, or never."""
    rng = np.random.default_rng(1)
    corner = rng.choice([-1.0, 1.0], size)
    for step in range(steps):
        if kind == "steady":
            yield corner
        elif kind == "to and fro":
            yield corner * (-1) ** step
        elif kind == "random":
            yield rng.uniform(-1, 1, size)
        else:
            corner = corner if step % 8 else rng.choice([-1.0, 1.0], size)
            yield corner


# ------------------------------------------------------------------------------------------------ what holds in all


@pytest.mark.parametrize("kind", ["steady", "to and fro", "random", "now and then"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("robot", BORDERS)
def test_limits_hold_under_any_action(robot, mode, kind):
    env = make(mode, robot=robot)
    arm, low, high = env.robot, np.array(env.workspace.low), np.array(env.workspace.high)
    fastest = max(arm.description.max_velocities)  # others reach it for a moment where strong joints drag weak ones
    for episode in range(2):
        env.reset(seed=episode)
        for action in wild_actions(kind, env.action_mode.size):
            env.step(action)
            now = env.now.robot
            assert np.all(now.joint_positions > arm.low - 0.03)
            assert np.all(now.joint_positions < arm.high + 0.03)
            assert np.all(np.abs(now.joint_velocities) < 1.01 * fastest)
            assert np.all(now.ee_position > low - BORDERS[robot])
            assert np.all(now.ee_position < high + BORDERS[robot])
    env.close()


@pytest.mark.parametrize("mode", MODES)
def test_torques_stay_within_the_motors_limits(mode, monkeypatch):
    env = make(mode)
    arm, most, pushed = env.robot, env.robot.torque_limits, []
    monkeypatch.setattr(arm, "push", lambda torques, push=arm.push: (pushed.append(torques), push(torques)))
    env.reset(seed=0)
    for action in wild_actions("now and then", env.action_mode.size):
        env.step(action)
        states = p.getJointStates(arm.body, arm.arm, physicsClientId=env.simulation.client)
        assert np.all(np.abs([state[3] for state in states]) <= most * 1.001)
    assert bool(pushed) == (mode == "joint_torque")
    assert all(np.all(np.abs(torques) <= most) for torques in pushed)


@pytest.mark.parametrize("robot", BORDERS)
@pytest.mark.parametrize("mode", MODES)
def test_an_arm_that_is_told_to_stand_still_does_not_sag(mode, robot):
    env = make(mode, robot=robot)
    env.reset(seed=0)
    start, action = env.now.robot.ee_position, stand_still(env)
    for _ in range(50):
        env.step(action)
    assert np.linalg.norm(env.now.robot.ee_position - start) < 0.002


@pytest.mark.parametrize("mode", MODES)
def test_links_are_not_driven_into_the_table(mode):
    env = make(mode)
    env.reset(seed=0)
    worst = 0.0
    for action in wild_actions("now and then", env.action_mode.size, 80):
        env.step(action)
        worst = min([worst, *(height for height, _ in env.robot.low_links(0.1))])
    assert worst > -0.02


def test_the_nearest_allowed_vector_keeps_its_bounds_and_its_rows():
    rng = np.random.default_rng(0)
    for _ in range(100):
        wanted, rows, most = rng.normal(size=7), rng.normal(size=(4, 7)), rng.uniform(0, 0.5, 4)
        low, high = -rng.uniform(0.2, 1, 7), rng.uniform(0.2, 1, 7)
        x = nearest(wanted, rows, most, low, high)
        assert np.all((low <= x) & (x <= high))
        assert np.all(rows @ x < most + 0.05)
        inside = np.zeros(7) + 1e-3
        assert np.array_equal(nearest(inside, rows, most + 0.1, low, high), inside)


# ------------------------------------------------------------------------------------------------ what numbers mean


@pytest.mark.parametrize("mode", ["ee_delta", "ee_delta_pose"])
def test_deltas_are_added_to_the_last_target(mode):
    env = make(mode)
    env.reset(seed=0)
    start = env.now.robot.ee_position
    action = np.zeros(env.action_mode.size)
    for push in (0.5, 0.5, 0, 0, 0, 0):
        action[1] = push
        env.step(action)
    assert env.now.robot.ee_position - start == pytest.approx([0, 0.05, 0], abs=0.003)


def test_joint_deltas_are_steps_of_what_the_velocity_limit_allows():
    env = make("joint_delta")
    env.reset(seed=0)
    action = np.array([0.5, 0, 0, 0, 0, 0, -1.0])
    for push in (1, 0, 0, 0, 0, 0):
        env.step(push * action)
    moved = env.now.robot.joint_positions - env.robot.rest_pose
    assert moved == pytest.approx(action * env.robot.max_step, abs=0.003)


@pytest.mark.parametrize("mode", ["ee_absolute", "ee_absolute_pose"])
def test_absolute_positions_span_the_workspace(mode):
    env = make(mode)
    action = np.zeros(env.action_mode.size)
    low, high = np.array(env.workspace.low), np.array(env.workspace.high)
    for corner in ((0, 0, 0), (0, -0.5, 0.5), (0.5, 0.5, -1)):
        env.reset(seed=0)
        action[:3] = corner
        for _ in range(30):
            env.step(action)
        share = (env.now.robot.ee_position - low) / (high - low)
        assert 2 * share - 1 == pytest.approx(corner, abs=0.03)


@pytest.mark.parametrize(
    "turn", [(0.0, 0.0, 1.2), (0.0, -0.8, 0.0), (0.6, 0.0, 0.0), (0.3, 0.4, -0.5)], ids=["yaw", "pitch", "roll", "all"]
)
@pytest.mark.parametrize("mode", POSE_MODES)
def test_modes_that_turn_the_hand_reach_poses(mode, turn):
    env = make(mode)
    env.reset(seed=0)
    goal = Waypoint(np.array([0.0, 0.05, 0.2]), 0.0, np.array(turned(env.robot.description.ee_quaternion, turn)))
    for _ in range(60):
        env.step(env.action_mode.towards(goal))
    assert env.now.robot.ee_position == pytest.approx(goal.position, abs=0.01)
    assert np.linalg.norm(turn_between(env.now.robot.ee_quaternion, goal.quaternion)) < 0.05


@pytest.mark.parametrize("mode", sorted(set(MODES) - set(POSE_MODES)))
def test_position_modes_keep_the_orientation(mode):
    env = make(mode)
    env.reset(seed=0)
    for action in wild_actions("now and then", env.action_mode.size):
        env.step(action)
        assert np.linalg.norm(turn_between(env.now.robot.ee_quaternion, env.robot.description.ee_quaternion)) < 0.3


def test_absolute_joints_span_their_limits():
    env = make("joint_absolute")
    env.reset(seed=0)
    for _ in range(40):
        env.step(np.array([0.3, 0.1, -0.2, -0.2, 0, 0.2, 0]))
    middle, half = (env.robot.high + env.robot.low) / 2, (env.robot.high - env.robot.low) / 2
    shares = (env.now.robot.joint_positions - middle) / half
    assert shares == pytest.approx([0.3, 0.1, -0.2, -0.2, 0, 0.2, 0], abs=0.01)


def test_velocities_are_shares_of_their_limits():
    env = make("joint_velocity")
    env.reset(seed=0)
    action = np.array([0.2, -0.1, 0, -0.1, 0, 0, 0.3])
    for _ in range(6):
        env.step(action)
    assert env.now.robot.joint_velocities / env.action_mode.limits.velocities == pytest.approx(action, abs=0.01)


def test_torques_accelerate_the_arm_as_its_inertia_says():
    env = make("joint_torque")
    env.reset(seed=0)
    torques = np.array([2.0, -1.0, 0.0, 1.0, 0.0, 0.2, 0.05])
    expected = np.linalg.solve(env.robot.mass_matrix(), torques) * env.simulation.control_period
    env.step(torques / env.robot.torque_limits)
    assert env.now.robot.joint_velocities == pytest.approx(expected, abs=0.1 * np.abs(expected).max())


@pytest.mark.parametrize("mode", MODES)
def test_targets_do_not_run_away_from_a_blocked_arm(mode):
    """Pressed against a border for long, an arm comes back as soon as it is asked to."""
    env = make(mode)
    env.reset(seed=0)
    away, back = (Waypoint(np.array([0.0, side, 0.2]), 0.0) for side in (0.6, -0.6))
    for _ in range(40):
        env.step(env.action_mode.towards(away))
    height = env.now.robot.ee_position[1]
    for _ in range(3):
        env.step(env.action_mode.towards(back))
    assert env.now.robot.ee_position[1] < height - 0.015


@pytest.mark.parametrize("mode", MODES)
def test_agents_see_what_they_need_to_act_in_a_mode(mode):
    env = make(mode, observation="flat")
    for part in resolve(robot_actions[mode]).parts:
        assert env.observation.parts.count(part) == 1
    assert env.observation.parts[-2:] == ("goal", "to_goal")


def test_lag_of_a_pose_has_metres_and_radians():
    env = make("ee_delta_pose")
    env.reset(seed=0)
    env.step(np.array([0, 0, 0, 0, 0, 1.0]))
    lag = env.now.lag
    assert lag[:3] == pytest.approx([0, 0, 0], abs=0.005)
    assert lag[5] > 0.05


# ------------------------------------------------------------------------------------------------ the gripper


@pytest.mark.parametrize(
    ("task", "gripper_action", "numbers"),
    [
        ("reach", "auto", 3),
        ("reach", "blocked", 3),
        ("reach", "width", 4),
        ("reach", "open_close", 4),
        ("pick_and_place", "auto", 4),
        ("pick_and_place", "width", 4),
        ("pick_and_place", "open_close", 4),
    ],
)
def test_the_gripper_adds_a_number_where_it_can_be_moved(task, gripper_action, numbers):
    assert make(task=task, gripper_action=gripper_action).action_space.shape == (numbers,)


@pytest.mark.parametrize(
    ("gripper_action", "widths"), [("width", [0.077, 0.077, 0.08]), ("open_close", [0.05, 0.05, 0.08])]
)
def test_open_and_close_go_by_the_sign_and_width_by_the_size(gripper_action, widths):
    env = make(task="pick_and_place", gripper_action=gripper_action)
    env.reset(seed=0)
    for number, width in zip([-0.1, 0.0, 0.1], widths, strict=True):
        env.step(np.array([0, 0, 0, number]))
        assert env.robot.width_target == pytest.approx(width, abs=0.002)  # a closing gripper is on a leash
    for _ in range(3):
        env.step(np.zeros(4))
    assert env.now.robot.gripper_width == pytest.approx(0.08, abs=0.002)


@pytest.mark.parametrize("mode", ["ee_delta", "joint_velocity", "joint_torque"])
def test_the_expert_grasps_by_opening_and_closing(mode):
    env = make(mode, task="pick_and_place", gripper_action="open_close")
    solved = 0
    for seed in range(10):
        env.reset(seed=seed)
        for _ in range(50):
            *_, info = env.step(env.expert_action())
        solved += info["is_success"]
    assert solved >= 9


def test_a_blocked_gripper_stays_closed():
    env = make("ee_delta")
    env.reset(seed=0)
    for action in wild_actions("random", 3):
        env.step(action)
    assert env.now.robot.gripper_width == pytest.approx(0, abs=0.002)


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"task": "pick_and_place", "gripper_action": "blocked"}, "needs the gripper, and gripper_action is 'blocked'"),
        ({"gripper_action": "grab"}, "gripper_action is 'grab'; allowed: auto, width, open_close, blocked"),
    ],
)
def test_a_gripper_that_cannot_work_is_refused(kwargs, words):
    with pytest.raises(ConfigError, match=words):
        make(**kwargs)


def test_position_modes_are_refused_for_tasks_that_turn_the_hand(monkeypatch):
    monkeypatch.setitem(tasks, "tilt", Tilt)
    for mode in MODES:
        if mode in POSE_MODES:
            make(mode, task="tilt").close()
            continue
        with pytest.raises(ConfigError, match=f"robot_action '{mode}' cannot. These can: ee_delta_pose"):
            make(mode, task="tilt")
        with pytest.raises(ConfigError, match="task_type 'tilt' turns the end effector"):
            Config(task_type="tilt", robot_action=mode).check()


def test_modes_are_checked_without_pybullet():
    code = (
        "import sys\n"
        "from armature.config import Config\n"
        "from armature.plugins import load_plugins\n"
        "import armature.envs, armature.errors\n"
        "try:\n"
        "    Config(task_type='pick_and_place', gripper_action='blocked').check()\n"
        "except armature.errors.ConfigError as error:\n"
        "    assert 'blocked' in str(error), error\n"
        "    assert 'pybullet' not in sys.modules\n"
        "    print('refused')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "refused\n", done.stderr


# ------------------------------------------------------------------------------------------------ rotations


def test_turning_and_finding_the_turn_are_inverse():
    rng = np.random.default_rng(0)
    for _ in range(50):
        start = rng.normal(size=4)
        start /= np.linalg.norm(start)
        turn = rng.normal(size=3)
        turn *= rng.uniform(0, 3.1) / np.linalg.norm(turn)
        assert turn_between(start, turned(start, turn)) == pytest.approx(turn, abs=1e-9)


def test_a_turn_is_about_the_worlds_axes():
    quarter = turned(turned((0, 0, 0, 1), (np.pi / 2, 0, 0)), (0, 0, np.pi / 2))
    expected = p.multiplyTransforms(
        (0, 0, 0), p.getQuaternionFromEuler((0, 0, np.pi / 2)), (0, 0, 0), p.getQuaternionFromEuler((np.pi / 2, 0, 0))
    )[1]
    assert quarter == pytest.approx(expected)


def test_absolute_orientations_have_no_jumps():
    """All rotation vectors of the mode are shorter than pi, so near numbers are near orientations and the reverse."""
    mode = resolve(robot_actions["ee_absolute_pose"])
    for corner in itertools.product((-1, 1), repeat=3):
        assert np.linalg.norm(mode.ROTATION_RANGE * np.array(corner)) < np.pi
