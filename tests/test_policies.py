"""Policies by name, address and class: what is chosen, what fits, what is refused, and how a model finds its own."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO, CrossQ, RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy

import armature
from armature import policies
from armature.argument_checks import check_arguments, check_policy_kwargs
from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.errors import ConfigError, PluginError, RunError, UnknownNameError
from armature.making import make_model
from armature.models import load_model, load_pretrained, save_model
from armature.plugins import load_plugins
from armature.policies import find_policy, policies_of, register_policy, require_findable
from armature.vec import SpacesOnly, make_vec_env

ROOT = Path(armature.__file__).parent.parent
VECTOR, MOVE, CHOICE = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,)), spaces.Discrete(4)
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)

POLICY = """
from stable_baselines3.common.policies import ActorCriticPolicy

class CustomPolicy(ActorCriticPolicy):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, net_arch={"pi": [8, 8], "vf": [4]}, **kwargs)

class Other(ActorCriticPolicy):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, net_arch={"pi": [8, 8], "vf": [5]}, **kwargs)
"""


class CustomPolicy(ActorCriticPolicy):
    """Three layers of 128 for each head."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, net_arch={"pi": [128] * 3, "vf": [128] * 3}, **kwargs)


class Mine(SACPolicy):
    """A policy of SAC."""


class Recurrent(RecurrentActorCriticPolicy):
    """A policy with a state."""


@pytest.fixture
def names():
    """Forget what a test registered."""
    policies_of(PPO)
    before = {cls: dict(cls.policy_aliases) for cls in policies._algorithms()}
    registered = list(policies._registered)
    yield
    for cls in policies._algorithms():
        kept = before.get(cls, {})
        cls.policy_aliases.clear()
        cls.policy_aliases.update(kept)
    policies._registered[:] = registered


@pytest.fixture
def file(tmp_path):
    """A file with a policy of one's own."""
    path = tmp_path / "my_policy.py"
    path.write_text(POLICY)
    return path


def build(config):
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    env = make_vec_env(config, "train", config.num_envs)
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)


def shapes(policy):
    return {name: tuple(value.shape) for name, value in policy.state_dict().items()}


def same_actions(first, second, n=100):
    space = first.observation_space
    space.seed(0)
    seen = [space.sample() for _ in range(n)]
    return all(
        np.array_equal(first.predict(s, deterministic=True)[0], second.predict(s, deterministic=True)[0]) for s in seen
    )


# ---------------------------------------------------------------------------------------------- policy_kwargs


@pytest.mark.parametrize("name", ["tanh", "torch.nn:Tanh"])
def test_b2_layers_and_activation_come_from_json(make_config, name):
    model = build(make_config(policy_kwargs={"activation_fn": name, "net_arch": [32, 32]}))
    net = model.policy.mlp_extractor.policy_net
    assert [type(layer) for layer in net] == [torch.nn.Linear, torch.nn.Tanh] * 2
    assert [net[0].out_features, net[2].out_features] == [32, 32]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"act_fun": "tanh"}, ["policy_kwargs.act_fun", "activation_fn"]),
        ({"layers": [64]}, ["policy_kwargs.layers", "net_arch"]),
        ({"feature_extraction": "cnn"}, ["feature_extraction", "CnnPolicy"]),
        ({"cnn_extractor": "f"}, ["cnn_extractor", "features_extractor_class"]),
        ({"n_lstm": 64}, ["n_lstm", "lstm_hidden_size"]),
        ({"layer_norm": True}, ["policy_kwargs.layer_norm", "unknown argument"]),
    ],
)
def test_b2_b7_old_names_are_answered_with_the_new_ones(make_config, values, words):
    algo = "ppo_lstm" if words[-1] == "lstm_hidden_size" else "ppo"
    with pytest.raises(ConfigError) as caught:
        check_arguments(make_config(algo, policy_kwargs=values))
    assert all(word in str(caught.value) for word in words), caught.value


def test_b3_every_nested_key_is_a_flag():
    config = Config.load(None, {"algo": "ppo", "policy_kwargs.net_arch": [64, {"pi": [8]}], "policy_kwargs.n": 1})
    assert config.policy_kwargs == {"net_arch": [64, {"pi": [8]}], "n": 1}


