"""Soft actor-critic (Haarnoja et al. 2018, arXiv 1812.05905) for processors: what SB3's computes, in less time.

The mathematics is that of SB3's SAC; what differs is how it is computed, and when:

- Both critics are one batched product, and so are both targets. Adam is fused, and the targets follow in one call.
- The loss of the actor leaves the weights of the critics out of its backward pass. As in TD3 (Fujimoto et al. 2018,
  arXiv 1802.09477) the actor, and with it the entropy coefficient, is updated at every `policy_delay`-th update only.
- The batches of all updates of a round are drawn at once. The density of a squashed Gaussian is written out, in a form
  that is exact far out: log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2u)).
- Updates are done while the environments step: between sending actions and waiting for what comes of them. With worker
  processes learning and simulation share no time otherwise. The price: actions are chosen by a policy that is one round
  of updates older than SB3's. The order of everything is fixed, so results do not depend on the number of workers.

The row of the table normalises the layers of the critics (`layer_norm`), which SB3's SAC does not: values of actions
that nobody has tried stay bounded, and the same transitions teach more (Ball et al. 2023, arXiv 2302.02948).

A callback sees at a step what it sees with SB3: all updates on all transitions that are stored. `benchmarks/README.md`
says what each of these gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.common.type_aliases import PyTorchObs, ReplayBufferSamples, RolloutReturn
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn
from stable_baselines3.sac.policies import SACPolicy
from torch.nn import functional

from armature.errors import ConfigError
from armature.myalgos.myalgo import REDQPolicy, descend
from armature.state import numpy_state, set_numpy_state

# ---------------------------------------------------------------------------------------------- networks


class FastSACPolicy(REDQPolicy):
    """SAC's actor, a Gaussian squashed into the action space, beside critics that are computed at once.

    :param n_critics: critics, the smallest of which is believed
    :param layer_norm: whether the critics normalise their layers (Ball et al. 2023, arXiv 2302.02948)
    """

    def __init__(
        self,
        *args: Any,
        n_critics: int = 2,
        layer_norm: bool = False,
        optimizer_class: type[torch.optim.Optimizer] = torch.optim.Adam,
        optimizer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if optimizer_class is torch.optim.Adam:
            optimizer_kwargs = {"fused": True, **(optimizer_kwargs or {})}
        kwargs |= {"optimizer_class": optimizer_class, "optimizer_kwargs": optimizer_kwargs}
        super().__init__(*args, n_critics=n_critics, layer_norm=layer_norm, **kwargs)


# ---------------------------------------------------------------------------------------------- collecting


class Meanwhile(VecEnvWrapper):
    """Environments that have something done while they step.

    :param task: is called between `step_async` and `step_wait`; it must not ask the environments anything
    """

    def __init__(self, venv: VecEnv, task: Callable[[], None]) -> None:
        super().__init__(venv)
        self.task = task

    def reset(self) -> VecEnvObs:
        """Start an episode in every environment."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Do the task, then wait for the step."""
        self.task()
        return self.venv.step_wait()


# ---------------------------------------------------------------------------------------------- learning


