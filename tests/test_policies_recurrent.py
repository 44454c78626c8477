"""Recurrent policies with shared layers: their networks, that both losses train the LSTM, and that they remember."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

from armature.argument_checks import check_arguments
from armature.errors import ConfigError
from armature.evaluation import evaluate
from armature.models import load_model, save_model
from armature.shared_lstm_policies import LayerNormLSTM, SharedMlpLstmPolicy

VECTOR, MOVE = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,))
GUIDE = [8, "lstm", {"vf": [5, 10], "pi": [10]}]


def policy(net_arch, n_lstm=16, **kwargs):
    return SharedMlpLstmPolicy(VECTOR, MOVE, lambda _: 1e-3, net_arch=net_arch, n_lstm=n_lstm, **kwargs)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def zeros(n=1, n_lstm=16):
    return torch.zeros(1, n, n_lstm), torch.zeros(1, n, n_lstm)


# ---------------------------------------------------------------------------------------------- networks


def test_b33_the_network_of_the_guide():
    made = policy(GUIDE, n_lstm=64)
    assert count(made) == 20_114
    assert count(made.lstm_actor) == 18_944
    assert made.lstm_hidden_state_shape == (1, 1, 64)


def test_b34_layers_may_stand_before_and_after_the_lstm():
    made = policy([8, 9, "lstm", 7, {"pi": [5]}])
    assert [layer.out_features for layer in made.trunk if hasattr(layer, "out_features")] == [8, 9]
    assert made.lstm_actor.input_size == 9
    assert made.mlp_extractor.shared_net[0].in_features == 16
    assert (made.mlp_extractor.latent_dim_pi, made.mlp_extractor.latent_dim_vf) == (5, 7)
    assert policy(["lstm"]).lstm_actor.input_size == 10


@pytest.mark.parametrize(
    ("net_arch", "words"),
    [
        ([8, {"vf": [5]}], ["net_arch", 'no "lstm"']),
        ({"vf": [5]}, ["net_arch", 'no "lstm"']),
        ([8, "lstm", "lstm"], ["net_arch.2", "second"]),
        (["lstm", {"vf": ["lstm"]}], ["net_arch.1.vf.0", "inside a branch"]),
        (["lstm", "gru"], ['net_arch.1 is "gru"', "whole number"]),
        (["lstm", {"pi": [8]}, 8], ["net_arch.2", "after the dict"]),
    ],
)
def test_b29_b34_mistakes_are_told_with_their_place(make_config, net_arch, words):
    with pytest.raises(ConfigError) as caught:
        policy(net_arch)
    assert all(word in str(caught.value) for word in words), caught.value
    with pytest.raises(ConfigError):
        check_arguments(make_config("ppo_lstm", policy="SharedMlpLstmPolicy", policy_kwargs={"net_arch": net_arch}))


def test_b30_features_of_their_own_cannot_be_shared():
    with pytest.raises(ConfigError, match="share_features_extractor"):
        policy(GUIDE, share_features_extractor=False)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_b35_b36_both_losses_train_the_lstm_and_what_stands_before_it(layer_norm):
    """sb3-contrib's `shared_lstm` keeps the value loss from it; here nothing does, and all of it is optimized once."""
    made = policy(GUIDE, layer_norm=layer_norm)
    seen, actions, starts = torch.randn(6, 10), torch.randn(6, 3), torch.zeros(6)
    shared = [*made.trunk.parameters(), *made.lstm_actor.parameters()]
    losses = (
        lambda: made.evaluate_actions(seen, actions, RNNStates(zeros(2), zeros(2)), starts)[1].mean(),
        lambda: made.predict_values(seen, zeros(2), starts).mean(),
    )
    for loss in losses:
        made.zero_grad()
        loss().backward()
        assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in shared)
    optimized = [id(parameter) for group in made.optimizer.param_groups for parameter in group["params"]]
    assert sorted(optimized) == sorted({id(parameter) for parameter in made.parameters()})


def test_b35_in_contrib_the_value_loss_does_not_reach_a_shared_lstm():
    """The difference that the tutorial speaks of."""
    model = RecurrentPPO(
        "MlpLstmPolicy", "Pendulum-v1", policy_kwargs={"shared_lstm": True, "enable_critic_lstm": False}
    )
    states = torch.zeros(1, 1, 256), torch.zeros(1, 1, 256)
    model.policy.predict_values(torch.randn(4, 3), states, torch.zeros(4)).mean().backward()
    assert all(parameter.grad is None for parameter in model.policy.lstm_actor.parameters())


def test_b31_layers_before_the_lstm_are_orthogonal():
    weight = policy([8, "lstm"]).trunk[0].weight.detach()
    assert torch.allclose(weight @ weight.T, 2 * torch.eye(8), atol=1e-5)


