"""Every robot: it is what its description says, its gripper is one mechanism, and its experts succeed."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import armature.envs  # noqa: F401, registers the environments
from armature import train
from armature.config import Config
from armature.envs.engine import p
from armature.errors import ConfigError, UnknownNameError
from armature.plugins import load_extensions
from armature.registry import robots
from armature.vec import make_vec_env
from tests.robot_envs import make, mixed_actions, play, share_solved


def installed(name):
    try:
        robots.find(name).folder()
    except ConfigError:
        return False
    return True


ROBOTS = [
    pytest.param(name, marks=pytest.mark.skipif(not installed(name), reason='needs pip install -e ".[robots]"'))
    for name in robots
]
GRIPPERS = [name for name in robots if robots.find(name).gripper]
TASKS = ("reach", "push", "pick_and_place")
PAIRS = [
    pytest.param(*robot.values, task, marks=robot.marks)
    for robot in ROBOTS
    for task in TASKS
    if robots.find(robot.values[0]).can(task)
]


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
    assert 0.07 < now.ee_position[2] < 0.35
    assert abs(np.dot(now.ee_quaternion, wanted)) > 0.99


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_the_expert_solves_the_task_with_every_robot(name, task):
    """The full hundred seeds are run by benchmarks/experts.py; 20 of them here."""
    env = make(robot=name, task=task)
    assert share_solved(env, 20) >= 0.95


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
    for link in range(-1, p.getNumJoints(env.robot.body, physicsClientId=env.simulation.client)):
        # In the air: what an arm bumps into may throw it.
        p.setCollisionFilterGroupMask(env.robot.body, link, 0, 0, physicsClientId=env.simulation.client)
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
    task = next(task for task in reversed(TASKS) if robots.find(name).can(task))
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


@pytest.mark.parametrize("name", robots)
def test_nothing_is_loaded_to_tell_what_a_robot_can_do(name):
    code = f"""
import sys, armature.envs
from armature.registry import robots
robots.find({name!r}).can("push")
assert not {{"pybullet", "torch"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent)


# ------------------------------------------------------------------------------------------------ what is refused


def test_a_task_that_a_robot_cannot_do_is_refused_with_those_that_it_can(monkeypatch):
    monkeypatch.setattr(type(robots.find("ur5")), "folder", lambda self: None)
    config = Config(robot="ur5", task_type="pick_and_place")
    with pytest.raises(
        ConfigError, match="robot 'ur5' cannot do task_type 'pick_and_place', which needs a gripper"
    ) as e:
        config.check()
    assert "It can do: " in str(e.value)
    assert "reach" in str(e.value)
    with pytest.raises(ConfigError, match="'kinova' cannot do task_type 'push', which is beyond its reach"):
        Config(robot="kinova", task_type="push").check()
    assert "armature/Ur5PickAndPlace-v1" not in gymnasium.registry


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch):
    def distribution(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", distribution)
    with pytest.raises(ConfigError, match=r'pip install -e "\.\[robots\]"'):
        Config(robot="ur10").check()
    with pytest.raises(ConfigError, match="example-robot-data, which is not installed"):
        gymnasium.make("armature/Xarm7Reach-v1")


# ------------------------------------------------------------------------------------------------ the user's own

URDF = """<robot name="two">
  <link name="base"/>
  <link name="first"><inertial><mass value="1"/><inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/>
    </inertial></link>
  <link name="second"><inertial><mass value="1"/><inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/>
    </inertial></link>
  <joint name="turn" type="revolute"><parent link="base"/><child link="first"/><origin xyz="0 0 0.1"/>
    <axis xyz="0 0 1"/><limit lower="-1" upper="2" effort="9" velocity="3"/></joint>
  <joint name="nod" type="revolute"><parent link="first"/><child link="second"/><origin xyz="0.2 0 0"/>
    <axis xyz="0 1 0"/><limit lower="-1" upper="1" effort="9" velocity="3"/></joint>
</robot>
"""
FIELDS = {
    "urdf": "two.urdf",
    "arm_joints": ["turn", "nod"],
    "ee_link": "second",
    "ee_offset": [0.2, 0.0, 0.0],
    "rest_pose": [0.0, 0.0],
    "ee_quaternion": [0.0, 0.0, 0.0, 1.0],
    "forces": [9.0, 9.0],
    "max_velocities": [3.0, 3.0],
    "distance": 0.3,
}


def described(folder, text=URDF, **fields):
    (folder / "two.urdf").write_text(text)
    file = folder / "two.json"
    file.write_text("// mine\n" + json.dumps(FIELDS | fields))
    return str(file)


def test_a_robot_of_ones_own_is_named_by_the_path_of_its_file(tmp_path, monkeypatch):
    described(tmp_path)
    (tmp_path / "run.json").write_text('{"robot": "two.json", "num_envs": 2, "num_workers": 2}')
    config = Config.load(tmp_path / "run.json")
    assert config.robot == str(tmp_path / "two.json")
    load_extensions(config)
    config.check()
    env = make_vec_env(config, "train", 2)
    env.reset()
    env.step(np.zeros((2, 3)))
    env.close()
    monkeypatch.chdir(tmp_path)
    assert Config.load(flags={"robot": "two.json"}).robot == config.robot


def test_a_rod_reaches_from_the_flange_to_the_end_effector(tmp_path):
    env = make(robot=described(tmp_path, rod=True))
    client, body = env.simulation.client, env.robot.body
    # The rod is joined into the flange, which itself has nothing to collide with.
    low, high = np.array(p.getAABB(body, env.robot.ee_link, physicsClientId=client))
    flange = np.array(p.getLinkState(body, env.robot.ee_link, physicsClientId=client)[4])
    point = env.now.robot.ee_position
    assert point - flange == pytest.approx([0.2, 0, 0], abs=0.01)
    assert low[0] == pytest.approx(flange[0], abs=0.01)
    assert high[0] == pytest.approx(point[0] + 0.008, abs=0.01)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"arm_jonts": ["turn"]}, "arm_jonts: unknown key; did you mean 'arm_joints'"),
        ({"arm_joints": ["tern", "nod"]}, "unknown movable joint of .*two.urdf 'tern'; did you mean 'turn'"),
        ({"ee_link": "secand"}, "unknown link of .*two.urdf 'secand'; did you mean 'second'"),
        ({"forces": [9, -1]}, "forces.1 is -1; allowed: a number above 0"),
        ({"forces": [9]}, "forces has 1 numbers, and arm_joints 2 names"),
        ({"ee_quaternion": [0, 0, 0, 0]}, "its length must be 1"),
        ({"urdf": "three.urdf"}, "there is no file .*three.urdf"),
        ({"gripper": {"joint": ["nod"]}}, "gripper.joint: unknown key; did you mean 'joints'"),
        ({"urdf": 3}, "urdf is 3; allowed: text"),
    ],
)
def test_a_wrong_description_is_explained(tmp_path, fields, words):
    with pytest.raises(ConfigError, match=words):
        make(robot=described(tmp_path, **fields))


