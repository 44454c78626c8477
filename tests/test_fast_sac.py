"""The leaner SAC: SB3's mathematics, computed otherwise, and while the environments step."""

import math

import numpy as np
import pytest
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn import functional

from armature.checkpoints import newest
from armature.combos import implemented_combos
from armature.describe import describe_algo
from armature.errors import ConfigError
from armature.making import make_model
from armature.myalgos.fast_sac import FastSAC, split, squashed_gaussian
from armature.vec import make_vec_env, normalized

TINY = {"buffer_size": 2000, "learning_starts": 64, "batch_size": 32}


@pytest.fixture
def build(make_config):
    """Return a function that makes a fresh model on the toy environment, as train.py does."""
    environments = []

    def make(normalize=False, **keys):
        config = make_config("fast_sac", normalize=normalize, **keys)
        env = make_vec_env(config, "train", config.num_envs)
        environments.append(env)
        algo_class, policy, kwargs = implemented_combos["fast_sac"]["pytorch"]
        kwargs = {**kwargs, **config.algo_kwargs}
        return make_model(algo_class, policy, kwargs, normalized(env) if normalize else env, config)

    yield make
    for env in environments:
        env.close()


def weights(model):
    """Return all weights of a model."""
    return {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}


def same_weights(one, other):
    """Return whether two models have the same weights, bit for bit."""
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def batch_of(size=8):
    """Return a random batch of transitions."""
    seen, following = torch.rand(2, size, 4)
    return ReplayBufferSamples(seen, torch.rand(size, 2) * 2 - 1, following, torch.zeros(size, 1), torch.rand(size, 1))


# ---------------------------------------------------------------------------------------------- mathematics


def copied_to_sb3(model):
    """Return SB3's SAC with the weights of ours, on the same environments and the same experience."""
    theirs = SAC(
        "MlpPolicy",
        model.env,
        learning_rate=1e-3,
        gamma=0.95,
        tau=model.tau,
        ent_coef="auto_0.02",
        policy_kwargs={"net_arch": [16, 16]},
        buffer_size=100,
    )
    theirs.set_logger(Logger(None, []))
    theirs.actor.load_state_dict(model.actor.state_dict())
    for ours, of_sb3 in ((model.critic, theirs.critic), (model.critic_target, theirs.critic_target)):
        for member, network in enumerate(of_sb3.q_networks):
            for layer, linear in zip(ours.layers, network[::2], strict=True):
                linear.weight.data.copy_(layer.weight[member].T)
                linear.bias.data.copy_(layer.bias[member, 0])
    theirs.replay_buffer = model.replay_buffer
    return theirs


def fill(buffer, steps=40):
    """Put random transitions into a replay buffer."""
    generator = np.random.default_rng(0)
    for _ in range(steps):
        seen, following = generator.uniform(-1, 1, (2, 2, 4)).astype(np.float32)
        actions = generator.uniform(-0.9, 0.9, (2, 2)).astype(np.float32)
        dones = generator.uniform(size=2) < 0.2
        buffer.add(seen, following, actions, generator.normal(size=2), dones, [{}, {}])


def test_updates_equal_those_of_sb3(build, monkeypatch):
    """Critics, targets, actor and entropy coefficient are the same after five updates with the same noise."""
    model = build(algo_kwargs={**TINY, "policy_delay": 1}, policy_kwargs={"net_arch": [16, 16], "layer_norm": False})
    fill(model.replay_buffer)
    theirs = copied_to_sb3(model)

    def noise(shape):
        return torch.linspace(-1.5, 1.5, math.prod(shape)).reshape(shape)

    monkeypatch.setattr(torch, "randn_like", lambda tensor: noise(tensor.shape))
    monkeypatch.setattr(torch.distributions.normal, "_standard_normal", lambda shape, dtype, device: noise(shape))
    before = weights(model)
    for learner in (model, theirs):
        np.random.seed(3)
        for _ in range(5):
            learner.train(1, 32)
    assert not torch.equal(before["critic.layers.1.weight"], weights(model)["critic.layers.1.weight"])
    for name, tensor in theirs.actor.state_dict().items():
        torch.testing.assert_close(model.actor.state_dict()[name], tensor, rtol=1e-3, atol=2e-5)
    for ours, of_sb3 in ((model.critic, theirs.critic), (model.critic_target, theirs.critic_target)):
        for member, network in enumerate(of_sb3.q_networks):
            for layer, linear in zip(ours.layers, network[::2], strict=True):
                torch.testing.assert_close(layer.weight[member], linear.weight.T, rtol=1e-3, atol=2e-5)
                torch.testing.assert_close(layer.bias[member, 0], linear.bias, rtol=1e-3, atol=2e-5)
    torch.testing.assert_close(model.log_ent_coef, theirs.log_ent_coef)
    assert model._n_updates == theirs._n_updates == 5


