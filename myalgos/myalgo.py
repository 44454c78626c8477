"""An algorithm of our own, in full: randomized ensembled double Q-learning, REDQ (Chen et al. 2021, arXiv 2101.05982).

SAC learns two critics and takes the smaller of the two as its target, so that what a critic overestimates by chance is
not learned as if it were true. REDQ learns an ensemble of N critics and takes, anew for each update, the smallest of
M drawn at random. With fresh pairs from a larger ensemble the errors of single critics average out, the target is less
biased and the same transitions bear many more updates. The actor climbs the mean over the whole ensemble, once for
`policy_delay` updates of the critics.

The critics have layer normalisation (Hiraoka et al. 2022, arXiv 2110.02034; Ball et al. 2023, arXiv 2302.02948): it
bounds what they say of actions that nobody has tried, and makes up for a smaller ensemble than the ten of the paper.

The file is meant to be copied: a policy class, an algorithm class, and a row of the table in `myalgos/__init__.py`.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.policies import BaseModel
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, ReplayBufferSamples, Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import SACPolicy
from torch import nn
from torch.nn import functional

from armature.errors import ConfigError

# ---------------------------------------------------------------------------------------------- networks


class EnsembleLinear(nn.Module):
    """As many linear layers as the ensemble has members, computed at once: one batched product in place of N."""

    def __init__(self, members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.out_features, bound = n_out, 1 / math.sqrt(n_in)  # as torch.nn.Linear has it
        self.weight = nn.Parameter(torch.empty(members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, n_out).uniform_(-bound, bound))

    def forward(self, inputs: torch.Tensor, members: torch.Tensor | None) -> torch.Tensor:
        """Return (members, batch, n_out) for inputs of (batch, n_in), the same for all, or (members, batch, n_in)."""
        weight, bias = (self.weight, self.bias) if members is None else (self.weight[members], self.bias[members])
        if weight.shape[-1] == 1:  # matrix products with a single column are slow
            return (inputs * weight.mT).sum(dim=-1, keepdim=True) + bias
        return torch.baddbmm(bias, inputs.expand(len(weight), -1, -1), weight)


class EnsembleCritic(BaseModel):
    """N action-value functions of the same shape, with or without layer normalisation."""

    features_extractor: BaseFeaturesExtractor

    def __init__(
        self, n_critics: int, layer_norm: bool, net_arch: list[int], activation_fn: Any, features_dim: int, **base: Any
    ) -> None:
        super().__init__(**base)
        self.n_critics, self.layer_norm = n_critics, layer_norm
        sizes = [features_dim + math.prod(self.action_space.shape or ()), *net_arch, 1]
        self.layers = nn.ModuleList(EnsembleLinear(n_critics, *pair) for pair in pairwise(sizes))
        self.activation = activation_fn()

    def forward(
        self, observation: PyTorchObs, action: torch.Tensor, members: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return the values of some members, or of all, with shape (members, batch, 1)."""
        features = self.extract_features(observation, self.features_extractor)
        first, *others = self.layers
        values = first(torch.cat([features, action], dim=1), members)
        for layer in others:
            if self.layer_norm:  # a plain one: a learned scale would only repeat what the next layer's weights can do
                values = functional.layer_norm(values, values.shape[-1:])
            values = layer(self.activation(values), members)
        return values


class REDQPolicy(SACPolicy):
    """SAC's actor, a Gaussian squashed into the action space, beside an ensemble of critics.

    :param n_critics: members of the ensemble
    :param layer_norm: whether the critics normalise their layers
    :param features_extractor_class: what makes a vector of an observation; null chooses by the observation space
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        n_critics: int = 5,
        layer_norm: bool = True,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        **kwargs: Any,
    ) -> None:
        self.layer_norm = layer_norm
        kwargs["features_extractor_class"] = features_extractor_class or default_extractor(observation_space)
        super().__init__(observation_space, action_space, lr_schedule, n_critics=n_critics, **kwargs)

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """Return a fresh ensemble; SB3 asks for one to learn and one to make targets of."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        del kwargs["share_features_extractor"]  # SAC's policy leaves a shared one to the optimizer of the actor
        return EnsembleCritic(layer_norm=self.layer_norm, **kwargs).to(self.device)


