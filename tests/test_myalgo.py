"""The shipped algorithm of our own: an ensemble computed at once, targets from a random few of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn import functional

import armature
from armature.combos import implemented_combos
from armature.config import Config
from armature.describe import describe_algo
from armature.errors import ConfigError
from armature.making import make_model
from armature.myalgos.fast_sac import FastSACPolicy
from armature.myalgos.myalgo import REDQ, REDQPolicy
from armature.vec import make_vec_env, normalized

ROOT = Path(armature.__file__).parent.parent


@pytest.fixture
def model(make_config):
    """A fresh model on the toy environment."""
    return build(make_config("myalgo"))


def build(config):
    """Make a fresh model, as train.py does."""
    env = make_vec_env(config, "train", config.num_envs)
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)


def batch_of(model, size=8):
    """Return a random batch of transitions."""
    seen, following = torch.rand(2, size, 4)
    rewards, dones = torch.rand(size, 1), torch.zeros(size, 1)
    return ReplayBufferSamples(seen, torch.rand(size, 2) * 2 - 1, following, dones, rewards)


def member_value(critic, index, observation, action):
    """Return what one member says, computed as if it were alone."""
    values = torch.cat([observation, action], dim=1)
    for number, layer in enumerate(critic.layers):
        if number:
            values = torch.relu(functional.layer_norm(values, values.shape[-1:]))
        values = functional.linear(values, layer.weight[index].T, layer.bias[index, 0])
    return values


def test_the_ensemble_equals_a_loop_over_its_members(model):
    batch = batch_of(model)
    with torch.no_grad():
        at_once = model.critic(batch.observations, batch.actions)
        alone = [member_value(model.critic, index, batch.observations, batch.actions) for index in range(5)]
    assert at_once.shape == (5, 8, 1)
    torch.testing.assert_close(at_once, torch.stack(alone))


def test_members_begin_apart_and_only_those_asked_for_answer(model):
    batch = batch_of(model)
    with torch.no_grad():
        everyone = model.critic(batch.observations, batch.actions)
        two = model.critic(batch.observations, batch.actions, torch.tensor([3, 1]))
    torch.testing.assert_close(two, everyone[[3, 1]])
    assert len({round(value, 6) for value in everyone[:, 0, 0].tolist()}) == 5


def test_the_target_is_the_least_of_a_random_subset(model, monkeypatch):
    """And the subset is another one at each update."""
    batch = batch_of(model)
    chosen = torch.zeros(8, 2), torch.full((8,), 3.0)
    monkeypatch.setattr(model.actor, "action_log_prob", lambda observations: chosen)
    with torch.no_grad():
        every = model.critic_target(batch.next_observations, chosen[0])
    entropy = torch.exp(model.log_ent_coef.detach()) * 3.0
    pairs = [(i, j) for i in range(5) for j in range(i)]
    possible = {
        pair: batch.rewards + model.gamma * (torch.minimum(every[pair[0]], every[pair[1]]) - entropy) for pair in pairs
    }
    seen = set()
    for _ in range(60):
        target = model._target(batch)
        matching = [pair for pair, value in possible.items() if torch.allclose(target, value, atol=1e-6)]
        assert len(matching) >= 1
        seen.update(matching)
    assert len(seen) == len(pairs)


def test_nothing_follows_an_end(model):
    batch = batch_of(model)._replace(dones=torch.ones(8, 1))
    torch.testing.assert_close(model._target(batch), batch.rewards)


def test_n_step_returns_bring_their_own_discount(model):
    torch.manual_seed(0)
    one = model._target(batch := batch_of(model))
    torch.manual_seed(0)
    same = batch_of(model)._replace(discounts=torch.full((8, 1), model.gamma))
    torch.testing.assert_close(model._target(same), one)
    assert not torch.allclose(model._target(batch._replace(discounts=torch.zeros(8, 1))), one)


def test_the_actor_leaves_the_critics_alone_and_the_other_way_round(model):
    model._setup_learn(1)
    actor, critic = ([p.clone() for p in part.parameters()] for part in (model.actor, model.critic))
    model._update_actor(batch_of(model))
    assert all(map(torch.equal, critic, model.critic.parameters()))
    assert all(parameter.grad is None for parameter in model.critic.parameters())
    assert not all(map(torch.equal, actor, model.actor.parameters()))
    actor = [p.clone() for p in model.actor.parameters()]
    model._update_critics(batch_of(model))
    assert all(map(torch.equal, actor, model.actor.parameters()))
    assert not all(map(torch.equal, critic, model.critic.parameters()))


def test_each_member_learns_as_fast_as_alone(model):
    """The loss is a sum over the ensemble, so its size changes no member's gradient."""
    batch = batch_of(model)
    model._setup_learn(1)
    torch.manual_seed(1)
    target = model._target(batch)
    alone = functional.mse_loss(member_value(model.critic, 2, batch.observations, batch.actions), target)
    expected = torch.autograd.grad(alone, model.critic.layers[0].weight)[0][2]
    torch.manual_seed(1)
    model._update_critics(batch)
    torch.testing.assert_close(model.critic.layers[0].weight.grad[2], expected)


