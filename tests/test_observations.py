"""What an agent sees: parts and their scales, cameras, noise, latency."""

import json
import re
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from stable_baselines3.common.env_checker import check_env as sb3_check

import armature
from armature.combos import implemented_combos
from armature.config import Config
from armature.envs.engine import p
from armature.envs.observations import PARTS, rotation_columns
from armature.errors import ConfigError, UnknownNameError
from armature.making import make_model
from armature.plugins import load_plugins
from armature.registry import tasks
from armature.vec import make_vec_env

ALL = tuple(PARTS)
SMALL = {"width": 24, "height": 24}


def make(task="pick_and_place", observation="flat", **kwargs):
    return gymnasium.make(
        "armature/RobotEnv-v1", disable_env_checker=True, task=task, observation=observation, **kwargs
    ).unwrapped


def played(env, seed=0, steps=12):
    """Return the observations of an expert's episode, the first one too."""
    seen = [env.reset(seed=seed)[0]]
    for _ in range(steps):
        seen.append(env.step(env.expert_action())[0])
    return seen


# ------------------------------------------------------------------------------------------------ parts


def test_parts_stand_in_the_order_of_their_names_divided_by_their_scales():
    env = make(observation_parts=ALL)
    vector = played(env)[-1]
    layout, at = env.observation.layout(env.now), 0
    assert layout["joints"] == 7
    assert layout["object_rotation"] == 6
    assert layout["touch"] == 2
    robot, block = env.now.robot, env.now.objects[0]
    known = {
        "joints": robot.joint_positions,
        "ee_position": robot.ee_position / 0.25,
        "ee_velocity": robot.ee_velocity,
        "gripper_width": robot.gripper_width / 0.1,
        "object_position": block.position / 0.25,
        "object_spin": block.spin / 10,
        "ee_to_object": (block.position - robot.ee_position) / 0.2,
        "previous_action": env.now.previous_action,
        "to_goal": (env.now.goal - env.now.achieved_goal) / 0.2,
    }
    for name, count in layout.items():
        if name in known:
            assert vector[at : at + count] == pytest.approx(known[name], abs=1e-6), name
        at += count
    assert at == vector.size


@pytest.mark.parametrize("task", sorted(tasks))
def test_every_part_can_be_asked_for_in_every_task(task):
    env = make(task, observation_parts=ALL)
    layout = env.observation.layout(env.now)
    assert sum(layout.values()) == env.observation_space.shape[0]
    assert layout["object_position"] == 3 * len(env.bodies.objects)


def test_every_part_is_in_the_table_of_the_docstring():
    import armature.envs.observations as module

    assert all(f"| `{name}` |" in module.__doc__ for name in PARTS)


def test_rotation_columns_are_those_of_the_rotation_matrix():
    quaternion = np.array([0.1, -0.5, 0.3, 0.8]) / np.linalg.norm([0.1, -0.5, 0.3, 0.8])
    matrix = np.reshape(p.getMatrixFromQuaternion(quaternion.tolist()), (3, 3))
    assert rotation_columns(quaternion) == pytest.approx(matrix[:, :2].T.ravel())


def test_touch_tells_which_finger_has_the_block():
    env = make(observation_parts=["touch", "grasped"])
    seen = played(env, seed=0, steps=30)
    assert np.array_equal(seen[0], [0, 0, 0])
    assert np.array_equal(seen[-1], [1, 1, 1])


def test_touch_is_measured_in_tasks_that_keep_the_gripper_closed():
    env = make("push", observation_parts=["touch"])
    assert max(seen.max() for seen in played(env, steps=30)) == 1