def test_the_density_is_that_of_a_squashed_gaussian():
    mean, log_std, noise = 0.5 * torch.randn(3, 50, 4, dtype=torch.float64)
    actions, log_prob = squashed_gaussian(mean, log_std, noise)
    raw = mean + log_std.exp() * noise
    gaussian = torch.distributions.Normal(mean, log_std.exp()).log_prob(raw)
    expected = (gaussian - torch.log1p(-actions.square())).sum(dim=1, keepdim=True)
    torch.testing.assert_close(log_prob, expected, rtol=1e-6, atol=1e-6)
    assert log_prob.shape == (50, 1)


def test_the_density_is_exact_far_out():
    """Where the action is one in float32, and one minus its square nothing."""
    mean = torch.tensor([[30.0]])
    actions, log_prob = squashed_gaussian(mean, torch.zeros(1, 1), torch.zeros(1, 1))
    assert actions.item() == 1.0
    assert log_prob.item() == pytest.approx(-0.5 * math.log(2 * math.pi) - 2 * (math.log(2) - 30), rel=1e-6)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_critics_equal_a_loop_over_them(layer_norm, build):
    model, batch = build(policy_kwargs={"net_arch": [16, 12], "layer_norm": layer_norm}), batch_of()
    with torch.no_grad():
        at_once = model.critic(batch.observations, batch.actions)
    assert at_once.shape == (2, 8, 1)
    for member in range(2):
        values = torch.cat([batch.observations, batch.actions], dim=1)
        for number, layer in enumerate(model.critic.layers):
            if number:
                values = torch.relu(functional.layer_norm(values, values.shape[-1:]) if layer_norm else values)
            values = functional.linear(values, layer.weight[member].T, layer.bias[member, 0])
        torch.testing.assert_close(at_once[member], values)


def test_nothing_follows_an_end_and_n_step_returns_bring_their_own_discount(build):
    model, batch = build(), batch_of()
    ended = batch._replace(dones=torch.ones(8, 1))
    torch.testing.assert_close(model._target(ended), batch.rewards)
    torch.testing.assert_close(model._target(batch._replace(discounts=torch.zeros(8, 1))), batch.rewards)


def test_the_actor_leaves_the_critics_alone(build):
    model = build()
    before = weights(model)
    model._update_actor(batch_of())
    after = weights(model)
    changed = {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"actor"}
    assert all(parameter.grad is None for parameter in model.critic.parameters())


def test_the_actor_learns_at_every_third_update(build, monkeypatch):
    model, updates = build(algo_kwargs={**TINY, "policy_delay": 3}), []
    fill(model.replay_buffer)
    original = model._update_actor
    monkeypatch.setattr(model, "_update_actor", lambda batch: (updates.append(model._n_updates), original(batch)))
    model.train(7, 16)
    model.train(2, 16)
    assert updates == [3, 6, 9]


def test_batches_share_what_was_drawn():
    """A part that stands at one end, as demonstrations do, is in every batch."""
    column = torch.arange(12.0).reshape(12, 1)
    batches = split(ReplayBufferSamples({"a": column}, column, {"a": column + 1}, column, column), 3)
    assert [batch.actions.flatten().tolist() for batch in batches] == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]
    assert torch.equal(batches[2].next_observations["a"], batches[2].observations["a"] + 1)
    assert batches[0].discounts is None
    assert batches[0].actions.is_contiguous()


# ---------------------------------------------------------------------------------------------- order