def test_the_actor_learns_at_every_second_update(make_config, monkeypatch):
    model = build(make_config("myalgo", algo_kwargs={"policy_delay": 3, "buffer_size": 100, "learning_starts": 10}))
    calls = {"critics": 0, "actor": 0}
    for name in calls:
        original = getattr(model, f"_update_{name}")
        monkeypatch.setattr(
            model, f"_update_{name}", lambda batch, n=name, f=original: (calls.update({n: calls[n] + 1}), f(batch))
        )
    model.learn(40, log_interval=None)
    assert calls["critics"] == model._n_updates
    assert calls["actor"] == calls["critics"] // 3 > 3


def test_it_learns_the_toy_task(make_config, train):
    kwargs = {"learning_starts": 100, "batch_size": 128, "buffer_size": 5000, "learning_rate": 3e-3}
    config = make_config("myalgo", steps=2000, algo_kwargs=kwargs, eval_freq=2000, eval_episodes=20)
    assert train(config).evaluations.latest.success_rate >= 0.9


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"subset_size": 6}, "subset_size is 6; allowed: 1 to 5"),
        ({"subset_size": 0}, "subset_size is 0; allowed: 1 to 5"),
        ({"policy_delay": 0}, "policy_delay is 0; allowed: 1 to 1,000,000"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(given, words, make_config):
    with pytest.raises(ConfigError, match=words):
        build(make_config("myalgo", algo_kwargs=given))


def test_a_fixed_entropy_coefficient_and_state_dependent_noise(make_config, train):
    kwargs = {"ent_coef": 0.1, "use_sde": True, "buffer_size": 500, "learning_starts": 64, "batch_size": 16}
    model = train(make_config("myalgo", algo_kwargs=kwargs, steps=150)).model
    assert model._n_updates > 0
    assert model._entropy_coefficient().item() == pytest.approx(0.1)


@pytest.mark.parametrize("policy_class", [REDQPolicy, FastSACPolicy])
def test_images_and_goals(policy_class):
    image = spaces.Box(0, 255, (3, 36, 36), np.uint8)
    action = spaces.Box(-1, 1, (2,), np.float32)
    goals = spaces.Dict({"camera": image, "desired_goal": spaces.Box(-1, 1, (2,))})
    for space, extractor in ((image, "NatureCNN"), (goals, "CombinedExtractor")):
        policy = policy_class(space, action, lambda _: 1e-3, net_arch=[8])
        assert type(policy.actor.features_extractor).__name__ == extractor
        assert policy.predict(space.sample())[0].shape == (2,)


def test_normalised_vectors(make_config):
    config = make_config("myalgo", normalize=True)
    env = normalized(make_vec_env(config, "train", 2))
    algo_class, policy, kwargs = implemented_combos["myalgo"]["pytorch"]
    model = make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config).learn(100, log_interval=None)
    assert model._n_updates > 0


def test_a_shared_extractor_learns_from_the_actor_alone(make_config):
    model = build(
        make_config(
            "myalgo", env_name="toy/Point-v0", policy_kwargs={"share_features_extractor": True, "net_arch": [8]}
        )
    )
    assert model.critic.features_extractor is model.actor.features_extractor
    owned = {id(p) for group in model.critic.optimizer.param_groups for p in group["params"]}
    assert not owned & {id(p) for p in model.actor.parameters()}


def test_the_row_costs_nothing_until_it_is_chosen():
    code = "import sys; from armature import load_plugins, implemented_combos; load_plugins(['armature.myalgos'])\n"
    code += "assert 'myalgo' in implemented_combos and 'torch' not in sys.modules, 'torch'"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_the_row_says_what_it_takes():
    row = implemented_combos["myalgo"]["pytorch"]
    assert (row.actions, row.hindsight, row.dict_observations) == ("box", True, True)
    text = describe_algo("myalgo")
    for words in (
        "Randomized ensembled double Q-learning",
        "subset_size: int, default 2",
        "smallest value is the target",
        "policy_delay: int, default 2",
        "MlpPolicy, CnnPolicy, MultiInputPolicy",
        f"armature {armature.__version__}",
    ):
        assert words in text
    assert Config(algo="myalgo").algo == "myalgo"


def test_it_is_an_algorithm_of_its_own_worth_reading():
    """What learns is written here, within two hundred lines."""
    assert REDQ.train is not SAC.train
    assert len((ROOT / "myalgos/myalgo.py").read_text().splitlines()) <= 200
