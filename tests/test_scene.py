"""Workspaces, objects, distractors, clutter: what a config says of them happens, and nothing else."""

import itertools
import json

import numpy as np
import pytest

from armature.config import Config
from armature.envs.engine import p
from armature.envs.tasks.base import Waypoint
from armature.errors import ConfigError, UnknownNameError
from armature.plugins import load_extensions
from armature.registry import workspaces
from armature.vec import make_env
from tests.robot_envs import make, mixed_actions, play, share_solved

FULL = {
    "task_objects": [{"kind": "duck_vhacd.urdf", "size": 0.7}, {"kind": "sphere"}, {"rotation": "yaw"}],
    "distractors": [
        {"size": [0.02, 0.1, 0.1], "speed": 0.2, "observed": True},
        {"kind": "cylinder", "ends": [[0, -0.2, 0.15], [0, 0.2, 0.15]], "speed": 0.3},
        {"size": 0.03},
    ],
    "clutter": {"count": [1, 3], "objects": [{"kind": "lego/lego.urdf", "rotation": "yaw"}, {"kind": "cylinder"}]},
}
CUBE_URDF = """<robot name="mine"><link name="only">
  <inertial><mass value="0.3"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial>
  <collision><geometry><box size="0.05 0.05 0.05"/></geometry></collision></link></robot>"""


def place(env, body):
    return np.array(env.simulation.pose(body)[0])


def stand_still(env, steps):
    for _ in range(steps):
        env.step(np.zeros(env.action_space.shape))


def go(env, *points):
    """Move the closed hand through points."""
    for point in points:
        for _ in range(20):
            env.step(env.action_mode.towards(Waypoint(np.array(point), 0.0)))


@pytest.fixture
def written(tmp_path):
    def write(values, name="place.json"):
        path = tmp_path / name
        path.write_text(values if isinstance(values, str) else json.dumps(values))
        return path

    return write


# ------------------------------------------------------------------------------------------------ workspaces


@pytest.mark.parametrize("task", ["reach", "push", "pick_and_place"])
@pytest.mark.parametrize("workspace", sorted(workspaces))
def test_experts_work_in_every_workspace(workspace, task):
    assert share_solved(make(workspace=workspace, task=task), 20) >= 0.9


@pytest.mark.parametrize("workspace", sorted(workspaces))
def test_objects_rest_on_the_surface_of_every_workspace(workspace):
    """The surface is z = 0: what is placed there neither falls nor is thrown up."""
    env = make(workspace=workspace, task="push")
    env.reset(seed=0)
    start = place(env, env.bodies.objects[0])
    stand_still(env, 10)
    assert np.abs(place(env, env.bodies.objects[0]) - start).max() < 1e-3


def test_workspaces_look_different():
    pictures = []
    for workspace in sorted(workspaces):
        env = make(workspace=workspace, render_mode="rgb_array")
        env.reset(seed=0)
        pictures.append(env.render().astype(int))
        env.close()
    assert all(np.abs(first - other).mean() > 2 for first, other in itertools.pairwise(pictures))


@pytest.mark.parametrize("key", ["area", "goal_area"])
def test_the_upper_board_of_the_shelf_is_in_reach(key):
    """Objects can be taken from it and put on it."""
    board = {key: [0.225, 0.24, -0.1, 0.1, 0.15, 0.15]}
    assert share_solved(make(workspace="shelf", task="pick_and_place", task_objects=[board]), 10) >= 0.9


def test_a_workspace_of_ones_own_is_a_json_file(written):
    """A relative URDF lies beside the file, a relative workspace beside the configuration."""
    written(CUBE_URDF, "cube.urdf")
    written(
        """{ // with comments
        "bodies": [
            {"kind": "box", "size": [1.2, 1, 0.1], "position": [-0.2, 0, -0.05], "color": [0.2, 0.5, 0.3]},
            {"kind": "cube.urdf", "size": 2, "position": [0.3, 0.3, 0.05], "rotation": [0, 0, 0.5]},
            {"kind": "cylinder", "size": [0.05, 0.2], "position": [0.3, -0.3, 0.1], "friction": {"lateral": 0.2}},
        ],
        "low": [-0.2, -0.2, 0.01], "high": [0.2, 0.2, 0.4],
        "robot_offset": [0.05, 0, 0.01],
        "camera": {"target": [0, 0, 0.1], "distance": 1.2, "yaw": 1.0, "pitch": -0.5}
        }"""
    )
    config = Config.load(written({"workspace": "place.json", "task_type": "push"}, "config.json"))
    load_extensions(config)
    config.check()
    env = make_env(config, "train", 0).unwrapped
    assert env.workspace.high == [0.2, 0.2, 0.4]
    client = env.simulation.client
    assert p.getAABB(1, physicsClientId=client)[1][2] == pytest.approx(0.1, abs=1e-3)
    assert p.getDynamicsInfo(2, -1, physicsClientId=client)[1] == 0.2
    usual = make(task="push")
    moved = place(env, env.robot.body) - place(usual, usual.robot.body)
    assert moved == pytest.approx([0.05, 0, 0.01])
    env.reset(seed=1)
    solved = False
    for _ in range(50):
        *_, info = env.step(env.expert_action())
        solved = solved or info["is_success"]
    assert solved


