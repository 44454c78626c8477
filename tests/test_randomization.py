"""What `randomize` draws for every episode: samplers, what they change, what they leave alone."""

import json
from statistics import NormalDist

import gymnasium
import numpy as np
import pybullet as p
import pytest

from armature.config import Config
from armature.envs.look import Look, rotation
from armature.envs.randomization import Quantity, check
from armature.envs.samplers import Limits, sampler
from armature.errors import ConfigError, UnknownNameError
from armature.plugins import load_plugins
from armature.registry import quantities
from tests.robot_envs import share_solved

EVERYTHING = {
    "object_size": {"uniform": [0.8, 1.2]},
    "object_position": {"gaussian": {"mean": 0, "std": 0.01, "low": -0.02, "high": 0.02}},
    "object_rotation": {"uniform": [-0.3, 0.3]},
    "object_mass": {"multirange": [[0.1, 0.15], [0.25, 0.3]]},
    "object_friction": {"uniform": [0.6, 1.2]},
    "object_damping": {"uniform": [0, 0.2]},
    "object_color": {"uniform": [0, 1]},
    "robot_color": {"uniform": [[0.5, 0, 0], [1, 0.2, 0.2]]},
    "workspace_color": {"constant": [0.2, 0.4, 0.6]},
    "motor_strength": {"uniform": [0.7, 1.1]},
    "joint_damping": {"uniform": [0, 1]},
    "gravity": {"gaussian": {"mean": 9.81, "std": 0.1}},
    "light_direction": {"uniform": [[-1, -1, 1], [1, 1, 2]]},
    "light_intensity": {"uniform": [0.7, 1.2]},
    "camera_position": {"uniform": [-0.05, 0.05]},
    "camera_rotation": {"uniform": [-0.05, 0.05]},
}


def make(task="pick_and_place", **kwargs):
    kwargs = {"observation": "flat", **kwargs}
    return gymnasium.make("armature/RobotEnv-v1", task=task, disable_env_checker=True, **kwargs).unwrapped


def play(env, seed, steps=25):
    """Return what an episode shows, its actions partly the expert's."""
    rng = np.random.default_rng(0)
    observation, info = env.reset(seed=seed)
    seen = [observation]
    for step in range(steps):
        noise = rng.uniform(-1, 1, env.action_space.shape)
        observation, *_ = env.step(env.expert_action() if step % 3 else noise)
        seen += [observation, env.now.robot.joint_velocities]
    return np.concatenate(seen), info["randomization"]


def drawn(given, size=1, low=-100, high=100, count=4000):
    shares = np.random.default_rng(0).random((count, size))
    return sampler(given, Limits("randomize.x", size, low, high)).at(shares)


# ------------------------------------------------------------------------------------------------ samplers


def test_a_constant_is_always_the_same():
    assert np.all(drawn({"constant": 3}) == 3)


def test_a_uniform_sampler_fills_its_range_evenly():
    values = drawn({"uniform": [2, 4]})
    assert values.min() == pytest.approx(2, abs=0.01)
    assert values.max() == pytest.approx(4, abs=0.01)
    assert values.mean() == pytest.approx(3, abs=0.05)


def test_each_of_several_ranges_is_as_likely_and_nothing_lies_between():
    values = drawn({"multirange": [[0, 1], [5, 5.1], [8, 9]]})
    shares = [np.mean((values >= low) & (values <= high)) for low, high in ([0, 1], [5, 5.1], [8, 9])]
    assert sum(shares) == 1
    assert np.allclose(shares, 1 / 3, atol=0.03)


def test_a_gaussian_has_its_moments_and_keeps_its_cuts():
    values = drawn({"gaussian": {"mean": 1.0, "std": 0.5}})
    assert values.mean() == pytest.approx(1, abs=0.03)
    assert values.std() == pytest.approx(0.5, abs=0.03)
    cut = drawn({"gaussian": {"mean": 1.0, "std": 0.5, "low": 1.0}}, high=1.4)
    assert cut.min() >= 1.0
    assert cut.max() <= 1.4
    expected = NormalDist(1, 0.5).inv_cdf((0.5 + NormalDist(1, 0.5).cdf(1.4)) / 2)
    assert np.median(cut) == pytest.approx(expected, abs=0.01), "cut off, not heaped up at the ends"


def test_numbers_may_differ_by_component():
    values = drawn({"uniform": [[0, 10], [1, 20]]}, size=2)
    assert np.all((values[:, 0] <= 1) & (values[:, 1] >= 10))


