"""The trainer API: settings, trajectories, updates, statistics, and what is saved."""

import csv
import math

import numpy as np
import pytest
import torch
from pydantic import Field
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecNormalize

import armature
from armature import Combo, OffPolicySettings, OnPolicySettings, OnPolicyTrainer, Schedule, register
from armature.argument_checks import check_algo_kwargs
from armature.errors import ConfigError, DivergedError, PluginError
from armature.hyperparameters import hyperparameters
from armature.models import restore_model, save_checkpoint
from armature.replay import ReplayFiles
from armature.trainers.base import Trainer
from armature.trainers.buffer import UpdateBuffer
from armature.trainers.optimizer import Optimizer
from armature.trainers.settings import checked
from armature.trainers.trajectory import gae
from tests.toy_trainers import Clock, Fit, Off, On, Recording, clocks

SMALL = {"buffer_size": 40, "batch_size": 20, "n_epochs": 2, "time_horizon": 7}
NET = {"net_arch": [8]}


def made(cls=On, env=None, **settings):
    """Return a small trainer that reports nowhere."""
    small = (
        SMALL if issubclass(cls, OnPolicyTrainer) else {"buffer_size": 5000, "batch_size": 8, "buffer_init_steps": 10}
    )
    model = cls("MlpPolicy", env or clocks(2), policy_kwargs=NET, seed=0, **{**small, **settings})
    model.set_logger(Logger(None, []))
    return model


def learned(model, steps, callback=None):
    return model.learn(steps, callback, log_interval=None, reset_num_timesteps=False)


# ---------------------------------------------------------------------------------------------- settings


class Plain(OnPolicySettings):
    """What a plugin writes: annotations, no decorator."""

    gamma: float = 0.9
    clip_range: float = 0.2
    """How far."""
    clip_range_schedule: Schedule = "linear"
    sizes: list[int] = [1, 2]
    patience: int = Field(3, ge=1, le=9)


def test_r4_16_d11_plain_annotations_are_hyperparameters():
    found = hyperparameters(type("T", (On,), {"settings_class": Plain}))
    assert (found["clip_range"].type, found["clip_range"].default) == ("float", 0.2)
    assert found["clip_range"].meaning == "How far."
    assert found["clip_range_schedule"].type == "'linear' | 'constant'"
    assert found["gamma"].default == 0.9
    assert checked(Plain, {"clip_range": 0.1, "sizes": [3], "learning_rate": 1}).clip_range == 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"gama": 1}, "algo_kwargs.gama: unknown argument; did you mean 'gamma'?"),
        ({"gamma": "0.9"}, 'algo_kwargs.gamma is "0.9"; allowed: a number.'),
        ({"gamma": 1.5}, "algo_kwargs.gamma is 1.5; allowed: a number from 0 to 1."),
        ({"gamma": True}, "algo_kwargs.gamma is true; allowed: a number."),
        ({"learning_rate": math.nan}, "algo_kwargs.learning_rate is NaN; allowed: a number."),
        ({"shared_critic": "false"}, 'algo_kwargs.shared_critic is "false"; allowed: true or false.'),
        ({"batch_size": 0}, "algo_kwargs.batch_size is 0; allowed: a number from 1 to 100,000,000."),
        ({"patience": 10}, "algo_kwargs.patience is 10; allowed: a whole number from 1 to 9."),
        ({"sizes": [1, "2"]}, 'algo_kwargs.sizes.1 is "2"; allowed: a whole number.'),
        ({"clip_range_schedule": "liner"}, 'is "liner"; allowed: "linear" or "constant".'),
        ({"reward_signals": {"rdn": {}}}, "unknown reward signal 'rdn'; did you mean 'rnd'?"),
        ({"reward_signals": {"rnd": {"strenght": 1}}}, "reward_signals.rnd.strenght: unknown argument; did you mean"),
        ({"reward_signals": {}}, "algo_kwargs.reward_signals is {}"),
    ],
)
def test_r1_4_r4_16_wrong_settings_say_where_what_and_what_is_allowed(values, message):
    with pytest.raises(ConfigError) as error:
        check_algo_kwargs(type("T", (On,), {"settings_class": Plain}), values)
    assert message in str(error.value)