GOOD = {"bodies": [], "low": [-0.2, -0.2, 0.01], "high": [0.2, 0.2, 0.4]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bodys": []}, "bodys: unknown key; did you mean 'bodies'"),
        ({"low": None}, "low is null; allowed: a list of 3 to 3 items"),
        ({"low": [0, 0]}, "low is"),
        ({"high": [-0.3, 0.2, 0.4]}, "low below high in x, y and z"),
        ({"camera": {"distnce": 1}}, "camera.distnce: unknown key; did you mean 'distance'"),
        ({"camera": {"pitch": -30}}, "camera.pitch is -30; allowed: a number from -1.6 to 1.6"),
        ({"bodies": [{"kind": "box"}]}, "bodies.0.position"),
        ({"bodies": [{"kind": "bax", "position": [0, 0, 0]}]}, "bodies.0.kind is 'bax'; did you mean 'box'"),
        ({"bodies": [{"position": [0, 0, 0], "size": [1, 2]}]}, "bodies.0.size has 2 numbers; a box has 1 or 3"),
        ({"bodies": [{"position": [0, 0, 0], "size": -1}]}, "bodies.0.size"),
        ({"bodies": [{"position": [0, 0, 0], "color": [0, 0, 2]}]}, "bodies.0.color.2 is 2; allowed: a number from 0"),
        ({"bodies": [{"kind": "nothing.urdf", "position": [0, 0, 0]}]}, "bodies.0.kind is 'nothing.urdf'"),
        ({"bodies": {}}, "bodies is"),
    ],
)
def test_a_wrong_workspace_is_explained_with_file_and_key(written, changes, words):
    path = written({**GOOD, **changes})
    with pytest.raises(ConfigError) as told:
        workspaces.find(str(path))
    assert str(path) in str(told.value)
    assert words in str(told.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("[1]", "a workspace is an object"), ('{"low" 1}', "line 1, column 8"), ('{"low": [1,', "too early")],
)
def test_a_workspace_that_is_no_object_is_explained(written, text, words):
    with pytest.raises(ConfigError, match=words):
        workspaces.find(str(written(text)))


def test_an_unknown_workspace_is_explained_before_pybullet_starts():
    with pytest.raises(UnknownNameError, match=r"did you mean 'tray'.*Or the path of a .json file"):
        Config(workspace="trey").check()
    with pytest.raises(ConfigError, match=r"nowhere.json cannot be read: No such file"):
        Config(workspace="nowhere.json").check()


# ------------------------------------------------------------------------------------------------ objects


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "sphere"},
        {"kind": "cylinder"},
        {"size": [0.03, 0.05, 0.04]},
        {"rotation": "yaw"},
        {"kind": "cube_small.urdf"},
        {"kind": "lego/lego.urdf"},
        {"kind": "random_urdfs/500", "size": 0.5},
    ],
)
def test_every_kind_is_pushed(config):
    assert share_solved(make(task="push", task_objects=[config]), 10) >= 0.8


@pytest.mark.parametrize(
    "config",
    [
        {"kind": "sphere"},
        {"kind": "cylinder", "size": [0.04, 0.08]},
        {"rotation": "yaw"},
        {"kind": "duck_vhacd.urdf", "size": 0.7},
        {"kind": "lego/lego.urdf"},
        {"kind": "random_urdfs/000", "size": 0.4},
    ],
)
def test_every_kind_is_picked(config):
    assert share_solved(make(task="pick_and_place", task_objects=[config]), 10) >= 0.8