@pytest.mark.parametrize(
    ("config", "error", "words"),
    [
        ({"object_mas": {"constant": 1}}, UnknownNameError, "did you mean 'object_mass'"),
        ({"object_mass": {"unifrom": [1, 2]}}, UnknownNameError, "did you mean 'uniform'"),
        ({"object_mass": 0.3}, ConfigError, r"randomize.object_mass is 0.3; expected an object with one of constant"),
        ({"object_mass": {"uniform": [1, 2], "constant": 1}}, ConfigError, "expected an object with one of"),
        ({"object_mass": {"uniform": [2, 1]}}, ConfigError, "in this order"),
        ({"object_mass": {"uniform": [1, 2, 3]}}, ConfigError, r"expected \[low, high\]"),
        ({"object_mass": {"uniform": ["1", 2]}}, ConfigError, "randomize.object_mass: range is '1'; expected a finite"),
        ({"object_mass": {"uniform": [True, 2]}}, ConfigError, "range is True"),
        ({"object_mass": {"constant": float("nan")}}, ConfigError, "constant is nan"),
        ({"object_mass": {"constant": -1}}, ConfigError, "expected between 0.001 and 100"),
        ({"object_color": {"constant": [1, 1]}}, ConfigError, "a list of 3 of them"),
        ({"object_mass": {"multirange": []}}, ConfigError, r"expected \[\[low, high\], ...\]"),
        ({"object_mass": {"gaussian": [1, 2]}}, ConfigError, '"mean" and "std"'),
        ({"object_mass": {"gaussian": {"mean": 1, "std": 0}}}, ConfigError, "above 0"),
        ({"object_mass": {"gaussian": {"mean": 1, "std": 1, "hihg": 2}}}, UnknownNameError, "did you mean 'high'"),
        ({"object_mass": {"gaussian": {"mean": -90, "std": 1}}}, ConfigError, "expected a mean near"),
        ({"gravity": {"gaussian": {"mean": 9, "std": 1, "low": 10, "high": 9}}}, ConfigError, "expected a mean near"),
    ],
)
def test_a_wrong_sampler_is_named_with_what_is_allowed(config, error, words):
    with pytest.raises(error, match=words):
        check(config)
    load_plugins()
    with pytest.raises(ConfigError):
        Config(randomize=config).check()


def test_a_task_without_objects_says_so():
    with pytest.raises(ConfigError, match=r"randomize.object_mass: this task has no objects"):
        make("reach", randomize={"object_mass": {"constant": 1}})


# ------------------------------------------------------------------------------------------------ episodes


def test_drawn_values_depend_on_the_seed_alone():
    """A lived-in world gives the same episode as a new one, bit for bit, whatever was randomised before."""
    lived_in = make(randomize=EVERYTHING)
    for seed in range(4):
        play(lived_in, 100 + seed, 10)
        fresh = make(randomize=EVERYTHING)
        (seen, values), (again, others) = play(lived_in, seed), play(fresh, seed)
        assert values == others
        assert np.array_equal(seen, again)
        fresh.close()


def test_pictures_do_not_change_what_is_drawn_or_done():
    blind, seeing = make(randomize=EVERYTHING), make(randomize=EVERYTHING, render_mode="rgb_array")
    (seen, values), (again, others) = play(blind, 3, 10), play(seeing, 3, 10)
    assert values == others
    assert np.array_equal(seen, again)


def test_every_value_is_told_at_the_reset_and_at_the_last_step():
    env = make(randomize=EVERYTHING, episode_steps=3)
    told = [env.reset(seed=seed)[1]["randomization"] for seed in (0, 1)]
    assert list(told[0]) == list(EVERYTHING)
    assert json.loads(json.dumps(told)) == told
    assert told[0]["workspace_color"] == told[1]["workspace_color"] == [0.2, 0.4, 0.6]
    assert told[0]["object_mass"] != told[1]["object_mass"]
    infos = [env.step(np.zeros(env.action_space.shape))[4] for _ in range(3)]
    assert ["randomization" in info for info in infos] == [False, False, True]
    assert infos[-1]["randomization"] == told[1]


def test_an_episode_without_randomisation_is_the_one_it_always_was():
    """Nothing more is taken from the generator unless it is asked for, and then only after the task's own draw."""
    plain, other = make(), make(randomize={"gravity": {"uniform": [9, 10]}})
    observation, info = plain.reset(seed=5)
    assert "randomization" not in info
    assert np.array_equal(observation, other.reset(seed=5)[0])
    assert np.array_equal(plain.goal, other.goal)
    expected = np.random.default_rng(5)
    plain.task.draw(expected)
    assert plain.np_random.bit_generator.state == expected.bit_generator.state