CAMERA = {"name": "front", **SMALL}


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({"observation_parts": ["object_pos"]}, UnknownNameError, "did you mean 'object_position'"),
        ({"observation_parts": []}, ConfigError, "no camera in their place"),
        ({"observation_noise": {"object_positon": 0.1}}, UnknownNameError, "did you mean 'object_position'"),
        ({"observation_noise": {"joints": 0.1}}, UnknownNameError, "unknown observation.noise key 'joints'"),
        ({"observation_noise": {"lag": -0.1}}, ConfigError, "noise.lag is -0.1; allowed: a number from 0"),
        ({"observation_latency": {"frnt": 1}, "cameras": [CAMERA]}, UnknownNameError, "did you mean 'front'"),
        ({"observation_latency": {"lag": 1.5}}, ConfigError, "latency.lag is 1.5; allowed: a whole number"),
        ({"cameras": [{"nam": "front"}]}, ConfigError, "cameras.0.nam: unknown key; did you mean 'name'"),
        ({"cameras": [{"kinds": ["rbg"]}]}, ConfigError, 'cameras.0.kinds.0 is "rbg"; allowed: "rgb" or "depth"'),
        ({"cameras": [{"width": 4}]}, ConfigError, "width is 4; allowed: a whole number from 8"),
        ({"cameras": [{"yaw": 60.0}]}, ConfigError, "yaw is 60.0; allowed: a number from -7 to 7"),
        ({"cameras": [{"depth_range": [2.0, 1.0]}]}, ConfigError, "near < far"),
        ({"cameras": [CAMERA, CAMERA]}, ConfigError, "name 'front' is taken"),
        ({"cameras": [{"name": "state"}]}, ConfigError, "name 'state' is taken"),
        ({"cameras": [{"kinds": ["depth"]}], "observation_parts": []}, ConfigError, "no picture shows the goal"),
    ],
)
def test_a_wrong_selection_is_explained(kwargs, error, words):
    with pytest.raises(error, match=words):
        make(**kwargs)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"observation": {"parts": ["joint"]}}, "did you mean 'joints'"),
        ({"observation": {"noise": {"jonts": 0.1}}}, "observation.noise key"),
        ({"observation": {"parts": ["goal"]}, "algo": "her"}, "hindsight would keep the old goal"),
        ({"observation": {"cameras": [{}]}, "algo": "ars"}, "take.*none"),
        ({"observation": {"cameras": [{"kinds": ["rgb", "infrared"]}]}}, "observation.cameras.0.kinds.1"),
    ],
)
def test_a_configuration_is_checked_before_anything_is_built(keys, words):
    load_plugins()
    with pytest.raises(ConfigError, match=words):
        Config(**keys).check()


# ------------------------------------------------------------------------------------------------ cameras


def test_pictures_stand_beside_the_state():
    env = make(cameras=[{"name": "front", "kinds": ["rgb", "depth"], **SMALL}, {"name": "hand", "attached": "ee"}])
    plain = make()
    seen = env.reset(seed=1)[0]
    assert {name: (part.shape, part.dtype) for name, part in seen.items()} == {
        "state": ((33 + 2,), np.float32),
        "front": ((24, 24, 4), np.uint8),
        "hand": ((84, 84, 3), np.uint8),
    }
    assert seen in env.observation_space
    assert np.array_equal(seen["state"], plain.reset(seed=1)[0])


def test_one_picture_without_parts_is_the_observation_itself():
    env = make(observation_parts=[], cameras=[CAMERA])
    assert env.observation_space == gymnasium.spaces.Box(0, 255, (24, 24, 3), np.uint8)
    two = make(observation_parts=[], cameras=[CAMERA, {"name": "hand", "attached": "ee"}])
    assert set(two.reset(seed=0)[0]) == {"front", "hand"}


def test_pictures_do_not_change_what_happens_nor_does_filming_change_pictures():
    blind = make("push", observation_parts=["joints", "object_position", "object_rotation"])
    camera = {**CAMERA, "kinds": ["rgb", "depth", "segmentation", "point_cloud"]}
    seeing = [
        make("push", observation_parts=blind.observation.parts, cameras=[camera], render_mode=mode)
        for mode in (None, "rgb_array")
    ]
    truth = played(blind, 2)
    first, filmed = played(seeing[0], 2), [seeing[1].reset(seed=2)[0]]
    for _ in range(12):
        seeing[1].render()
        filmed.append(seeing[1].step(seeing[1].expert_action())[0])
    for state, one, other in zip(truth, first, filmed, strict=True):
        assert np.array_equal(state, one["state"])
        assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("robot", ["panda", "kuka", "xarm6"])