def test_b4_b8_b9_the_environment_comes_back_and_learning_returns_the_model():
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=32, batch_size=32, device="cpu").learn(32)
    assert isinstance(model, PPO)
    assert model.get_env().num_envs == 1
    assert model.get_env().reset().shape == (1, 4)


def test_b5_policy_kwargs_come_back_with_the_model(make_config, train):
    """Layers, activation and shared layers, from the folder alone."""
    config = make_config(policy_kwargs={"net_arch": [16, {"vf": [8]}], "activation_fn": "torch.nn:ELU"})
    session = train(config)
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert type(loaded.model.policy).__name__ == "SharedMlpPolicy"
    assert loaded.model.policy.activation_fn is torch.nn.ELU
    assert same_actions(session.model, loaded.model)


def test_b6_other_policy_kwargs_do_not_take_a_models_weights(make_config, tmp_path):
    config = make_config(policy_kwargs={"net_arch": [16]})
    folder = save_model(build(config), tmp_path / "model", config)
    other = build(make_config(policy_kwargs={"net_arch": [24]}))
    before = {name: value.clone() for name, value in other.policy.state_dict().items()}
    with pytest.raises(RunError) as caught:
        load_pretrained(other, folder)
    assert all(word in str(caught.value) for word in ('{"net_arch": [16]}', "'net_arch': [24]", "(16, 4)", "(24, 4)"))
    assert all(torch.equal(value, before[name]) for name, value in other.policy.state_dict().items())


# ---------------------------------------------------------------------------------------------- what is chosen


@pytest.mark.parametrize(
    ("algo", "space", "name"),
    [
        ("ppo", VECTOR, "MlpPolicy"),
        ("ppo", IMAGE, "CnnPolicy"),
        ("ppo", spaces.Dict({"a": VECTOR}), "MultiInputPolicy"),
        ("ppo_lstm", VECTOR, "MlpLstmPolicy"),
        ("ppo_lstm", IMAGE, "CnnLstmPolicy"),
        ("ppo_lstm", spaces.Dict({"a": VECTOR}), "MultiInputLstmPolicy"),
    ],
)
@pytest.mark.parametrize("net_arch", [None, [16, {"vf": [8]}]])
def test_b1_b26_the_observations_choose_and_a_mixed_list_chooses_the_shared_form(algo, space, name, net_arch):
    algorithm = RecurrentPPO if algo == "ppo_lstm" else PPO
    if net_arch and algorithm is RecurrentPPO:
        net_arch = [16, "lstm", {"vf": [8]}]
    env = SpacesOnly(space, MOVE, num_envs=1)
    config = Config(algo=algo, policy_kwargs={"net_arch": net_arch} if net_arch else {}, num_envs=1)
    model = make_model(algorithm, None, {}, env, config)
    assert type(model.policy) is policies_of(algorithm)[f"Shared{name}" if net_arch else name]
    assert model.predict(space.sample())[0].shape == (3,)


@pytest.mark.parametrize(
    ("policy", "space", "fitting"),
    [
        ("CnnPolicy", VECTOR, "Mlp form"),
        ("MultiInputPolicy", VECTOR, "Mlp form"),
        ("MlpPolicy", spaces.Dict({"a": VECTOR}), "MultiInput form"),
        ("SharedMultiInputPolicy", IMAGE, "Cnn or Mlp form"),
    ],
)
def test_a_policy_for_other_observations_is_refused(policy, space, fitting):
    with pytest.raises(ConfigError, match=rf"policy is '{policy}'.*{fitting}"):
        make_model(PPO, None, {}, SpacesOnly(space, MOVE, num_envs=1), Config(algo="ppo", policy=policy, num_envs=1))


def test_b26_a_flat_list_keeps_the_meaning_of_the_policy_that_is_named():
    for named, parameters in ((None, 36_359), ("MlpPolicy", 36_359), ("SharedMlpPolicy", 18_439)):
        config = Config(algo="ppo", policy=named, policy_kwargs={"net_arch": [128, 128]}, num_envs=1)
        model = make_model(PPO, None, {}, SpacesOnly(VECTOR, MOVE, num_envs=1), config)
        assert sum(parameter.numel() for parameter in model.policy.parameters()) == parameters