def test_r4_16_wrong_defaults_are_told_when_the_class_is_defined():
    with pytest.raises(PluginError, match=r"Bad: default of gamma is 3; allowed: a number from 0 to 1"):

        class Bad(OffPolicySettings):
            gamma: float = 3


def test_r4_13_signals_of_different_gammas_are_refused():
    with pytest.raises(ConfigError, match=r"reward_signals.rnd.gamma is 0.5, and algo_kwargs.gamma is 0.99"):
        made(reward_signals={"extrinsic": {}, "rnd": {"gamma": 0.5}})
    made(gamma=0.5, reward_signals={"extrinsic": {}, "rnd": {"gamma": 0.5}})


# ---------------------------------------------------------------------------------------------- definition


def test_r4_2_r4_3_r4_9_what_is_missing_is_listed_by_name(tables):
    class Half(armature.OnPolicyTrainer):
        pass

    with pytest.raises(PluginError, match=r"it leaves abstract: create_optimizer, get_trainer_name"):
        register("half", "pytorch", Combo(Half))

    class Bare(Trainer):
        pass

    names = "_append_to_update_buffer, _is_ready_update, _process_trajectory, _update_policy, act, create_optimizer"
    with pytest.raises(PluginError, match=f"it leaves abstract: {names}, get_trainer_name"):
        register("bare", "pytorch", Combo(Bare))
    assert {"_update_policy", "_process_trajectory"}.isdisjoint(armature.OffPolicyTrainer.__abstractmethods__)


def test_r4_2_wrong_signatures_and_returns_are_named(tables):
    class Wrong(On):
        def _process_trajectory(self):
            pass

    with pytest.raises(PluginError, match=r"_process_trajectory.* cannot be called as"):
        register("wrong", "pytorch", Combo(Wrong))
    for hook in ("create_policy", "create_optimizer"):
        nothing = type("Nothing", (On,), {hook: lambda self, *spaces: None})
        with pytest.raises(PluginError, match=rf"Nothing.{hook} returned None; it must return"):
            made(nothing)


def test_d12_an_exception_of_a_plugin_stays_what_it_is():
    class Broken(On):
        def create_optimizer(self):
            return {}["weights"]

    with pytest.raises(KeyError, match="weights") as caught:
        made(Broken)
    assert caught.traceback[-1].name == "create_optimizer"


# ---------------------------------------------------------------------------------------------- collecting


def test_r4_6_r4_11_hooks_are_called_in_the_documented_order():
    model = learned(made(Recording, buffer_size=14), 14)
    step, trajectory = ["act", "_is_ready_update"], ["_process_trajectory", "_append_to_update_buffer"]
    episode = ["act", *trajectory * 2, "_is_ready_update"]  # both environments end their episodes after five steps
    assert model.calls == [
        *("create_policy", "create_optimizer"),
        *step * 4,
        *episode,
        *step * 2,
        *trajectory * 2,
        *("_is_ready_update", "_update_policy"),
    ]