def test_robots_of_fewer_triangles_move_the_same_and_keep_their_colours(robot):
    parts = ["joints", "joint_velocities", "ee_position"]
    fine = make("reach", robot=robot, observation_parts=parts, render_mode="rgb_array")
    coarse = make("reach", robot=robot, observation_parts=parts, cameras=[CAMERA])
    for truth, seen in zip(played(fine, 1), played(coarse, 1), strict=True):
        assert np.array_equal(truth, seen["state"])
    colors, files = (
        [
            [shape[what] for shape in p.getVisualShapeData(env.robot.body, physicsClientId=env.simulation.client)]
            for env in (fine, coarse)
        ]
        for what in (7, 4)
    )
    assert set(colors[1]) == set(colors[0])
    assert files[1] != files[0]


def test_moving_the_block_changes_the_picture_where_the_block_is():
    camera = {"name": "top", "kinds": ["rgb", "segmentation"], "pitch": -1.57, "yaw": 0.0, "distance": 1.0}
    env = make("push", cameras=[camera])
    env.reset(seed=0)
    (block,) = env.bodies.objects
    where = []
    for x in (0.1, 0.2):
        env.simulation.place(block, (x, 0.2, 0.02))
        picture = env.observation.of(env.now)["top"]
        rows, columns = np.nonzero(picture[..., 3] == 2)
        assert np.all(picture[rows, columns, 0] > picture[rows, columns, 2]), "the block is red"
        where.append((rows.mean(), columns.mean()))
    pixels_per_metre = 84 / (2 * 0.96 * np.tan(np.radians(24)))  # the block's upper face is 0.86 m + 0.1 m away
    assert where[1][1] - where[0][1] == pytest.approx(0.1 * pixels_per_metre, abs=2)
    assert where[1][0] == pytest.approx(where[0][0], abs=0.5)


def test_segmentation_has_background_robot_and_object_but_not_the_goal():
    env = make("reach", observation_parts=[], cameras=[{"name": "front", "kinds": ["rgb", "segmentation"]}])
    shown = env.reset(seed=0)[0]
    assert set(np.unique(shown[..., 3])) == {0, 1}
    yellow = (shown[..., 0] > 180) & (shown[..., 2] < 90)
    assert yellow.any(), "the marker of the goal is seen"
    env = make("push", cameras=[{"name": "front", "kinds": ["segmentation"]}])
    assert set(np.unique(env.reset(seed=0)[0]["front"])) == {0, 1, 2}


def test_depth_is_in_metres_of_its_range():
    camera = {"name": "top", "kinds": ["depth"], "pitch": -1.57, "yaw": 0.0, "distance": 1.0, "depth_range": [0.5, 1.5]}
    env = make("push", cameras=[{**camera, "target": [0.0, 0.0, 0.0]}])
    env.reset(seed=0)
    env.simulation.place(env.bodies.objects[0], (0.15, 0.25, 0.02))
    depth = 0.5 + env.observation.of(env.now)["top"][..., 0] / 255.0
    assert np.median(depth) == pytest.approx(1.0, abs=0.004), "the table is 1 m away"
    half = 84 / 2
    column, row = (round(half + metres * half / (0.96 * np.tan(np.radians(24)))) for metres in (0.15, -0.25))
    assert depth[row, column] == pytest.approx(0.96, abs=0.004), "the block is 4 cm high"


