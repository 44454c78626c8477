import pickle
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise, VectorizedActionNoise

import armature.myalgos  # noqa: F401 - registers its rows
from armature.argument_checks import check_algo_kwargs, check_policy_kwargs
from armature.arguments import ACTIVATIONS, activation, build_kwargs, build_policy_kwargs
from armature.combos import implemented_combos
from armature.doors import is_sb3
from armature.errors import ConfigError, UnknownNameError
from armature.hyperparameters import hyperparameters
from armature.registry import resolve

INSTALLED = {
    algo: rows["pytorch"]
    for algo, rows in implemented_combos.items()
    if "pytorch" in rows and is_sb3(resolve(rows["pytorch"].algo_class))  # agents have parameters of their own
}


class Mine(stable_baselines3.PPO):
    """PPO and one argument.

    :param patience: updates without progress
        before it stops
    """

    def __init__(self, *args, patience: "int" = 3, **kwargs):
        super().__init__(*args, **kwargs)


class Anything:
    """An algorithm that takes whatever it is given."""

    def __init__(self, policy, env, known: int = 1, **kwargs):
        pass


def envs(count: int, space: gymnasium.Space | None = None) -> SimpleNamespace:
    return SimpleNamespace(num_envs=count, action_space=space or gymnasium.spaces.Box(-1, 1, (4,)))


# ------------------------------------------------------------------------------------------------ what there is


@pytest.mark.parametrize("algo", INSTALLED)
def test_hyperparameters_are_read_from_the_class(algo):
    """Each has a type, a default and a meaning; what the run sets is left out."""
    found = hyperparameters(resolve(INSTALLED[algo].algo_class))
    assert "learning_rate" in found
    assert not {"policy", "env", "seed", "device", "policy_kwargs", "verbose", "tensorboard_log"} & set(found)
    for name, item in found.items():
        assert item.type != "any"
        assert item.meaning or name == "policy_delay", f"{name} has no meaning"


def test_arguments_of_base_classes_count():
    """A class that passes **kwargs on has its bases' arguments too, with their meanings."""
    found = hyperparameters(Mine)
    assert (found["patience"].type, found["patience"].default) == ("int", 3)
    assert found["patience"].meaning == "updates without progress before it stops"
    assert found["n_steps"].default == 2048
    assert found["clip_range"].meaning.startswith("Clipping parameter")


# ------------------------------------------------------------------------------------------------ what is right


@pytest.mark.parametrize("algo", INSTALLED)
def test_our_own_rows_are_right(algo):
    """Every row's arguments pass the checks that a config's pass."""
    row, cls = INSTALLED[algo], resolve(INSTALLED[algo].algo_class)
    check_algo_kwargs(cls, {name: value for name, value in row.kwargs.items() if name != "policy_kwargs"})
    check_policy_kwargs(cls, row.policy, row.kwargs.get("policy_kwargs", {}))