@pytest.mark.parametrize("kind", ["duck_vhacd.urdf", "random_urdfs/000", "random_urdfs/123", "teddy_vhacd.urdf"])
def test_a_urdf_lies_at_rest_when_an_episode_begins(kind):
    """What stands in the file is not how it lies."""
    env = make(task="push", task_objects=[{"kind": kind, "size": 0.6, "rotation": "yaw"}])
    for seed in range(3):
        env.reset(seed=seed)
        (body,) = env.bodies.objects
        start, turn = place(env, body), env.now.objects[0].quaternion
        stand_still(env, 20)
        assert np.abs(place(env, body) - start).max() < 2e-3
        assert abs(np.dot(env.now.objects[0].quaternion, turn)) > 0.999


def test_size_mass_friction_and_colour_are_as_told():
    friction = {"lateral": 0.7, "rolling": 0.01, "spinning": 0.02}
    chosen = {"size": [0.03, 0.04, 0.05], "mass": 0.5, "friction": friction, "color": [0.1, 0.2, 0.3]}
    env = make(task="push", task_objects=[chosen], render_mode="rgb_array")
    (body,), client = env.bodies.objects, env.simulation.client
    dynamics = p.getDynamicsInfo(body, -1, physicsClientId=client)
    assert (dynamics[0], dynamics[1], *dynamics[6:8]) == (0.5, 0.7, 0.01, 0.02)
    assert p.getCollisionShapeData(body, -1, physicsClientId=client)[0][3] == pytest.approx((0.03, 0.04, 0.05))
    assert p.getVisualShapeData(body, physicsClientId=client)[0][7] == pytest.approx((0.1, 0.2, 0.3, 1.0))


def test_what_an_entry_leaves_out_is_as_the_task_has_it():
    """The size goes with the kind: a factor for a URDF is no length."""
    heavy, ball = make(task="push", task_objects=[{"mass": 0.6}]), make(task="push", task_objects=[{"kind": "sphere"}])
    assert heavy.task.block == make(task="push").task.block
    assert p.getDynamicsInfo(heavy.bodies.objects[0], -1, physicsClientId=heavy.simulation.client)[0] == 0.6
    assert ball.task.block.size == (0.04, 0.04, 0.04)
    assert make(task="push", task_objects=[{"kind": "cube_small.urdf"}]).task.block.size == pytest.approx(
        [0.05] * 3, 0.1
    )


def test_areas_say_where_objects_and_goals_are():
    chosen = {"area": [0.1, 0.15, -0.05, 0.0, 0.1, 0.1], "goal_area": [-0.1, -0.05, 0.05, 0.1]}
    env = make(task="push", task_objects=[chosen])
    for seed in range(5):
        env.reset(seed=seed)
        x, y, z = env.now.objects[0].position
        assert 0.1 <= x <= 0.15
        assert -0.05 <= y <= 0
        assert z == pytest.approx(0.12)
        assert np.all((env.goal >= [-0.1, 0.05, 0.02 - 1e-6]) & (env.goal <= [-0.05, 0.1, 0.02 + 1e-6]))


def test_yaw_turns_objects_about_the_vertical_only():
    env = make(task="push", task_objects=[{"rotation": "yaw"}])
    angles = []
    for seed in range(10):
        env.reset(seed=seed)
        roll, pitch, yaw = p.getEulerFromQuaternion(env.now.objects[0].quaternion)
        assert (roll, pitch) == pytest.approx((0, 0))
        angles.append(yaw)
    assert np.ptp(angles) > 2


def test_further_objects_are_observed_and_keep_clear_of_each_other():
    env = make(task="push", observation="flat", task_objects=[{}, {"kind": "sphere"}, {"kind": "lego/lego.urdf"}])
    extra = env.observation_space.shape[0] - make(task="push", observation="flat").observation_space.shape[0]
    assert extra == 2 * (3 + 6 + 3 + 3 + 3), "position, rotation, velocity, spin, way from the end effector"
    for seed in range(10):
        env.reset(seed=seed)
        places = [*(body.position[:2] for body in env.now.objects), env.goal[:2]]
        gaps = [np.linalg.norm(places[a] - places[b]) for a in range(4) for b in range(a)]
        assert min(gaps) > 0.03