def test_r4_14_trajectories_are_what_happened():
    """Bounded by the horizon, one environment each, with the true last observation."""
    model = learned(made(Recording, clocks(2, length=10), buffer_size=26), 26)
    parts = [t for t in model.trajectories if t.env_index == 1]
    assert [len(t) for t in parts] == [7, 3, 3]
    assert [t.obs.flatten().tolist() for t in parts] == [
        [1000 + i for i in range(7)],
        [1007, 1008, 1009],
        [1000, 1001, 1002],
    ]
    assert [float(t.next_obs[0]) for t in parts] == [1007, 1010, 1003]
    assert [t.done_reached for t in parts] == [False, True, False]
    assert all(t.interrupted for t in parts)
    assert parts[1].truncated.tolist() == [False, False, True]
    assert parts[0].episode_start.tolist() == [True] + [False] * 6
    first = parts[0]
    assert (first.action.shape, first.obs.shape, first.next_obs.shape) == ((7, 2), (7, 1), (1,))
    for column in (first.reward, first.environment_reward, first.value, first.log_prob):
        assert (column.shape, column.dtype) == ((7,), np.float32)
    assert {first.terminated.dtype, first.truncated.dtype, first.episode_start.dtype} == {np.dtype(bool)}
    ended = learned(made(Recording, clocks(1, length=3, cut=False), buffer_size=3, batch_size=3), 3).trajectories[0]
    assert not ended.interrupted
    assert ended.next_value == 0.0


@pytest.mark.parametrize(("cut", "wanted"), [(True, 1 / (1 - 0.8)), (False, 1.0)])
def test_r4_10_bootstraps_when_cut_and_not_when_ended(cut, wanted):
    """An environment that pays 1 a step is worth 1 / (1 - gamma) if it is only ever cut, and 1 if it ends at once."""
    env = clocks(2, length=1 if not cut else 4, cut=cut, blind=True)
    settings = {"gamma": 0.8, "learning_rate": 0.02, "learning_rate_schedule": "constant", "time_horizon": 3}
    model = learned(made(On, env, **settings), 3000)
    assert model.policy.predict_values(torch.ones(1, 1)).item() == pytest.approx(wanted, rel=0.05)


def test_r4_10_off_policy_transitions_say_what_ended():
    for cut in (True, False):
        model = learned(made(Off, clocks(2, length=3, cut=cut)), 60)
        buffer = model.replay_buffer
        over = buffer.next_observations[: buffer.pos, 0, 0] % 1000 == 3
        assert buffer.dones[: buffer.pos, 0][over].all()
        assert (buffer.timeouts[: buffer.pos, 0][over] == cut).all()
        steps = buffer.next_observations[: buffer.pos] - buffer.observations[: buffer.pos]
        assert (steps == 1).all()
        done = torch.cat([batch["done"] for batch in model.optimizer.batches])
        assert bool(done.any()) != cut


def test_r4_10_advantages_are_those_of_the_equation():
    model = learned(made(Recording, gamma=0.9, gae_lambda=0.7), 40)
    trajectory = model.trajectories[0]
    values = [*trajectory.value, trajectory.next_value]
    surprise = [trajectory.reward[t] + 0.9 * values[t + 1] - values[t] for t in range(len(trajectory))]
    wanted = [sum((0.9 * 0.7) ** k * d for k, d in enumerate(surprise[t:])) for t in range(len(trajectory))]
    assert gae(trajectory, 0.9, 0.7) == pytest.approx(wanted, rel=1e-5)


def test_observations_stay_raw_in_the_replay_buffer_and_are_normalised_for_the_policy():
    model = learned(made(Off, VecNormalize(clocks(2, length=4), norm_reward=False)), 200)
    kept = model.replay_buffer.observations[: model.replay_buffer.pos]
    assert set(np.unique(kept)) <= {*range(5), *range(1000, 1005)}
    assert max(float(batch["obs"].abs().max()) for batch in model.optimizer.batches[-10:]) < 11


# ---------------------------------------------------------------------------------------------- updating


def test_r1_6_on_policy_samples_serve_one_update():
    """Each is seen once an epoch, and the buffer is empty afterwards."""

    class Counting(Fit):
        batches = []

        def update(self, batch, num_sequences):
            assert num_sequences == len(batch["reward"])
            self.batches.append((self.owner.num_timesteps, batch["log_prob"].tolist()))
            return super().update(batch, num_sequences)

    class Counted(On):
        def create_optimizer(self):
            optimizer = Counting(self.policy, self.settings)
            optimizer.owner = self
            return optimizer

    model = learned(made(Counted, n_epochs=3), 120)
    assert len(model.update_buffer) == model.collected_steps == 0
    by_update = {}
    for step, tags in Counting.batches:
        by_update.setdefault(step, []).extend(tags)
    assert list(by_update) == [40, 80, 120]
    everything = set()
    for tags in by_update.values():
        assert len(tags) == 3 * 40
        assert all(tags.count(tag) == 3 for tag in set(tags))
        assert everything.isdisjoint(tags)
        everything |= set(tags)