@pytest.mark.parametrize(
    "values",
    [
        {"learning_rate": 1},
        {"learning_rate": {"schedule": "linear", "start": 1e-3, "end": 0}},
        {"train_freq": 4},
        {"train_freq": [2, "episode"]},
        {"gradient_steps": -1},
        {"ent_coef": "auto_0.1"},
        {"ent_coef": 0.2},
        {"action_noise": None},
        {"action_noise": {"type": "ornstein-uhlenbeck", "std": 0.1}},
        {"replay_buffer_kwargs": {"n_sampled_goal": 4}},
        {"replay_buffer_class": "my_package.buffers:Buffer"},
    ],
)
def test_right_arguments_pass(values):
    """What SAC takes, in JSON."""
    check_algo_kwargs(stable_baselines3.SAC, values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lerning_rate": 1}, ["algo_kwargs.lerning_rate", "'learning_rate'"]),
        ({"learning_rate": "fast"}, ["algo_kwargs.learning_rate", '"fast"', "float | schedule"]),
        ({"learning_rate": True}, ["algo_kwargs.learning_rate", "true"]),
        ({"learning_rate": -1}, ["algo_kwargs.learning_rate", "-1", "from 0"]),
        ({"learning_rate": float("nan")}, ["algo_kwargs.learning_rate", "NaN", "finite"]),
        ({"learning_rate": {"schedule": "cosine", "start": 1, "end": 0}}, ["learning_rate", '"linear"']),
        ({"learning_rate": {"schedule": "linear", "start": 1}}, ["learning_rate", '"end"']),
        ({"learning_rate": {"schedule": "linear", "start": 1, "end": "0"}}, ["learning_rate.end", '"0"']),
        ({"gamma": {"schedule": "linear", "start": 1, "end": 0}}, ["algo_kwargs.gamma", "allowed: float"]),
        ({"batch_size": 0}, ["algo_kwargs.batch_size", "0", "from 1"]),
        ({"batch_size": 2.5}, ["algo_kwargs.batch_size", "2.5", "int"]),
        ({"buffer_size": 10**12}, ["algo_kwargs.buffer_size", "100,000,000"]),
        ({"gamma": 1.1}, ["algo_kwargs.gamma", "from 0 to 1"]),
        ({"use_sde": 1}, ["algo_kwargs.use_sde", "bool"]),
        ({"train_freq": [1, "day"]}, ["algo_kwargs.train_freq", '"episode"']),
        ({"train_freq": [1]}, ["algo_kwargs.train_freq", "[int, str]"]),
        ({"action_noise": {"type": "pink", "std": 1}}, ["algo_kwargs.action_noise", "normal"]),
        ({"action_noise": {"type": "normal", "std": -1}}, ["algo_kwargs.action_noise.std", "-1"]),
        ({"replay_buffer_class": 3}, ["algo_kwargs.replay_buffer_class", "class"]),
        ({"seed": 1}, ["algo_kwargs.seed", 'the key "seed"']),
        ({"policy_kwargs": {}}, ["algo_kwargs.policy_kwargs", 'the key "policy_kwargs"']),
    ],
)
def test_wrong_arguments_are_refused(values, words):
    """Each with its path, what was given and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        check_algo_kwargs(stable_baselines3.SAC, values)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_class_that_takes_anything_is_trusted():
    """Unknown names pass where **kwargs ends; known ones are checked all the same."""
    check_algo_kwargs(Anything, {"whatever": object()})
    with pytest.raises(ConfigError, match="known"):
        check_algo_kwargs(Anything, {"known": "text"})


def test_annotations_that_are_text_are_understood():
    """Modules with postponed annotations are checked too."""
    check_algo_kwargs(Mine, {"patience": 4})
    with pytest.raises(ConfigError, match=r"algo_kwargs\.patience"):
        check_algo_kwargs(Mine, {"patience": "long"})


@pytest.mark.parametrize("policy", [None, "MlpPolicy", "stable_baselines3.sac.policies:SACPolicy"])
def test_policy_arguments_are_checked(policy):
    """By the class that the policy's name or address means; by all of the algorithm's where none is given."""
    check_policy_kwargs(stable_baselines3.SAC, policy, {"net_arch": {"pi": [8], "qf": [8, 8]}, "activation_fn": "relu"})
    for name, value in (("net_arc", [8]), ("net_arch", [8, "8"]), ("net_arch", {"pi": [-8]}), ("n_critics", "two")):
        with pytest.raises(ConfigError, match=rf"policy_kwargs\.{name}"):
            check_policy_kwargs(stable_baselines3.SAC, policy, {name: value})


def test_an_unknown_policy_is_named():
    """With the closest name, and the way to bring one's own."""
    with pytest.raises(UnknownNameError, match=r"'MlpPolicy'.*address"):
        check_policy_kwargs(stable_baselines3.SAC, "MlpPolic", {})


# ------------------------------------------------------------------------------------------------ JSON made Python


def test_a_schedule_runs_from_start_to_end():
    """It is called with the remaining progress, from 1 to 0, and can be pickled."""
    built = build_kwargs({"learning_rate": {"schedule": "linear", "start": 1e-3, "end": 1e-4}})["learning_rate"]
    schedule = pickle.loads(pickle.dumps(built))
    assert [schedule(progress) for progress in (1.0, 0.5, 0.0)] == pytest.approx([1e-3, 5.5e-4, 1e-4])


def test_a_unit_makes_a_tuple():
    """SB3 wants a tuple for train_freq."""
    assert build_kwargs({"train_freq": [4, "step"], "gamma": 1}) == {"train_freq": (4, "step"), "gamma": 1}


@pytest.mark.parametrize(
    ("kind", "cls"), [("normal", NormalActionNoise), ("ornstein-uhlenbeck", OrnsteinUhlenbeckActionNoise)]
)
def test_noise_fits_the_actions(kind, cls):
    """One noise for one environment, one for each of several."""
    values = {"action_noise": {"type": kind, "std": 0.1}}
    single = build_kwargs(values, envs(1))["action_noise"]
    assert isinstance(single, cls)
    assert single().shape == (4,)
    several = build_kwargs(values, envs(3))["action_noise"]
    assert isinstance(several, VectorizedActionNoise)
    assert several().shape == (3, 4)
    samples = np.stack([build_kwargs(values, envs(1))["action_noise"]() for _ in range(500)])
    assert 0 < samples.std() < 0.2


def test_noise_needs_actions_that_are_numbers():
    """Discrete actions have none."""
    with pytest.raises(ConfigError, match="action_noise"):
        build_kwargs({"action_noise": {"type": "normal", "std": 0.1}}, envs(1, gymnasium.spaces.Discrete(3)))


@pytest.mark.parametrize("name", ACTIVATIONS["pytorch"])
def test_activations_have_short_names(name):
    """Each is a torch module."""
    assert issubclass(activation(name), torch.nn.Module)


def test_addresses_become_classes():
    """Arguments named *_class and *_fn are addresses; others keep their text."""
    built = build_policy_kwargs({"optimizer_class": "torch.optim:AdamW", "activation_fn": "torch.nn:Mish", "x": "a:b"})
    assert built == {"optimizer_class": torch.optim.AdamW, "activation_fn": torch.nn.Mish, "x": "a:b"}


def test_an_unknown_activation_is_named():
    """With the closest name."""
    with pytest.raises(UnknownNameError, match=r"activation_fn.*'relu'"):
        build_policy_kwargs({"activation_fn": "rleu"})