@pytest.mark.parametrize(
    "urdf", ["", "no XML", "<robot", "<robot name='x'></robot>", URDF.replace('link="base"', 'link="b"')]
)
def test_a_broken_urdf_is_one_clear_error(tmp_path, urdf):
    with pytest.raises(ConfigError, match=r"two\.urdf"):
        make(robot=described(tmp_path, urdf))


def test_a_missing_file_of_a_robot_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json cannot be read"):
        Config(robot=str(tmp_path / "none.json")).check()
    with pytest.raises(UnknownNameError, match=r"Or the path of a \.json file"):
        Config(robot="pandass").check()


# ------------------------------------------------------------------------------------------------ --describe-robot


def test_describe_robot_prints_joints_and_a_description_that_works(tmp_path, capsys):
    described(tmp_path)
    assert train.main(["--describe-robot", str(tmp_path / "two.urdf")]) == 0
    printed = capsys.readouterr().out
    assert "nod    revolute  -1     1      9       3         second" in printed
    proposal = tmp_path / "proposal.json"
    proposal.write_text(printed[printed.index("{") :])
    env = make(robot=str(proposal))
    assert env.robot.description.arm_joints == ("turn", "nod")
    assert env.robot.description.rest_pose == (0.5, 0.0)


def test_describe_robot_finds_arm_and_gripper(capsys):
    from armature.envs.engine import pybullet_data

    train.main(["--describe-robot", f"{pybullet_data.getDataPath()}/xarm/xarm6_with_gripper.urdf"])
    printed = capsys.readouterr().out
    values = json.loads(printed[printed.index("{") :])
    assert values["arm_joints"] == [f"joint{i}" for i in range(1, 7)]
    assert values["ee_link"] == "xarm_gripper_base_link"
    assert len(values["gripper"]["joints"]) == 6


@pytest.mark.parametrize(
    ("urdf", "words"), [("no XML", "cannot load"), ("<robot name='x'><link name='l'/></robot>", "no joint that moves")]
)
def test_describe_robot_refuses_what_is_no_robot(tmp_path, capsys, urdf, words):
    (tmp_path / "x.urdf").write_text(urdf)
    assert train.main(["--describe-robot", str(tmp_path / "x.urdf")]) == 2
    assert words in capsys.readouterr().err
    assert train.main(["--describe-robot", str(tmp_path / "none.urdf")]) == 2
    assert "there is no file" in capsys.readouterr().err


def wander(env, steps, seed):
    """Take random steps with new episodes at random; return every number that was seen."""
    rng, episode = np.random.default_rng(seed), 1000 * seed
    seen = [env.reset(seed=episode)[0]]
    for _ in range(steps):
        observation, _, terminated, truncated, _ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        seen.append(observation)
        if terminated or truncated or rng.random() < 0.02:
            episode += 1
            seen.append(env.reset(seed=episode)[0])
    return np.array(seen)


@pytest.mark.skipif(not installed("ur5"), reason='needs pip install -e ".[robots]"')
def test_what_bullet_remembers_of_pairs_is_forgotten():
    """It drops pairs that came apart a few at a time; where it was in their list once decided the order of solving."""
    lived_in, fresh = (make(robot="ur5", task="switch", observation="flat") for _ in range(2))
    wander(lived_in, 100, seed=2)
    assert np.array_equal(wander(fresh, 650, seed=1), wander(lived_in, 650, seed=1))