def test_the_last_steps_are_learned_from_if_they_make_a_minibatch():
    model = learned(made(), 70)
    assert model.num_timesteps == 70
    assert model._n_updates == 2 * 2 + 2 * 1
    assert learned(made(), 50)._n_updates == 2 * 2


@pytest.mark.parametrize("n_envs", [1, 3])
@pytest.mark.parametrize("steps_per_update", [0.5, 4.0, 7.0])
def test_r1_8_updates_are_counted_exactly(n_envs, steps_per_update):
    model = made(Off, clocks(n_envs), steps_per_update=steps_per_update)
    model = learned(model, 2000 if steps_per_update > 1 else 300)
    due = (model.num_timesteps - 10) / steps_per_update
    assert model.optimizer.calls == model._n_updates == int(due)


def test_r1_8_the_ratio_holds_after_a_resume(make_config, tmp_path, tables):
    register("toy_off", "pytorch", Combo(Off))
    config = make_config("ppo")
    first = learned(made(Off, seeded(3), steps_per_update=7), 100)
    folder = save_checkpoint(first, tmp_path / "checkpoint", config, {}, ReplayFiles())
    second = made(Off, seeded(3), steps_per_update=7)
    restore_model(second, folder)
    learned(second, 200)
    assert second._n_updates == int((second.num_timesteps - 10) / 7)
    assert second.replay_buffer.size() == second.num_timesteps


def test_r1_8_without_its_buffer_a_resumed_training_fills_it_first(make_config, tmp_path):
    first = learned(made(Off, seeded(2)), 100)
    folder = save_checkpoint(first, tmp_path / "checkpoint", make_config("ppo"), {}, None)
    second = made(Off, seeded(2))
    restore_model(second, folder)
    learned(second, 20)
    assert second._n_updates - first._n_updates == 10


def test_r1_9_another_replay_buffer_can_take_the_place_of_sb3s():
    class Doubling(ReplayBuffer):
        def __init__(self, *args, factor, **kwargs):
            super().__init__(*args, **kwargs)
            self.factor = factor

        def sample(self, batch_size, env=None):
            drawn = super().sample(batch_size, env)
            return drawn._replace(rewards=self.factor * drawn.rewards)

    model = made(Off, replay_buffer_class=Doubling, replay_buffer_kwargs={"factor": 2})
    assert (learned(model, 40).optimizer.batches[0]["reward"] == 2).all()


def seeded(n_envs):
    """Return clocks that count their episodes, as those of make_vec_env do."""
    env = clocks(n_envs)
    for one in env.envs:
        one.unwrapped.episode = 0
    return env


def test_r4_15_what_an_update_says_is_reported_and_checked():
    model = made()
    said = {}
    model.optimizer.update = lambda batch, count: said
    batch = {"reward": torch.zeros(3)}
    said.update({"Losses/A": 1.5})
    assert model.update_once(batch) == {"Losses/A": 1.5}
    assert model.logger.name_to_value["Losses/A"] == 1.5
    said["Losses/A"] = math.inf
    with pytest.raises(DivergedError, match=r"diverged: Fit.update returned inf for 'Losses/A' at 0 steps.*smaller"):
        model.update_once(batch)
    said["Losses/A"] = "low"
    with pytest.raises(PluginError, match=r"Fit.update returned 'low' for 'Losses/A'; it must return a number"):
        model.update_once(batch)
    model.optimizer.update = lambda batch, count: None
    with pytest.raises(PluginError, match=r"Fit.update returned None; it must return numbers by name"):
        model.update_once(batch)