def test_a_point_cloud_is_in_the_world_and_the_same_each_time():
    camera = {"name": "front", "kinds": ["point_cloud"], "points": 400}
    env = make("push", cameras=[camera])
    points = env.reset(seed=0)[0]["front_points"]
    assert points.shape == (400, 3)
    assert points.dtype == np.float32
    assert np.array_equal(points, env.reset(seed=0)[0]["front_points"])
    inside = (np.abs(points[:, 0]) < 0.25) & (np.abs(points[:, 1]) < 0.35)
    table = inside & (np.abs(points[:, 2]) < 0.003)
    assert table.sum() > 100
    assert points[inside, 2].min() > -0.005, "nothing is below the table's surface"
    hand = make("push", cameras=[{**camera, "attached": "ee"}]).reset(seed=0)[0]["front_points"]
    assert np.sum(np.abs(hand[:, 2]) < 0.003) > 50


def test_a_goal_dict_keeps_the_goal_out_of_its_pictures():
    """Hindsight changes goals, and could not change a picture."""
    flat, goal = (make("reach", form, cameras=[CAMERA]) for form in ("flat", "goal"))
    moved = [goal.reset(seed=seed)[0] for seed in (0, 1)]
    assert set(moved[0]) == {"observation", "achieved_goal", "desired_goal", "front"}
    assert np.array_equal(moved[0]["front"], moved[1]["front"])
    shown = [flat.reset(seed=seed)[0]["front"] for seed in (0, 1)]
    assert not np.array_equal(*shown)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"cameras": [{"kinds": ["rgb", "depth", "segmentation", "point_cloud"]}, {"name": "hand", "attached": "ee"}]},
        {"cameras": [{"kinds": ["rgb", "depth"]}], "observation_parts": []},
        {"cameras": [{}], "observation_parts": [], "observation": "goal"},
        {"cameras": [{}], "observation_noise": {"camera": 5.0, "lag": 0.01}, "observation_latency": {"camera": 2}},
    ],
)
def test_environments_with_cameras_pass_both_checkers(kwargs):
    env = make("push", **kwargs)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*infinity.*|.*image.*|.*3D.*|.*resize.*")
        if not kwargs.get("observation_noise"):  # it asks for equal episodes of one environment's copies
            gymnasium_check(env, skip_render_check=True)
        sb3_check(env)


def trained(algo, **keys):
    few = {"buffer_size": 100, "learning_starts": 20, "batch_size": 8}
    if algo == "ppo":
        few = {"n_steps": 32, "batch_size": 32, "n_epochs": 1}
    config = Config(algo=algo, task_type="push", num_envs=2, algo_kwargs=few, **keys)
    load_plugins()
    config.check()
    algo_class, policy, kwargs = implemented_combos[algo]["pytorch"]
    env = make_vec_env(config, "train", config.num_envs)
    model = make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)
    model.learn(64)
    env.close()
    return model


def test_ppo_learns_from_pictures_alone():
    camera = {"name": "front", "kinds": ["rgb", "depth"], "width": 40, "height": 36}
    model = trained("ppo", observation={"parts": [], "cameras": [camera]})
    assert type(model.policy).__name__ == "ActorCriticCnnPolicy"
    assert model.observation_space.shape == (4, 36, 40), "channels first, as torch wants them"
    assert model.num_timesteps == 64


@pytest.mark.parametrize("algo", ["sac", "her"])
def test_sac_learns_from_state_and_pictures_with_and_without_hindsight(algo):
    camera = {"name": "front", "width": 36, "height": 36}
    model = trained(algo, observation={"cameras": [camera]})
    assert type(model.policy).__name__ == "MultiInputPolicy"
    assert model.observation_space["front"].shape == (3, 36, 36)
    assert model.replay_buffer.observations["front"].dtype == np.uint8


# ------------------------------------------------------------------------------------------------ noise and latency