@pytest.mark.parametrize(
    ("task", "keys", "words"),
    [
        ("push", {"task_objects": [{"kind": "spere"}]}, "task_objects.0.kind is 'spere'; did you mean 'sphere'"),
        ("push", {"task_objects": [{"sise": 1}]}, "task_objects.0.sise: unknown key; did you mean 'size'"),
        ("push", {"task_objects": [{"size": 0}]}, "task_objects.0.size"),
        ("push", {"task_objects": [{"mass": 0}]}, "task_objects.0.mass is 0; allowed: a number above 0"),
        ("push", {"task_objects": [{"area": [0, 1, 2]}]}, "task_objects.0.area"),
        ("push", {"task_objects": [{"area": [0.1, 0, 0, 1]}]}, "x0 <= x1"),
        (
            "push",
            {"task_objects": [{"rotation": "yawn"}]},
            'task_objects.0.rotation is "yawn"; allowed: "none" or "yaw"',
        ),
        ("push", {"task_objects": [{"friction": {"roling": 1}}]}, "did you mean 'rolling'"),
        ("push", {"task_objects": [{"kind": "sphere", "size": [1, 1]}]}, "size has 2 numbers; a sphere has 1"),
        ("push", {"task_objects": [{"kind": "r2d2.urdf"}]}, "has joints that move"),
        ("push", {"task_objects": [{"kind": "random_urdfs/1000"}]}, "random_urdfs/000 to random_urdfs/999"),
        ("reach", {"task_objects": [{}]}, "task_objects has 1 entries, but this task handles no objects"),
        (
            "push",
            {"task_objects": [{}, {"goal_area": [0, 1, 0, 1]}]},
            "task_objects.1.goal_area: only the first object",
        ),
        ("push", {"distractors": [{"ends": [[0, 0, 0], [1, 0, 0]]}]}, "ends with a speed above 0"),
        ("push", {"distractors": [{"speed": -1}]}, "distractors.0.speed is -1"),
        ("push", {"clutter": {"count": [3, 1], "objects": [{}]}}, "clutter.count is [3, 1]; allowed: [least, most]"),
        ("push", {"clutter": {"count": [1, 1], "objects": []}}, "clutter.objects is []"),
        ("push", {"clutter": {"count": [1, 1], "objects": [{"kind": "bix"}]}}, "clutter.objects.0.kind is 'bix'"),
    ],
)
def test_a_wrong_scene_is_explained_before_pybullet_starts(task, keys, words):
    with pytest.raises(ConfigError) as told:
        Config(task_type=task, **keys).check()
    assert words in str(told.value)
    with pytest.raises(ConfigError) as told:
        make(task=task, **keys)
    assert words in str(told.value)


def test_a_broken_urdf_is_explained(written):
    for text, words in (("no xml", "is no XML"), ("<robot/>", "needs <robot> with a <link> with <collision>")):
        with pytest.raises(ConfigError, match=words):
            make(task="push", task_objects=[{"kind": str(written(text, f"{len(text)}.urdf"))}])


def test_a_scene_survives_saving(tmp_path):
    """What was left open is still left open."""
    config = Config(task_type="push", **FULL)
    config.save(tmp_path / "config.json")
    assert Config.load(tmp_path / "config.json") == config


# ------------------------------------------------------------------------------------------------ distractors


def test_a_distractor_cannot_be_pushed_away():
    """A hand that pushes against it stops."""
    env = make(task="push", distractors=[{"area": [0, 0, 0.2, 0.2], "size": [0.3, 0.02, 0.2]}])
    env.reset(seed=0)
    (wall,) = env.scenery._distractors
    start = place(env, wall)
    go(env, (0, 0.1, 0.03), (0, 0.3, 0.03))
    assert np.array_equal(place(env, wall), start)
    assert env.now.robot.ee_position[1] < 0.2
    assert env.action_mode.lag(env.now.robot)[1] > 0.04, "the hand is still pushing"


def test_a_distractor_goes_to_and_fro_between_its_ends():
    ends = np.array([[0.1, -0.1, 0.2], [0.2, 0.1, 0.3]])
    env = make(task="reach", distractors=[{"ends": ends.tolist(), "speed": 0.3, "observed": True, "size": 0.02}])
    env.reset(seed=2)
    track = []
    for _ in range(60):
        env.step(np.zeros(3))
        track.append(env.now.distractors[0] - [0, 0, 0.01])
    share = (np.array(track) - ends[0]) @ (ends[1] - ends[0]) / np.sum((ends[1] - ends[0]) ** 2)
    assert np.allclose(ends[0] + share[:, None] * (ends[1] - ends[0]), track)
    assert share.min() >= 0
    assert share.max() <= 1
    assert np.ptp(share) > 0.9
    steps = np.linalg.norm(np.diff(track, axis=0), axis=1)
    assert np.quantile(steps, 0.3) == pytest.approx(0.3 * 0.05)