def test_b36_a_normalised_lstm_is_the_one_of_the_paper():
    """Gates and cell by Ba et al. 2016, equations 20 to 22, written out for one step; then called as torch's is."""
    torch.manual_seed(0)
    cell = LayerNormLSTM(3, 4)
    x, (h, c) = torch.randn(1, 2, 3), (torch.randn(1, 2, 4), torch.randn(1, 2, 4))
    found, (hidden, state) = cell(x, (h, c))

    def norm(values):
        return (values - values.mean(-1, keepdim=True)) / torch.sqrt(
            values.var(-1, unbiased=False, keepdim=True) + 1e-5
        )

    gates = norm(x[0] @ cell.from_input.weight.T + cell.from_input.bias) + norm(h[0] @ cell.from_hidden.weight.T)
    forget, enter, leave, candidate = gates.split(4, dim=1)
    new = torch.sigmoid(forget) * c[0] + torch.sigmoid(enter) * torch.tanh(candidate)
    assert torch.allclose(state[0], new, atol=1e-5)
    assert torch.allclose(found[0], torch.sigmoid(leave) * torch.tanh(norm(new)), atol=1e-5)
    assert torch.equal(hidden[0], found[0])
    plain = torch.nn.LSTM(3, 4)
    sequence = torch.randn(5, 2, 3)
    assert [tuple(part.shape) for part in (cell(sequence, (h, c))[0], *cell(sequence, (h, c))[1])] == [
        tuple(part.shape) for part in (plain(sequence, (h, c))[0], *plain(sequence, (h, c))[1])
    ]


def test_the_policy_can_be_saved_alone(tmp_path):
    """SB3's `policy.save` and `load`."""
    made = policy(GUIDE, layer_norm=True)
    made.save(tmp_path / "policy.pth")
    loaded = SharedMlpLstmPolicy.load(tmp_path / "policy.pth", device="cpu")
    seen = VECTOR.sample()
    assert np.array_equal(made.predict(seen, deterministic=True)[0], loaded.predict(seen, deterministic=True)[0])


# ---------------------------------------------------------------------------------------------- memory


@pytest.mark.parametrize("layer_norm", [False, True])
def test_b33_b36_a_config_trains_saves_and_reloads_it(make_config, train, layer_norm):
    policy_kwargs = {"net_arch": [8, "lstm", {"vf": [5], "pi": [6]}], "n_lstm": 8, "layer_norm": layer_norm}
    config = make_config("ppo_lstm", policy_kwargs=policy_kwargs)
    check_arguments(config)
    session = train(config)
    assert type(session.model.policy) is SharedMlpLstmPolicy
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    seen, state, ours = np.ones((3, 4), np.float32), None, None
    for _ in range(5):
        actions, state = session.model.predict(seen, state, deterministic=True)
        again, ours = loaded.predict(seen, ours, deterministic=True)
        assert np.array_equal(actions, again)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_b37_the_state_starts_anew_where_an_episode_does(layer_norm):
    """In each environment by itself."""
    made = policy(GUIDE, layer_norm=layer_norm)
    seen = np.stack([VECTOR.sample() for _ in range(3)])
    fresh, first = made.predict(seen, None, np.ones(3, bool), deterministic=True)
    _, later = made.predict(seen, first, np.zeros(3, bool), deterministic=True)
    assert not np.allclose(first[0], later[0])
    _, mixed = made.predict(seen, first, np.array([True, False, True]), deterministic=True)
    assert np.allclose(mixed[0][0, [0, 2]], first[0][0, [0, 2]], atol=1e-6)
    assert np.allclose(mixed[0][0, 1], later[0][0, 1], atol=1e-6)
    assert fresh.shape == (3, 3)


def test_a_sequence_gives_what_its_steps_give():
    """Training sees whole sequences, and collecting single steps; an episode may start within one."""
    made = policy(GUIDE)
    seen, starts = torch.randn(6, 10), torch.tensor([1.0, 0, 0, 1, 0, 0])
    values = made.predict_values(seen, zeros(), starts).flatten()
    state, alone = RNNStates(zeros(), zeros()), []
    for step in range(6):
        _, value, _, state = made(seen[step : step + 1], state, starts[step : step + 1])
        alone.append(value.item())
    assert torch.allclose(values, torch.tensor(alone), atol=1e-6)


class Recall(gymnasium.Env):
    """Shows a sign at the first of five steps; whoever answers it at every step gets the whole reward."""

    observation_space = spaces.Box(-1, 1, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        """Draw a sign."""
        super().reset(seed=seed)
        self.sign, self.steps = int(self.np_random.integers(2)), 0
        return np.array([2 * self.sign - 1], np.float32), {}

    def step(self, action):
        """Compare."""
        self.steps += 1
        right = action == self.sign
        return np.zeros(1, np.float32), float(right), False, self.steps == 5, {"is_success": bool(right)}


def recall(algorithm, policy, **kwargs):
    """Train on the task of recall and return the success rate at the last step."""
    env = DummyVecEnv([Recall] * 8)
    model = algorithm(
        policy, env, n_steps=40, batch_size=80, learning_rate=0.01, seed=0, device="cpu", policy_kwargs=kwargs
    )
    model.learn(4_000)
    env.seed(1)
    return evaluate(model, env, 80).success_rate


def test_b37_a_task_that_needs_memory_is_solved_with_memory():
    """Without it, the last answer is a guess."""
    remembering = recall(RecurrentPPO, SharedMlpLstmPolicy, net_arch=["lstm"], n_lstm=16)
    forgetful = recall(PPO, "MlpPolicy", net_arch=[16])
    assert remembering > 0.95
    assert forgetful < 0.7