@pytest.mark.parametrize(
    ("algo", "policy", "net_arch", "words"),
    [
        ("ppo", None, [64, {"qf": [64]}], ["net_arch.1.qf", "pi, vf"]),
        ("ppo", None, [64, {"pi": [64]}, 64], ["net_arch.2", "after the dict"]),
        ("ppo", None, {"pi": [64], "qf": [64]}, ["net_arch.qf", "pi, vf"]),
        ("ppo", None, {"pi": 64}, ["net_arch.pi", "list"]),
        ("ppo", None, [64, True], ["net_arch.1 is true"]),
        ("ppo", None, 64, ["net_arch is 64", '"vf"']),
        ("ppo", None, [8, "lstm"], ['net_arch.1 is "lstm"', "PPO is not recurrent", "ppo_lstm"]),
        ("sac", None, [8, "lstm"], ['net_arch.1 is "lstm"', "SAC is not recurrent"]),
        ("ppo", "SharedMlpPolicy", [8, "lstm"], ['"lstm"', "recurrent"]),
        ("sac", None, [64, {"pi": [64]}], ["SAC cannot share layers", "losses", '"qf"']),
        ("sac", None, [64, {"pi": [64], "qf": [8]}], ["SAC cannot share layers"]),
        ("td3", "MlpPolicy", [{"pi": [64], "qf": [64]}], ["TD3 cannot share layers"]),
        ("sac", None, {"pi": [64], "vf": [64]}, ["net_arch.vf", "pi, qf"]),
        ("sac", None, {"pi": [64]}, ["both pi and qf"]),
        ("dqn", None, {"pi": [64], "qf": [64]}, ["policy_kwargs.net_arch", "list"]),
        ("ppo", "MlpPolice", [8], ["policy of PPO", "SharedMlpPolicy", "address"]),
    ],
)
def test_b18_b29_b30_b38_mistakes_are_told_before_anything_is_built(make_config, algo, policy, net_arch, words):
    with pytest.raises(ConfigError) as caught:
        check_arguments(make_config(algo, policy=policy, policy_kwargs={"net_arch": net_arch}))
    assert all(word in str(caught.value) for word in words), caught.value


def test_b29_a_policy_that_does_not_share_says_so():
    with pytest.raises(ConfigError, match="SAC cannot share layers"):
        check_policy_kwargs(SAC, Mine, {"net_arch": [8, {"pi": [8]}]})

    class Plain(ActorCriticPolicy):
        pass

    with pytest.raises(ConfigError, match=r"Plain.*does not share layers"):
        check_policy_kwargs(PPO, Plain, {"net_arch": [8, {"pi": [8]}]})


def test_a_policy_may_read_net_arch_in_a_way_of_its_own():
    class Own(ActorCriticPolicy):
        def __init__(self, *args, net_arch=None, **kwargs):
            super().__init__(*args, **kwargs)

    check_policy_kwargs(PPO, Own, {"net_arch": ["small", {"heads": 2}]})


# ---------------------------------------------------------------------------------------------- classes and names


def test_b10_a_class_equals_the_same_policy_kwargs():
    def state(policy, **kwargs):
        return PPO(policy, SpacesOnly(VECTOR, MOVE), seed=3, policy_kwargs=kwargs, device="cpu").policy.state_dict()

    named = state(CustomPolicy)
    given = state("MlpPolicy", net_arch={"pi": [128] * 3, "vf": [128] * 3})
    assert list(named) == list(given)
    assert all(torch.equal(named[name], given[name]) for name in named)


def test_b12_b15_a_policy_is_a_class_an_address_or_a_name(names, file):
    register_policy("Custom", CustomPolicy)
    assert find_policy(PPO, CustomPolicy) is find_policy(A2C, "Custom") is find_policy(TRPO, "Custom") is CustomPolicy
    assert find_policy(PPO, "sb3_contrib.trpo.policies:MlpPolicy") is ActorCriticPolicy
    assert find_policy(PPO, f"{file}:CustomPolicy").__name__ == "CustomPolicy"
    for algorithm in (PPO, A2C, TRPO):
        model = algorithm("Custom", "Pendulum-v1", device="cpu")
        assert type(model.policy) is CustomPolicy


def test_b15_a_name_works_in_a_config(names, make_config, train):
    register_policy("Custom", CustomPolicy)
    config = make_config(policy="Custom", policy_kwargs={})
    check_arguments(config)
    assert type(build(config).policy) is CustomPolicy