def test_a_distractor_bounces_at_constant_speed_in_the_directions_of_its_area():
    area = [-0.1, 0.1, -0.2, 0.2, 0.15, 0.15]
    env = make(task="reach", distractors=[{"area": area, "speed": 0.2, "observed": True, "size": 0.02}])
    env.reset(seed=1)
    track = []
    for _ in range(50):
        env.step(np.zeros(3))
        track.append(env.now.distractors[0])
    track = np.array(track)
    assert np.all(np.abs(track[:, 0]) <= 0.1 + 1e-9)
    assert np.all(np.abs(track[:, 1]) <= 0.2 + 1e-9)
    assert np.ptp(track[:, 2]) == 0
    assert np.median(np.linalg.norm(np.diff(track, axis=0), axis=1)) == pytest.approx(0.2 * 0.05)


def test_a_config_with_all_of_it_passes_the_checks_and_makes_an_environment():
    config = Config(task_type="push", **FULL)
    load_extensions(config)
    config.check()
    assert (
        make_env(config, "train", 0).reset()[0].shape == make(task="push", observation="flat", **FULL).reset()[0].shape
    )


def test_only_observed_distractors_are_part_of_the_observation():
    bare = make(task="reach", observation="flat").observation_space.shape[0]
    seen = [{"observed": True}, {}, {"observed": True, "kind": "sphere"}]
    assert make(task="reach", observation="flat", distractors=seen).observation_space.shape[0] == bare + 6


# ------------------------------------------------------------------------------------------------ clutter


def lying_about(env):
    places = [place(env, body) for *_, body in env.scenery._clutter]
    return [position for position in places if position[2] > -1]


def test_clutter_varies_within_its_count_and_keeps_clear():
    chosen = {"count": [1, 4], "objects": [{}, {"kind": "sphere", "mass": 0.05}]}
    env = make(task="push", clutter=chosen)
    assert len(env.scenery._clutter) == 4, "the pool has as many as can be asked for"
    counts = set()
    for seed in range(25):
        env.reset(seed=seed)
        lying = lying_about(env)
        counts.add(len(lying))
        taken = [env.now.objects[0].position, env.goal, *lying]
        gaps = [np.linalg.norm(np.subtract(taken[a], taken[b])[:2]) for a in range(len(taken)) for b in range(a)]
        assert min(gaps[1:]) > 0.04
    assert counts == {1, 2, 3, 4}


def test_clutter_is_loose():
    env = make(task="push", clutter={"count": [1, 1], "objects": [{"area": [0, 0, 0.2, 0.2]}]})
    env.reset(seed=0)
    start = lying_about(env)[0]
    go(env, (0, 0.1, 0.02), (0, 0.3, 0.02))
    assert np.linalg.norm(lying_about(env)[0] - start) > 0.03


# ------------------------------------------------------------------------------------------------ exactness


@pytest.mark.parametrize("workspace", ["table", "tray"])
@pytest.mark.parametrize("task", ["push", "pick_and_place"])
def test_an_episode_in_a_full_scene_depends_on_its_seed_alone(task, workspace):
    """Pairs of bodies that were near in earlier episodes would change the order in which contacts are solved."""
    lived_in = make(task=task, workspace=workspace, observation="flat", **FULL)
    actions = mixed_actions(lived_in, 40)
    for seed in range(3):
        for history in range(2):
            play(lived_in, 100 + 10 * seed + history, actions[: 20 + 7 * history])
        fresh = make(task=task, workspace=workspace, observation="flat", **FULL)
        assert np.array_equal(play(fresh, seed, actions), play(lived_in, seed, actions))
        fresh.close()


@pytest.mark.parametrize("kind", ["duck_vhacd.urdf", "random_urdfs/123", "teddy_vhacd.urdf"])
def test_an_episode_with_a_compound_shape_depends_on_its_seed_alone(kind):
    chosen = [{"kind": kind, "size": 0.5, "rotation": "yaw"}]
    lived_in = make(task="pick_and_place", observation="flat", task_objects=chosen)
    actions = mixed_actions(lived_in, 40)
    for seed in range(2):
        play(lived_in, 100 + seed, actions[:33])
        fresh = make(task="pick_and_place", observation="flat", task_objects=chosen)
        assert np.array_equal(play(fresh, seed, actions), play(lived_in, seed, actions))
        fresh.close()


def test_nothing_is_made_in_a_reset(monkeypatch):
    env = make(task="push", **FULL)
    for name in ("loadURDF", "createMultiBody", "createCollisionShape", "createVisualShape"):
        monkeypatch.setattr(p, name, lambda *_, **__: pytest.fail("a reset made something"))
    bodies = p.getNumBodies(physicsClientId=env.simulation.client)
    for seed in range(5):
        env.reset(seed=seed)
        env.step(env.expert_action())
    assert p.getNumBodies(physicsClientId=env.simulation.client) == bodies