def test_experts_still_solve_randomised_episodes():
    env = make(randomize={name: EVERYTHING[name] for name in ("object_mass", "object_friction", "gravity")})
    assert share_solved(env, 10) >= 0.9


# ------------------------------------------------------------------------------------------------ what changes


def dynamics(env, body):
    return p.getDynamicsInfo(body, -1, physicsClientId=env.simulation.client)


def test_mass_and_friction_reach_the_engine():
    env = make(randomize={"object_mass": EVERYTHING["object_mass"], "object_friction": EVERYTHING["object_friction"]})
    for seed in range(5):
        values = env.reset(seed=seed)[1]["randomization"]
        (block,) = env.bodies.objects
        assert dynamics(env, block)[:2] == (values["object_mass"][0], values["object_friction"][0])
        assert dynamics(env, block)[2][0] == pytest.approx(values["object_mass"][0] * 0.04**2 / 6)


def test_sizes_come_from_a_fixed_set_and_stand_on_the_table(monkeypatch):
    env = make(randomize={"object_size": {"uniform": [0.5, 1.5]}})
    bodies = p.getNumBodies(physicsClientId=env.simulation.client)
    monkeypatch.setattr(p, "createCollisionShape", lambda *_, **__: pytest.fail("an episode created a shape"))
    factors = set()
    for seed in range(30):
        (factor,) = env.reset(seed=seed)[1]["randomization"]["object_size"]
        factors.add(factor)
        assert env.now.objects[0].position[2] == pytest.approx(0.02 * factor)
        low, high = p.getAABB(env.bodies.objects[0], -1, physicsClientId=env.simulation.client)
        assert high[2] - low[2] == pytest.approx(0.04 * factor)
        assert dynamics(env, env.bodies.objects[0])[0] == 0.2, "the mass stays"
        env.step(np.zeros(env.action_space.shape))
        assert env.now.objects[0].position[2] == pytest.approx(0.02 * factor, abs=1e-3), "it stays where it stands"
    assert len(factors) == 8
    assert p.getNumBodies(physicsClientId=env.simulation.client) == bodies


@pytest.mark.parametrize("name", ["sphere_small.urdf", "duck_vhacd.urdf", "lego/lego.urdf"])
def test_objects_of_other_shapes_are_resized_about_their_centre(name):
    env = make("reach", render_mode="rgb_array")
    simulation, client = env.simulation, env.simulation.client
    body = simulation.load_urdf(name, (0, 0, 1), fixed=False)
    copy = simulation.add_scaled(body, 2.0)
    edges = []
    for each in (body, copy):
        simulation.place(each, (0, 0, 1))
        low, high = (np.array(corner) - (0, 0, 1) for corner in p.getAABB(each, -1, physicsClientId=client))
        edges.append(np.concatenate([low, high]))
    assert np.allclose(edges[1], 2 * edges[0], atol=0.007)  # hulls have margins that stay
    assert (
        p.getDynamicsInfo(copy, -1, physicsClientId=client)[0] == p.getDynamicsInfo(body, -1, physicsClientId=client)[0]
    )


def test_an_object_of_several_shapes_cannot_be_resized():
    simulation = make("reach").simulation
    with pytest.raises(ConfigError, match=r"randomize.object_size: an object consists of \d+ shapes"):
        simulation.add_scaled(simulation.load_urdf("tray/traybox.urdf", (0, 0, 1)), 2.0)


def test_objects_are_moved_and_turned_from_where_the_task_has_placed_them():
    plain = make("push")
    moved = make(
        "push", randomize={"object_position": {"constant": [0.01, -0.02]}, "object_rotation": {"constant": 0.5}}
    )
    plain.reset(seed=2)
    moved.reset(seed=2)
    was, now = plain.now.objects[0], moved.now.objects[0]
    assert np.allclose(now.position - was.position, (0.01, -0.02, 0), atol=1e-9)
    assert np.allclose(now.quaternion, (0, 0, np.sin(0.25), np.cos(0.25)))