class FastSAC(SAC):
    """Soft actor-critic for processors: critics at once, and updates while the environments step.

    :param policy_delay: updates of the critics for each update of the actor
    """

    policy_aliases = dict.fromkeys(("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), FastSACPolicy)
    critic: Any  # an EnsembleCritic
    critic_target: Any

    def __init__(self, policy: str | type[SACPolicy], env: Any, policy_delay: int = 2, **kwargs: Any) -> None:
        # Set before SAC's constructor, which ends with `_setup_model`.
        self.policy_delay = policy_delay
        self._due: list[ReplayBufferSamples] = []
        self._drawn_from: list[Any] = []
        self._to_draw_again = 0
        self._busy_env: Meanwhile | None = None
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        if not 1 <= self.policy_delay <= 1_000_000:
            raise ConfigError(f"algo_kwargs.policy_delay is {self.policy_delay}; allowed: 1 to 1,000,000.")
        if self.log_ent_coef is not None:
            self.ent_coef_optimizer = torch.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1), fused=True)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_due", "_drawn_from", "_to_draw_again", "_busy_env"]

    def get_state(self) -> dict[str, Any]:
        """Return how many updates are due, and what their batches were drawn from; the replay buffer is kept anyway."""
        return {"due": len(self._due), "drawn_from": self._drawn_from if self._due else []}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Draw the same batches again when training goes on."""
        self._to_draw_again, self._drawn_from = int(state.get("due", 0)), list(state.get("drawn_from", []))

    # -------------------------------------------------------------------------------------------- when

    def collect_rollouts(self, env: VecEnv, *args: Any, **kwargs: Any) -> RolloutReturn:
        """Collect as SB3 does, and do the updates that are due while the environments step."""
        if self._busy_env is None or self._busy_env.venv is not env:
            self._busy_env = Meanwhile(env, self._catch_up)
        if self._to_draw_again:
            set_numpy_state(self._drawn_from)
            self._draw(self._to_draw_again, self.batch_size)
            self._to_draw_again = 0
        return super().collect_rollouts(self._busy_env, *args, **kwargs)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Draw the batches of so many updates, and do these during the next step, or now if there is none."""
        # Drawn now: hindsight asks the environments for rewards, which they cannot tell while they step.
        self._draw(gradient_steps, batch_size)
        if self.num_timesteps >= self._total_timesteps:
            self._catch_up()

    def _draw(self, gradient_steps: int, batch_size: int) -> None:
        self._drawn_from = numpy_state()
        drawn = self.replay_buffer.sample(gradient_steps * batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
        self._due = split(drawn, gradient_steps)

    def _catch_up(self) -> None:
        """Do the updates that are due."""
        if not self._due:
            return
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer]
        self._update_learning_rate([optimizer for optimizer in optimizers if optimizer is not None])
        for batch in self._due:
            self._update(batch)
        self._due = []
        self.policy.set_training_mode(False)
        self.logger.record("train/n_updates", self._n_updates)

    # -------------------------------------------------------------------------------------------- what

    def _update(self, batch: ReplayBufferSamples) -> None:
        if self.use_sde:
            self.actor.reset_noise()
        self._n_updates += 1
        critic_loss = self._critic_loss(batch)
        descend(self.critic.optimizer, critic_loss)
        if self._n_updates % self.policy_delay == 0:
            self._update_actor(batch)
        if self._n_updates % self.target_update_interval == 0:
            self._follow()
        self.logger.record_mean("train/critic_loss", critic_loss.item())

    def _update_actor(self, batch: ReplayBufferSamples) -> None:
        loss, log_prob = self._actor_loss(batch)
        descend(self.actor.optimizer, loss)
        if self.ent_coef_optimizer is not None and self.log_ent_coef is not None:  # it is learned
            # The gradient of -log_ent_coef * mean(log_prob + target_entropy), written down.
            self.log_ent_coef.grad = -(log_prob.detach().mean(0) + float(self.target_entropy))
            self.ent_coef_optimizer.step()
        self.logger.record_mean("train/actor_loss", loss.item())
        self.logger.record("train/ent_coef", self._entropy_coefficient().item())

    def _critic_loss(self, batch: ReplayBufferSamples) -> torch.Tensor:
        values = self.critic(batch.observations, batch.actions)
        return functional.mse_loss(values, self._target(batch).expand_as(values)) * (len(values) / 2)

    @torch.no_grad()
    def _target(self, batch: ReplayBufferSamples) -> torch.Tensor:
        """Return the reward and what follows it: the smallest value, and the actor's entropy."""
        actions, log_prob = self._act(batch.next_observations)
        following = self.critic_target(batch.next_observations, actions).amin(dim=0)
        following = following - self._entropy_coefficient() * log_prob
        discounts = self.gamma if batch.discounts is None else batch.discounts  # n-step returns bring their own
        return batch.rewards + (1 - batch.dones) * discounts * following

    def _actor_loss(self, batch: ReplayBufferSamples) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the loss, and the logarithms of the densities at the actions it is about."""
        actions, log_prob = self._act(batch.observations)
        values = self.critic(batch.observations, actions).amin(dim=0)
        return (self._entropy_coefficient() * log_prob - values).mean(), log_prob

    def _act(self, observations: PyTorchObs) -> tuple[torch.Tensor, torch.Tensor]:
        """Return random actions, and the logarithms of their densities with shape (batch, 1)."""
        if self.use_sde:
            actions, log_prob = self.actor.action_log_prob(observations)
            return actions, log_prob.reshape(-1, 1)
        mean, log_std, _ = self.actor.get_action_dist_params(observations)
        return squashed_gaussian(mean, log_std, torch.randn_like(mean))

    @torch.no_grad()
    def _follow(self) -> None:
        """Let the targets come nearer to the critics."""
        torch._foreach_lerp_(list(self.critic_target.parameters()), list(self.critic.parameters()), self.tau)
        for mine, seen in zip(self.batch_norm_stats_target, self.batch_norm_stats, strict=True):
            mine.copy_(seen)

    def _entropy_coefficient(self) -> torch.Tensor:
        return self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.detach().exp()


def squashed_gaussian(
    mean: torch.Tensor, log_std: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tanh(mean + std * noise) and the logarithm of its density, which is summed over the last axis."""
    raw = torch.addcmul(mean, log_std.exp(), noise)
    # log N(noise) - log_std - log(1 - tanh(raw)^2), but for what is the same for all.
    terms = 2 * (raw + functional.softplus(-2 * raw)) - log_std - 0.5 * noise.square()
    constant = mean.shape[-1] * (0.5 * math.log(2 * math.pi) + 2 * math.log(2))
    return raw.tanh(), terms.sum(dim=-1, keepdim=True) - constant


def split(drawn: ReplayBufferSamples, parts: int) -> list[ReplayBufferSamples]:
    """Return batches of equal size, each with its share of every stretch of what was drawn.

    Buffers that mix sources (hindsight, demonstrations) put one after the other.
    """

    def shares(value: Any) -> list[Any]:
        if value is None:
            return [None] * parts
        if isinstance(value, dict):
            named = {key: shares(part) for key, part in value.items()}
            return [{key: part[index] for key, part in named.items()} for index in range(parts)]
        return list(value.unflatten(0, (-1, parts)).transpose(0, 1).contiguous().unbind())

    return [type(drawn)(*batch) for batch in zip(*map(shares, drawn), strict=True)]