def test_r4_15_padding_counts_for_nothing_in_a_masked_mean():
    values, mask = torch.tensor([1.0, 3.0, math.nan, 100.0]), torch.tensor([1.0, 1.0, 0.0, 0.0])
    values.requires_grad_()
    mean = Optimizer.masked_mean(values, mask)
    mean.backward()
    assert mean.item() == 2.0
    assert values.grad.tolist() == [0.5, 0.5, 0.0, 0.0]
    assert Optimizer.masked_mean(values, torch.zeros(4)).item() == 0.0


def test_clipped_policy_loss_stops_where_the_ratio_leaves_the_range():
    old = torch.zeros(4)
    log_prob = torch.log(torch.tensor([1.1, 1.5, 0.5, 0.5])).requires_grad_()
    advantage = torch.tensor([1.0, 1.0, 1.0, -1.0])
    loss = Optimizer.clipped_policy_loss(advantage, log_prob, old, 0.2)
    loss.backward()
    assert loss.item() == pytest.approx(-(1.1 + 1.2 + 0.5 - 0.8) / 4)
    assert (log_prob.grad != 0).tolist() == [True, False, True, False]


def test_r4_17_settings_decay_with_progress():
    class Settings(OnPolicySettings):
        clip_range: float = 0.4
        clip_range_schedule: Schedule = "linear"
        ent_coef: float = 0.1

    model = made(type("T", (On,), {"settings_class": Settings}), learning_rate=0.01)
    optimizer = model.optimizer
    optimizer.progress = 0.75
    assert optimizer.decayed("clip_range") == pytest.approx(0.1)
    assert optimizer.decayed("clip_range", minimum=0.2) == 0.2
    assert optimizer.decayed("ent_coef") == 0.1
    optimizer.set_learning_rate(optimizer.decayed("learning_rate"))
    assert optimizer.adam.param_groups[0]["lr"] == pytest.approx(0.0025)


def test_r4_17_a_schedule_goes_on_where_it_was_after_a_resume(make_config, tmp_path):
    class Rates(BaseCallback):
        def _on_training_start(self):
            self.rates = {}

        def _on_step(self):
            return True

        def _on_rollout_start(self):
            self.rates[self.num_timesteps] = self.model.optimizer.adam.param_groups[0]["lr"]

    whole = Rates()
    learned(made(env=seeded(2), learning_rate=1.0), 200, whole)
    assert {step: pytest.approx(1 - step / 200) for step in (40, 80, 120, 160)}.items() <= whole.rates.items()
    first, rest = made(env=seeded(2), learning_rate=1.0), Rates()
    first._total_timesteps = 200

    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 100

    learned(first, 200, Stop())
    folder = save_checkpoint(first, tmp_path / "checkpoint", make_config("ppo"), {}, ReplayFiles())
    second = made(env=seeded(2), learning_rate=1.0)
    restore_model(second, folder)
    learned(second, 200 - second.num_timesteps, rest)
    assert second.num_timesteps == 200
    assert rest.rates[140] == pytest.approx(1 - 140 / 200)


# ---------------------------------------------------------------------------------------------- rewards, statistics


class Novel(armature.RewardSignal):
    """Pays 2 for everything, and counts how often it learns."""

    def evaluate(self, batch):
        return np.full(len(batch["reward"]), 2.0)

    def update(self, batch):
        return {"Losses/Novel": 0.5}


@pytest.fixture
def novel():
    armature.reward_signals["novel"] = Novel
    yield
    del armature.reward_signals["novel"]