def test_gravity_and_damping_change_a_fall():
    heights = {}
    for name, config in {
        "usual": {"gravity": {"constant": 9.81}},
        "none": {"gravity": {"constant": 0.0}},
        "damped": {"object_damping": {"constant": 1.0}},
    }.items():
        env = make("push", randomize=config)
        env.reset(seed=0)
        env.simulation.place(env.bodies.objects[0], (0, 0, 1))
        for _ in range(5):
            env.step(np.zeros(3))
        heights[name] = env.now.objects[0].position[2]
    assert heights["none"] == pytest.approx(1)
    assert heights["usual"] < heights["damped"] < 0.99


def test_weak_motors_cannot_hold_the_arm():
    """Each episode has its own strength, and full strength comes back."""
    env = make(
        "reach", randomize={"motor_strength": {"multirange": [[0.01, 0.01], [1, 1]]}}, robot_action="joint_delta"
    )
    sag = {}
    for seed in range(8):
        strength = env.reset(seed=seed)[1]["randomization"]["motor_strength"]
        for _ in range(10):
            env.step(np.zeros(7))
        sag.setdefault(strength, []).append(env.now.robot.joint_positions - env.robot.rest_pose)
    assert np.abs(sag[1.0]).max() < 0.005
    assert np.abs(sag[0.01]).max(axis=1).min() > 0.05


def test_damped_joints_give_way_slowly():
    env = make(
        "reach",
        randomize={"motor_strength": {"constant": 0.01}, "joint_damping": {"multirange": [[0, 0], [1, 1]]}},
        substeps=10,
    )
    sag = {0.0: [], 1.0: []}
    for seed in range(8):
        damping = env.reset(seed=seed)[1]["randomization"]["joint_damping"]
        env.step(np.zeros(3))
        sag[damping].append(np.abs(env.now.robot.joint_positions - env.robot.rest_pose)[5])
    assert max(sag[1.0]) < 0.7 * min(sag[0.0])


LOOKS = (
    *("object_color", "robot_color", "workspace_color", "light_direction"),
    *("light_intensity", "camera_position", "camera_rotation"),
)


@pytest.mark.parametrize("name", LOOKS)
def test_colours_light_and_cameras_change_pictures_and_come_back_with_the_seed(name):
    given = {"uniform": [0, 1]} if name == "workspace_color" else EVERYTHING[name]
    env = make("push", randomize={name: given}, render_mode="rgb_array")
    env.camera.width, env.camera.height = 120, 90
    shots = []
    for seed in (0, 1, 0):
        env.reset(seed=seed)
        env.simulation.place(env.bodies.objects[0], (0, 0, 0.02))
        env.now.goal[:] = 0.3  # object and goal stand still, so that nothing else differs
        shots.append(env.render())
    assert np.array_equal(shots[0], shots[2])
    assert np.any(shots[0] != shots[1])
    env.close()


def test_a_camera_moves_and_turns_in_its_own_frame():
    at_origin = np.eye(4).ravel().tolist()
    moved = np.reshape(Look(camera_position=(1, 2, 3)).view(at_origin), (4, 4)).T
    assert np.allclose(moved @ (1, 2, 3, 1), (0, 0, 0, 1)), "the camera's own place is its origin"
    turned = np.reshape(Look(camera_rotation=(0, np.pi / 2, 0)).view(at_origin), (4, 4)).T
    assert np.allclose(turned @ (-1, 0, 0, 1), (0, 0, -1, 1)), "turned left, it looks along -x"
    assert np.allclose(rotation((0, 0, np.pi / 2)) @ (1, 0, 0), (0, 1, 0))
    assert Look().view(at_origin) == at_origin


# ------------------------------------------------------------------------------------------------ extending


def test_a_plugin_adds_a_quantity(monkeypatch):
    class ObjectRestitution(Quantity):
        of_objects, limits = True, (0.0, 1.0)

        def apply(self, values):
            for body, (value,) in zip(self.env.bodies.objects, values, strict=True):
                self.env.simulation.set_dynamics(body, restitution=value)

    monkeypatch.setitem(quantities, "object_restitution", ObjectRestitution)
    env = make(randomize={"object_restitution": {"uniform": [0.2, 0.9]}})
    (value,) = env.reset(seed=1)[1]["randomization"]["object_restitution"]
    assert dynamics(env, env.bodies.objects[0])[5] == value


def test_the_key_reaches_the_environment():
    load_plugins()
    from armature.vec import make_env

    config = Config(task_type="push", randomize={"object_mass": {"constant": 0.5}})
    config.check()
    env = make_env(config, "train", 0)
    assert env.reset()[1]["randomization"] == {"object_mass": [0.5]}
    env.close()