def test_noise_has_the_deviation_that_was_asked_for_and_spares_the_truth():
    parts, clean = ["object_position", "ee_position"], make(observation_parts=["object_position", "ee_position"])
    noisy = make(observation_parts=parts, observation_noise={"object_position": 0.005}, reward="dense")
    errors = []
    for seed in range(12):
        for truth, seen in zip(played(clean, seed, 40), played(noisy, seed, 40), strict=True):
            assert np.array_equal(truth[3:], seen[3:])
            errors.append((seen - truth)[:3] * 0.25)
    assert np.std(errors, axis=0) == pytest.approx(0.005, rel=0.15)
    assert np.mean(errors, axis=0) == pytest.approx(0.0, abs=0.001)
    assert np.array_equal(noisy.now.achieved_goal, clean.now.achieved_goal)


def test_noise_is_the_same_for_the_same_seed_whatever_happened_before():
    noise = {"object_position": 0.01, "camera": 8.0}
    env, fresh = (make(observation_noise=noise, cameras=[SMALL]) for _ in range(2))
    played(env, 7, 3)
    for one, other in zip(played(env, 4), played(fresh, 4), strict=True):
        assert all(np.array_equal(one[name], other[name]) for name in one)
    again = played(env, 5)
    assert not np.array_equal(again[0]["state"], played(env, 4)[0]["state"])


def test_noise_leaves_the_layouts_of_unseeded_episodes_alone():
    noisy, clean = make(observation_noise={"lag": 0.1}), make()
    for env in (noisy, clean):
        env.reset(seed=3)
        env.reset()
    assert np.array_equal(noisy.now.goal, clean.now.goal)


def test_latency_counts_control_steps():
    clean, late = make(), make(observation_latency={"object_position": 3, "to_goal": 1})
    truth, seen = played(clean, 2, 20), played(late, 2, 20)
    layout = clean.observation.layout(clean.now)
    start = dict(zip(layout, np.cumsum([0, *layout.values()]), strict=False))
    for name, delay in (("object_position", 3), ("to_goal", 1), ("ee_position", 0)):
        part = slice(start[name], start[name] + 3)
        for step in range(21):
            assert np.array_equal(seen[step][part], truth[max(0, step - delay)][part]), (name, step)


def test_latency_of_pictures_counts_control_steps():
    clean, late = make(cameras=[SMALL]), make(cameras=[SMALL], observation_latency={"camera": 2})
    truth, seen = played(clean, 2, 10), played(late, 2, 10)
    for step in range(11):
        assert np.array_equal(seen[step]["camera"], truth[max(0, step - 2)]["camera"])


def test_a_state_brings_back_noise_and_what_is_late():
    kwargs = {
        "cameras": [SMALL],
        "observation_noise": {"object_position": 0.01, "camera": 4.0},
        "observation_latency": {"object_position": 2, "camera": 3},
    }
    env, other = make(**kwargs), make(**kwargs)
    played(env, 6, 9)
    state = env.get_state()
    other.set_state(state)
    for _ in range(6):
        action = env.expert_action()
        one, two = env.step(action)[0], other.step(action)[0]
        assert all(np.array_equal(one[name], two[name]) for name in one)


def test_noise_of_pictures_stays_within_their_levels():
    clean, noisy = make(cameras=[SMALL]), make(cameras=[SMALL], observation_noise={"camera": 20.0})
    truth, seen = (env.reset(seed=0)[0]["camera"].astype(int) for env in (clean, noisy))
    middle = (truth > 80) & (truth < 175)
    assert np.std((seen - truth)[middle]) == pytest.approx(20, rel=0.15)
    assert seen.max() == 255


def test_the_example_of_the_documentation_runs():
    text = (Path(armature.__path__[-1]) / "docs" / "environments.md").read_text(encoding="utf-8")
    (example,) = re.findall(r'```json\n("observation".*?)```', text, re.DOTALL)
    config = Config(task_type="push", **json.loads(f"{{{example}}}"))
    load_plugins()
    config.check()
    env = make_vec_env(config, "train", 1)
    assert set(env.reset()) == {"state", "front", "hand", "hand_points"}
    env.close()