def default_extractor(space: spaces.Space[Any]) -> type[BaseFeaturesExtractor]:
    """Return the class of SB3 that makes a vector of observations of a space."""
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space) else FlattenExtractor


# ---------------------------------------------------------------------------------------------- learning


class REDQ(SAC):
    """Randomized ensembled double Q-learning: SAC's actor, an ensemble of critics, targets from a random few of them.

    :param subset_size: members of the ensemble, drawn anew for each update, whose smallest value is the target
    :param policy_delay: updates of the critics for each update of the actor
    """

    policy_aliases = dict.fromkeys(("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), REDQPolicy)
    critic: Any  # an EnsembleCritic
    critic_target: Any

    def __init__(
        self, policy: str | type[SACPolicy], env: Any, subset_size: int = 2, policy_delay: int = 2, **kwargs: Any
    ) -> None:
        # Set before SAC's constructor, which ends with `_setup_model`.
        self.subset_size, self.policy_delay = subset_size, policy_delay
        super().__init__(policy, env, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()  # replay buffer, networks, entropy coefficient
        for name, most in (("subset_size", self.critic.n_critics), ("policy_delay", 1_000_000)):
            if not 1 <= getattr(self, name) <= most:
                raise ConfigError(f"algo_kwargs.{name} is {getattr(self, name)}; allowed: 1 to {most:,}.")

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update the critics `gradient_steps` times, and the actor at every `policy_delay`-th of them."""
        self.policy.set_training_mode(True)
        optimizers = [self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer]
        self._update_learning_rate([optimizer for optimizer in optimizers if optimizer is not None])
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)  # type: ignore[union-attr]
            if self.use_sde:
                self.actor.reset_noise()
            self._n_updates += 1
            self._update_critics(batch)
            if self._n_updates % self.policy_delay == 0:
                self._update_actor(batch)
            if self._n_updates % self.target_update_interval == 0:
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        self.logger.record("train/n_updates", self._n_updates)

    def _update_critics(self, batch: ReplayBufferSamples) -> None:
        values = self.critic(batch.observations, batch.actions)
        # A sum over the ensemble, so that each member learns as fast as it would alone.
        loss = functional.mse_loss(values, self._target(batch).expand_as(values)) * len(values)
        descend(self.critic.optimizer, loss)
        self.logger.record_mean("train/critic_loss", loss.item() / len(values))

    @torch.no_grad()
    def _target(self, batch: ReplayBufferSamples) -> torch.Tensor:
        """Return the reward and what follows it: the smallest value of a random subset, and the actor's entropy."""
        actions, log_prob = self.actor.action_log_prob(batch.next_observations)
        subset = torch.randperm(self.critic.n_critics)[: self.subset_size]
        following = self.critic_target(batch.next_observations, actions, subset).amin(dim=0)
        following = following - self._entropy_coefficient() * log_prob.reshape(-1, 1)
        discounts = self.gamma if batch.discounts is None else batch.discounts  # n-step returns bring their own
        return batch.rewards + (1 - batch.dones) * discounts * following

    def _update_actor(self, batch: ReplayBufferSamples) -> None:
        actions, log_prob = self.actor.action_log_prob(batch.observations)
        weight = self._entropy_coefficient()
        loss = (weight * log_prob).mean() - self.critic(batch.observations, actions).mean()
        descend(self.actor.optimizer, loss)
        if self.ent_coef_optimizer is not None and self.log_ent_coef is not None:  # it is learned
            surplus = (log_prob.detach() + float(self.target_entropy)).mean()
            descend(self.ent_coef_optimizer, -(self.log_ent_coef * surplus).sum())
        self.logger.record_mean("train/actor_loss", loss.item())
        self.logger.record_mean("train/ent_coef", weight.item())

    def _entropy_coefficient(self) -> torch.Tensor:
        return self.ent_coef_tensor if self.log_ent_coef is None else self.log_ent_coef.exp().detach()


def descend(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """Take a step of an optimizer; gradients are computed for its own parameters alone, and none is left elsewhere."""
    optimizer.zero_grad()
    owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    loss.backward(inputs=owned)  # type: ignore[no-untyped-call]
    optimizer.step()