def test_b15_algorithms_that_come_later_know_the_names(names):
    register_policy("Custom", CustomPolicy)

    class Late(PPO):
        policy_aliases = {"MlpPolicy": ActorCriticPolicy}

    class Inheriting(PPO):
        pass

    assert find_policy(Late, "Custom") is find_policy(Inheriting, "Custom") is CustomPolicy


def test_b16_a_name_is_taken_once(names, file):
    load_plugins([str(file)])
    theirs = find_policy(PPO, f"{file}:CustomPolicy")
    register_policy("CustomPolicy", theirs)
    register_policy("CustomPolicy", theirs)
    with pytest.raises(ConfigError) as caught:
        register_policy("CustomPolicy", CustomPolicy)
    assert str(file) in str(caught.value)
    assert str(Path(__file__)) in str(caught.value)
    assert find_policy(PPO, "CustomPolicy") is theirs


@pytest.mark.parametrize("name", ["MlpPolicy", "CnnPolicy", "MultiInputPolicy", "SharedMlpPolicy"])
def test_b16_names_of_the_libraries_are_taken(names, name):
    with pytest.raises(ConfigError, match=rf"policy '{name}' of \w+ is .*CustomPolicy.* needs another name"):
        register_policy(name, CustomPolicy)
    assert find_policy(PPO, name) is not CustomPolicy


@pytest.mark.parametrize(
    ("thing", "words"), [(int, "no policy"), ("MlpPolicy", "no policy"), (PPO, "no policy"), (lambda: 0, "no policy")]
)
def test_b17_only_policies_are_registered(names, thing, words):
    with pytest.raises(PluginError, match=words):
        register_policy("Thing", thing)
    with pytest.raises(ConfigError, match="cannot be called"):
        register_policy("my policy", CustomPolicy)


def test_b18_a_name_belongs_to_a_kind_of_algorithm(names):
    """The same name may stand for one class in PPO and another in SAC; what is unknown lists what is known there."""
    register_policy("Same", CustomPolicy)
    register_policy("Same", Mine)
    assert find_policy(PPO, "Same") is CustomPolicy
    assert find_policy(SAC, "Same") is Mine
    with pytest.raises(UnknownNameError) as caught:
        find_policy(TD3, "Same")
    assert "policy of TD3 'Same'" in str(caught.value)
    assert {"MlpPolicy", "CnnPolicy", "MultiInputPolicy"} == set(caught.value.known)


@pytest.mark.parametrize(
    ("algorithm", "policy", "words"),
    [
        (PPO, Mine, ["Mine", "PPO", "ActorCriticPolicy", "MlpPolicy"]),
        (TRPO, Mine, ["TRPO", "ActorCriticPolicy"]),
        (SAC, CustomPolicy, ["SAC", "SACPolicy"]),
        (TD3, Mine, ["TD3", "TD3Policy"]),
        (DQN, Mine, ["DQN", "DQNPolicy"]),
        (CrossQ, Mine, ["CrossQ", "CrossQPolicy"]),
        (RecurrentPPO, CustomPolicy, ["RecurrentPPO", "RecurrentActorCriticPolicy", "MlpLstmPolicy"]),
        (PPO, Recurrent, ["PPO", "ActorCriticPolicy", "without a recurrent state"]),
    ],
)
def test_b19_b38_a_policy_must_fit_its_algorithm(algorithm, policy, words):
    with pytest.raises(ConfigError) as caught:
        find_policy(algorithm, policy)
    assert all(word in str(caught.value) for word in words), caught.value


def test_b19_what_an_address_names_must_be_a_policy(file):
    file.write_text("import math\nclass NoPolicy:\n    pass\n")
    with pytest.raises(PluginError, match="no policy"):
        find_policy(PPO, f"{file}:NoPolicy")
    with pytest.raises(UnknownNameError, match="NoPolicy"):
        find_policy(PPO, f"{file}:NoPolice")
    broken = file.with_name("broken.py")
    broken.write_text("raise RuntimeError('half written')\n")
    with pytest.raises(PluginError, match=r"failed to load(.|\n)*half written"):
        find_policy(PPO, f"{broken}:Policy")