def test_r4_13_f12_all_signals_count_by_their_strength(novel):
    signals = {"extrinsic": {"strength": 0.5}, "novel": {"strength": 3.0}}
    model = learned(made(Recording, reward_signals=signals), 40)
    assert all((t.reward == 6.5).all() and (t.environment_reward == 1).all() for t in model.trajectories)
    reported = model.logger.name_to_value
    assert reported["Policy/Extrinsic Reward"] == 0.5
    assert reported["Policy/Novel Reward"] == 6.0
    assert reported["Losses/Novel"] == 0.5
    assert reported["Environment/Cumulative Reward"] == reported["Environment/Episode Length"] == 5.0
    off = learned(made(Off, reward_signals=signals), 40)
    assert all((batch["reward"] == 6.5).all() for batch in off.optimizer.batches)
    assert off.logger.name_to_value["Environment/Cumulative Reward"] == 5.0


def test_r4_13_a_signal_of_the_wrong_shape_is_named(novel, monkeypatch):
    monkeypatch.setattr(Novel, "evaluate", lambda self, batch: np.zeros((len(batch["reward"]), 1)))
    with pytest.raises(PluginError, match=r"Novel.evaluate returned an array of shape \(5, 1\)"):
        learned(made(reward_signals={"novel": {}}), 40)


def test_r4_13_curiosity_fades_with_what_is_known():
    """Random network distillation pays for the new more than for the often seen."""
    model = made(On, clocks(2, length=6), reward_signals={"extrinsic": {}, "rnd": {"strength": 0.1}}, n_epochs=40)
    signal = model.reward_signals.rnd
    often = {"next_obs": torch.tensor([[3.0], [1003.0]]), "reward": torch.zeros(2)}
    learned(model, 400)
    never = {"next_obs": torch.tensor([[500.0], [3000.0]]), "reward": torch.zeros(2)}
    assert signal.evaluate(never).min() > 3 * signal.evaluate(often).max()
    assert {"reward_signals.rnd.predictor", "reward_signals.rnd.target", "reward_signals.rnd.adam"} <= set(
        model.get_modules()
    )


def test_r4_12_statistics_reach_metrics_and_tensorboard_in_one_line(make_config, train, tables):
    class Speaking(On):
        def _process_trajectory(self, trajectory):
            self.add_stat("Policy/Mine", len(trajectory))
            super()._process_trajectory(trajectory)

    register("speaking", "pytorch", Combo(Speaking))
    config = make_config("speaking", tensorboard=True, algo_kwargs=SMALL, policy_kwargs=NET, steps=200)
    session = train(config)
    with (session.run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < float(rows[-1]["Policy/Mine"]) <= 7
    named = ("Policy/Value Estimate", "Losses/Loss", "Policy/Extrinsic Reward", "Environment/Cumulative Reward")
    assert all(math.isfinite(float(rows[-1][name])) for name in named)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(session.run / "tensorboard")).Reload()
    assert {"Policy/Mine", *named} <= set(events.Tags()["scalars"])


# ---------------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("shared", [False, True])
def test_r4_7_a_shared_critic_has_fewer_parameters_and_gets_both_gradients(shared):
    pytest.importorskip("armature.shared_policies")
    policy = made(shared_critic=shared).policy
    hidden, action_head, value_head = 1 * 8 + 8, 8 * 2 + 2 + 2, 8 * 1 + 1
    count = sum(parameter.numel() for parameter in policy.parameters())
    assert count == hidden * (1 if shared else 2) + action_head + value_head
    values, log_prob, _ = policy.evaluate_actions(torch.ones(3, 1), torch.zeros(3, 2))
    touched = []
    for loss in (values.sum(), log_prob.sum()):
        gradients = torch.autograd.grad(
            loss, list(policy.mlp_extractor.parameters()), retain_graph=True, allow_unused=True
        )
        touched.append({index for index, gradient in enumerate(gradients) if gradient is not None})
    assert bool(touched[0] & touched[1]) == shared


# ---------------------------------------------------------------------------------------------- saving


