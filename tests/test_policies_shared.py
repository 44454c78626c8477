"""Shared layers: the networks that `net_arch` describes, that sharing is real, and what is refused."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import TRPO
from stable_baselines3 import A2C, PPO

from armature.errors import ConfigError
from armature.shared_policies import SharedCnnPolicy, SharedMlpPolicy, SharedMultiInputPolicy
from armature.vec import SpacesOnly

VECTOR, MOVE = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,))


def policy(net_arch, cls=SharedMlpPolicy, space=VECTOR, actions=MOVE, **kwargs):
    return cls(space, actions, lambda _: 1e-3, net_arch=net_arch, **kwargs)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("net_arch", "parameters"),
    [
        ([128, 128], 18_439),
        ([128, {"vf": [256, 256]}], 100_871),
        ([128, {"vf": [256], "pi": [16]}], 36_807),
        ([{"pi": [128, 128, 128], "vf": [128, 128, 128]}], 69_383),
        ({"pi": [128, 128, 128], "vf": [128, 128, 128]}, 69_383),
        ([32, 32], 1_543),
    ],
)
def test_b20_b21_b22_b23_b25_parameters_are_those_of_the_drawing(net_arch, parameters):
    """Counted for 10 observations and 3 actions."""
    assert count(policy(net_arch, activation_fn=torch.nn.Tanh)) == parameters


def test_b24_a_missing_branch_is_no_layer():
    """The action head stands on the observation itself."""
    made = policy([{"vf": [64]}])
    assert made.action_net.in_features == 10
    assert made.value_net.in_features == 64
    assert count(made.mlp_extractor.policy_net) == count(made.mlp_extractor.shared_net) == 0


def test_b11_b26_a_flat_list_is_separate_in_sb3_and_shared_here():
    separate = PPO("MlpPolicy", SpacesOnly(VECTOR, MOVE), policy_kwargs={"net_arch": [128, 128]}).policy
    assert (count(separate), count(policy([128, 128]))) == (36_359, 18_439)
    apart = policy([{"pi": [128] * 3, "vf": [128] * 3}]).mlp_extractor
    branches = [{id(parameter) for parameter in net.parameters()} for net in (apart.policy_net, apart.value_net)]
    assert not branches[0] & branches[1]
    assert count(apart.shared_net) == 0


def test_b28_both_losses_train_what_is_shared():
    """And it stands once in the optimizer and once among the saved tensors."""
    made = policy([16, {"vf": [8], "pi": [8]}])
    seen, actions = torch.randn(5, 10), torch.randn(5, 3)
    shared = list(made.mlp_extractor.shared_net.parameters())
    for loss in (lambda: made.evaluate_actions(seen, actions)[1].mean(), lambda: made.predict_values(seen).mean()):
        made.zero_grad()
        loss().backward()
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in shared)
    optimized = [id(parameter) for group in made.optimizer.param_groups for parameter in group["params"]]
    assert sorted(optimized) == sorted({id(parameter) for parameter in made.parameters()})
    assert len(made.state_dict()) == len(optimized)


def test_the_policy_alone_does_not_train_the_value_branch():
    made = policy([16, {"vf": [8], "pi": [8]}])
    made.evaluate_actions(torch.randn(5, 10), torch.randn(5, 3))[1].mean().backward()
    assert all(parameter.grad is None for parameter in made.mlp_extractor.value_net.parameters())


def test_b31_initial_values_are_orthogonal():
    """A wide matrix W of gain g has W W^T = g^2 I, a tall one W^T W."""
    made = policy([16, {"vf": [8], "pi": [8]}])
    extractor = made.mlp_extractor
    gains = {
        **dict.fromkeys((extractor.shared_net[0], extractor.policy_net[0], extractor.value_net[0]), 2.0),
        **{made.action_net: 0.01**2, made.value_net: 1.0},
    }
    for layer, gain in gains.items():
        weight = layer.weight.detach()
        square = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
        assert torch.allclose(square, gain * torch.eye(len(square)), atol=1e-5 * max(gain, 0.01))
        assert not layer.bias.any()


@pytest.mark.parametrize(
    ("net_arch", "words"),
    [
        ([64, 0], ["net_arch.1 is 0", "whole number"]),
        ([64, -3], ["net_arch.1 is -3"]),
        ([64.0], ["net_arch.0 is 64.0"]),
        ([True], ["net_arch.0 is true"]),
        ([64, "64"], ['net_arch.1 is "64"']),
        ([64, "gru"], ['net_arch.1 is "gru"']),
        ([[64]], ["net_arch.0 is [64]"]),
        ([64, {"q": [64]}], ["net_arch.1.q", "pi, vf"]),
        ([64, {"qf": [64]}], ["net_arch.1.qf", "pi, vf"]),
        ([64, {"pi": 64}], ["net_arch.1.pi is 64", "list"]),
        ([64, {"pi": [64, True]}], ["net_arch.1.pi.1 is true"]),
        ([64, {"pi": [64]}, {"vf": [64]}], ["net_arch.2", "second dict"]),
        ([64, {"pi": [64]}, 64], ["net_arch.2 is 64", "after the dict"]),
        ([{"pi": [64]}, 64], ["net_arch.1 is 64", "after the dict"]),
        ([8, "lstm"], ["net_arch.1", "only recurrent algorithms", "ppo_lstm"]),
    ],
)
def test_b29_a_mistake_is_told_with_its_place(net_arch, words):
    with pytest.raises(ConfigError) as caught:
        policy(net_arch)
    assert all(word in str(caught.value) for word in words), caught.value


def test_b30_features_of_their_own_cannot_be_shared():
    with pytest.raises(ConfigError, match=r"share_features_extractor is false.*\"vf\""):
        policy([64, {"vf": [8]}], share_features_extractor=False)


@pytest.mark.parametrize("algorithm", [A2C, PPO, TRPO])
def test_b32_on_policy_algorithms_train_shared_layers(algorithm):
    """TRPO too, which tells the critic's parameters by name: the trunk is the actor's for it, the value branch not."""
    model = algorithm(
        SharedMlpPolicy,
        "Pendulum-v1",
        n_steps=64,
        seed=0,
        device="cpu",
        policy_kwargs={"net_arch": [16, {"vf": [8], "pi": [8]}]},
    )
    before = {name: value.clone() for name, value in model.policy.state_dict().items()}
    model.learn(128)
    after = model.policy.state_dict()
    unchanged = [name for name in before if torch.equal(before[name], after[name])]
    assert not unchanged
    critics = {name for name in before if "value" in name}
    assert critics == {
        f"{part}.{kind}" for part in ("mlp_extractor.value_net.0", "value_net") for kind in ("weight", "bias")
    }


def test_images_and_dicts_share_their_features_as_well():
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    seen = policy([16, {"vf": [8]}], SharedCnnPolicy, image)
    assert seen.mlp_extractor.shared_net[0].in_features == seen.features_dim == 512
    parts = spaces.Dict({"camera": image, "joints": spaces.Box(-1, 1, (7,))})
    seen = policy([16, {"vf": [8]}], SharedMultiInputPolicy, parts)
    assert seen.features_dim == 256 + 7
    assert seen.predict(parts.sample())[0].shape == (3,)


def test_a_policy_without_net_arch_shares_two_layers():
    assert policy(None).arch.shared == (64, 64)
    assert policy(None, SharedCnnPolicy, spaces.Box(0, 255, (3, 36, 36), np.uint8)).arch.shared == ()