class Watch(BaseCallback):
    """Notes at each step what a checkpoint would hold."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def _on_step(self):
        self.seen.append((self.num_timesteps, self.model.replay_buffer.pos, self.model._n_updates))
        assert self.model._due == []
        return True


def test_updates_are_done_while_the_environments_step(build, monkeypatch):
    model, order = build(), []
    for name in ("step_async", "step_wait"):
        original = getattr(model.env, name)
        monkeypatch.setattr(model.env, name, lambda *a, n=name, f=original: (order.append(n), f(*a))[1])
    original_update = model._update
    monkeypatch.setattr(model, "_update", lambda batch: (order.append("update"), original_update(batch)))
    model.learn(72, log_interval=None)
    assert order[-9:-4] == ["step_async", *["update"] * 4, "step_wait"][-5:]
    at = order.index("update")
    assert order[at - 1 : at + 5] == ["step_async", *["update"] * 4, "step_wait"]


def test_a_callback_sees_what_it_sees_with_sb3(build):
    """All updates on the transitions that are stored, and at the end there is none left."""
    model, watch = build(), Watch()
    model.learn(80, watch, log_interval=None)
    theirs, reference = SAC("MlpPolicy", model.env, gradient_steps=4, learning_starts=64, buffer_size=100), []
    theirs.set_logger(Logger(None, []))

    class Reference(Watch):
        def _on_step(self):
            self.seen.append((self.num_timesteps, self.model.replay_buffer.pos, self.model._n_updates))
            return True

    theirs.learn(80, reference := Reference(), log_interval=None)
    assert watch.seen == reference.seen
    assert model._n_updates == theirs._n_updates == watch.seen[-1][2] + 4
    assert model._due == []


@pytest.mark.parametrize("replay_buffer", ["default", "her"])
def test_the_number_of_workers_changes_nothing(replay_buffer, build):
    """Hindsight asks the environments for rewards, never in the middle of a step."""
    keys = {"replay_buffer": replay_buffer, "num_envs": 4, "algo_kwargs": {**TINY, "learning_starts": 40}}
    keys |= {"env_name": "armature/PandaReach-v1", "max_episode_steps": 10, "reward": "sparse"}
    models = [build(num_workers=workers, **keys).learn(120, log_interval=None) for workers in (0, 1, 2)]
    assert models[0]._n_updates > 40
    assert same_weights(models[0], models[1])
    assert same_weights(models[0], models[2])


def test_a_run_goes_on_from_a_checkpoint_in_one_way(make_config, train):
    """Twice from the same checkpoint is twice the same run, and nothing of the first one is forgotten."""
    config = make_config("fast_sac")
    first = train(config)
    assert first.model._n_updates == 4 * (300 - 64) // 2
    longer = config.model_copy(update={"steps": 500})
    checkpoint = newest(first.run)
    one = train(longer, checkpoint=checkpoint).model
    two = train(longer, checkpoint=checkpoint).model
    assert one.num_timesteps == 500
    assert one._n_updates == first.model._n_updates + 4 * 100
    assert same_weights(one, two)
    assert not same_weights(one, first.model)


# ---------------------------------------------------------------------------------------------- as any row


def test_it_learns_the_toy_task(make_config, train):
    kwargs = {"learning_starts": 100, "batch_size": 128, "buffer_size": 5000, "learning_rate": 3e-3}
    config = make_config("fast_sac", steps=2000, algo_kwargs=kwargs, eval_freq=2000, eval_episodes=20)
    assert train(config).evaluations.latest.success_rate >= 0.9


@pytest.mark.parametrize("delay", [0, -1])
def test_a_delay_that_makes_no_sense_is_refused(delay, build):
    with pytest.raises(ConfigError, match=f"policy_delay is {delay}; allowed: 1 to 1,000,000"):
        build(algo_kwargs={"policy_delay": delay})


@pytest.mark.parametrize(
    "kwargs", [{"use_sde": True}, {"ent_coef": 0.1}, {"n_steps": 3}, {"train_freq": 4}, {"target_update_interval": 2}]
)
def test_what_sb3_offers_works(kwargs, build):
    model = build(algo_kwargs={**TINY, **kwargs}).learn(120, log_interval=None)
    assert model._n_updates > 0
    assert all(torch.isfinite(tensor).all() for tensor in weights(model).values())


def test_normalised_observations_and_another_optimizer(build):
    kwargs = {"net_arch": [8], "optimizer_class": "torch.optim:AdamW"}
    model = build(normalize=True, policy_kwargs=kwargs).learn(100, log_interval=None)
    assert type(model.critic.optimizer) is torch.optim.AdamW
    assert model._n_updates > 0


def test_the_row_says_what_it_takes():
    row = implemented_combos["fast_sac"]["pytorch"]
    assert (row.actions, row.hindsight, row.dict_observations) == ("box", True, True)
    text = describe_algo("fast_sac")
    for words in ("Soft actor-critic for processors", "policy_delay: int, default 2", "MlpPolicy, CnnPolicy"):
        assert words in text
    assert FastSAC.train is not SAC.train