def test_r4_8_d10_moments_and_learned_tensors_are_restored(make_config, tmp_path):
    """Nothing was declared: networks, optimizers and learned tensors are found."""
    first = learned(made(Off, seeded(2)), 60)
    folder = save_checkpoint(first, tmp_path / "checkpoint", make_config("ppo"), {}, ReplayFiles())
    second = made(Off, seeded(2))
    assert set(second.get_modules()) == {"policy", "optimizer.adam", "optimizer.temperature"}
    restore_model(second, folder)
    before, after = (model.optimizer.adam.state_dict()["state"] for model in (first, second))
    assert before.keys() == after.keys() != set()
    for index, moments in before.items():
        assert all(torch.equal(value, after[index][name]) for name, value in moments.items())
    assert second.optimizer.temperature.item() == first.optimizer.temperature.item() > 1


def test_d10_modules_that_are_no_attributes_are_refused():
    class Odd(Fit):
        def get_modules(self):
            return {"critic_net": torch.nn.Linear(1, 1)}

    model = made(type("T", (On,), {"create_optimizer": lambda self: Odd(self.policy, self.settings)}))
    with pytest.raises(PluginError, match=r"Odd.get_modules: 'critic_net' is no attribute"):
        model.get_parameters()


def test_a_trainer_saves_and_loads_as_sb3s_algorithms_do(tmp_path):
    for cls in (On, Off):
        model = learned(made(cls), 60)
        model.save(tmp_path / cls.__name__)
        loaded = cls.load(tmp_path / cls.__name__)
        seen = np.array([[0.0], [3.0], [1004.0]], np.float32)
        assert np.array_equal(model.predict(seen, deterministic=True)[0], loaded.predict(seen, deterministic=True)[0])
        assert loaded.settings == model.settings
        assert loaded.num_timesteps == 60


def test_a_callback_stops_a_trainer():
    class Stop(BaseCallback):
        def _on_step(self):
            return self.num_timesteps < 30

    assert learned(made(), 100, Stop()).num_timesteps == 30


@pytest.mark.parametrize("cls", [On, Off])
def test_the_same_seed_learns_the_same(cls):
    first, second = (learned(made(cls), 100).policy.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


def test_hooks_that_return_or_keep_the_wrong_thing_are_named():
    no_decision = type("NoDecision", (On,), {"act": lambda self, seen: np.zeros((2, 2))})
    with pytest.raises(PluginError, match=r"(?s)NoDecision.act returned .* it must return an armature.Decision"):
        learned(made(no_decision), 40)
    for parent in (On, Off):
        forgetful = type("Forgetful", (parent,), {"_process_trajectory": lambda self, trajectory: None})
        with pytest.raises(PluginError, match=r"Forgetful._process_trajectory kept nothing to learn from"):
            learned(made(forgetful), 40)
    two = type("Two", (Fit,), {"critic": lambda self, obs: torch.zeros(len(obs), 2)})
    with pytest.raises(PluginError, match=r"Two.get_trajectory_value_estimates returned values of shape \(10,\)"):
        learned(made(type("T", (On,), {"create_optimizer": lambda self: two(self.policy, self.settings)})), 40)


def test_columns_of_another_length_are_refused():
    class Short(On):
        def _process_trajectory(self, trajectory):
            self._append_to_update_buffer(trajectory, advantage=np.zeros(2), returns=np.zeros(len(trajectory)))

    with pytest.raises(PluginError, match=r"column 'advantage' has 2 rows, and the trajectory has 5 steps"):
        learned(made(Short), 40)


def test_an_unequal_buffer_is_refused():
    buffer = UpdateBuffer()
    buffer.append(1, {"a": np.zeros(1)})
    with pytest.raises(ValueError, match=r"columns are \['b'\], and those before were \['a'\]"):
        buffer.append(1, {"b": np.zeros(1)})


def test_the_clock_ends_as_it_is_told():
    env = Clock(length=1, cut=False)
    env.reset()
    assert env.step(np.zeros(2, np.float32))[2:4] == (True, False)