def test_b16_our_own_names_are_taken_from_the_start():
    code = (
        "from stable_baselines3.common.policies import ActorCriticPolicy\nfrom armature import register_policy\n"
        "class Mine(ActorCriticPolicy): pass\nregister_policy('SharedMlpPolicy', Mine)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert "policy 'SharedMlpPolicy'" in done.stderr
    assert "needs another name" in done.stderr


def test_importing_the_function_loads_nothing_heavy():
    code = "import sys; from armature import register_policy; assert not {'torch', 'gymnasium'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


# ---------------------------------------------------------------------------------------------- saved and loaded


def test_b13_a_model_finds_its_policy_by_itself(make_config, train, file):
    config = make_config(policy=f"{file}:CustomPolicy", policy_kwargs={})
    session = train(config)
    folder = save_model(session.model, session.run / "final", config)
    with pytest.raises(PluginError, match="--allow-import"):
        load_model(folder, allow_import=config.plugins)
    loaded = load_model(folder, allow_import=[*config.plugins, config.policy])
    assert type(loaded.model.policy).__name__ == "CustomPolicy"
    assert same_actions(session.model, loaded.model)


def test_b13_one_that_is_gone_is_told_from_where_and_can_be_passed(make_config, file):
    config = make_config(policy=f"{file}:CustomPolicy", policy_kwargs={})
    model = build(config)
    folder = save_model(model, file.parent / "final", config)
    moved = file.rename(file.with_name("moved.py"))
    with pytest.raises(RunError) as caught:
        load_model(folder, allow_import=[*config.plugins, config.policy])
    assert f"CustomPolicy in {file}" in str(caught.value)
    assert "load_model(path, policy=MyPolicy)" in str(caught.value)
    theirs = find_policy(PPO, f"{moved}:CustomPolicy")
    assert same_actions(model, load_model(folder, allow_import=config.plugins, policy=theirs).model)


def test_b13_a_name_that_nobody_registers_any_more_is_told(names, make_config, tmp_path):
    register_policy("Custom", CustomPolicy)
    config = make_config(policy="Custom", policy_kwargs={})
    folder = save_model(build(config), tmp_path / "final", config)
    del PPO.policy_aliases["Custom"]
    policies._registered.remove(("Custom", CustomPolicy))
    with pytest.raises(RunError, match=r"unknown policy of PPO 'Custom'.*test_policies:CustomPolicy"):
        load_model(folder, allow_import=config.plugins)
    assert type(load_model(folder, allow_import=config.plugins, policy=CustomPolicy).model.policy) is CustomPolicy


def test_b13_a_class_that_cannot_be_found_again_is_refused_before_training(tables, make_config, monkeypatch):
    class Local(ActorCriticPolicy):
        pass

    register("lost", "pytorch", Combo(PPO, Local))
    config = make_config("lost", algo_kwargs={})
    for refuse in (lambda: check_arguments(config), lambda: build(config), lambda: require_findable(Local)):
        with pytest.raises(PluginError, match=r"Local.*found again.*my_policy.py:Local"):
            refuse()
    monkeypatch.setattr(CustomPolicy, "__module__", "__main__")
    with pytest.raises(PluginError, match="notebook"):
        require_findable(CustomPolicy)


def test_b14_a_wrong_class_is_told_by_the_first_parameter_that_differs(make_config, file):
    config = make_config(policy=f"{file}:CustomPolicy", policy_kwargs={})
    folder = save_model(build(config), file.parent / "final", config)
    other = find_policy(PPO, f"{file}:Other")
    with pytest.raises(RunError, match=r"value_net.0.weight is \(4, 4\).*needs \(5, 4\)"):
        load_model(folder, allow_import=config.plugins, policy=other)
    with pytest.raises(ConfigError, match="does not fit PPO"):
        load_model(folder, allow_import=config.plugins, policy=Mine)


def test_a_registered_policy_travels_in_a_plugin(make_config, train, file, names):
    """The run folder names the plugin, and the plugin the policy: nothing else is needed to load it."""
    file.write_text(POLICY + "\nfrom armature import register_policy\nregister_policy('Travelling', CustomPolicy)\n")
    config = make_config()
    config = make_config(plugins=[*config.plugins, str(file)], policy="Travelling", policy_kwargs={})
    session = train(config)
    folder = save_model(session.model, session.run / "final", config)
    code = (
        "import sys\nfrom armature import load_model\nfrom armature.combos import implemented_combos\n"
        f"loaded = load_model({str(folder)!r}, allow_import={config.plugins!r})\n"
        "print(type(loaded.model.policy).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "CustomPolicy", done.stderr
