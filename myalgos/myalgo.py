"""An algorithm of our own, in full: randomized ensembled double Q-learning, REDQ (Chen et al. 2021, arXiv 2101.05982).

SAC learns two critics and takes the smaller of the two as its target, so that what a critic overestimates by chance is
not learned as if it were true. REDQ learns an ensemble of N critics and takes, anew for each update, the smallest of
M drawn at random. With fresh pairs from a larger ensemble the errors of single critics average out, the target is less
biased and the same transitions bear many more updates. The actor climbs the mean over the whole ensemble, once for
`policy_delay` updates of the critics.

The critics have layer normalisation (Hiraoka et al. 2022, arXiv 2110.02034; Ball et al. 2023, arXiv 2302.02948): it
bounds what they say of actions that nobody has tried, and makes up for a smaller ensemble than the ten of the paper.

The file is meant to be copied: it shows the two classes that an algorithm consists of, and the one line that makes it a
row of the table stands in `myalgos/__init__.py`. See docs/tutorials/custom_algorithm.md.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import BaseModel, BasePolicy
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.sac.policies import SACPolicy
from torch import nn
from torch.nn import functional

# ---------------------------------------------------------------------------------------------- networks


class EnsembleLinear(nn.Module):
    """As many linear layers as the ensemble has members, computed at once: one batched product in place of N.

    :param members: number of layers
    :param n_in: numbers that go into each
    :param n_out: numbers that come out of each
    """

    def __init__(self, members: int, n_in: int, n_out: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in)  # as torch.nn.Linear has it
        self.weight = nn.Parameter(torch.empty(members, n_in, n_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, n_out).uniform_(-bound, bound))

    def forward(self, inputs: torch.Tensor, members: torch.Tensor | slice) -> torch.Tensor:
        """Return (members, batch, n_out) for inputs of (members, batch, n_in)."""
        return torch.baddbmm(self.bias[members], inputs, self.weight[members])


class EnsembleCritic(BaseModel):
    """N action-value functions of the same shape, with layer normalisation.

    It takes what SB3 gives the critics of its own policies.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        activation_fn: type[nn.Module] = nn.ReLU,
        normalize_images: bool = True,
        n_critics: int = 2,
    ) -> None:
        super().__init__(
            observation_space, action_space, features_extractor=features_extractor, normalize_images=normalize_images
        )
        self.n_critics = n_critics
        sizes = [features_dim + math.prod(action_space.shape), *net_arch, 1]
        self.layers = nn.ModuleList(EnsembleLinear(n_critics, *pair) for pair in zip(sizes, sizes[1:], strict=False))
        self.activation = activation_fn()

    def forward(
        self, observation: PyTorchObs, action: torch.Tensor, members: torch.Tensor | slice = slice(None)
    ) -> torch.Tensor:
        """Return the values of some members, or of all, with shape (members, batch, 1)."""
        features = self.extract_features(observation, self.features_extractor)
        first, *rest = self.layers
        count = first.weight[members].shape[0]
        values = first(torch.cat([features, action], dim=1).expand(count, -1, -1), members)
        for layer in rest:
            # Without a scale and an offset of its own: the next layer has both.
            values = layer(self.activation(functional.layer_norm(values, values.shape[-1:])), members)
        return values


class REDQPolicy(SACPolicy):
    """SAC's actor, a Gaussian squashed into the action space, beside an ensemble of critics.

    :param n_critics: members of the ensemble
    :param features_extractor_class: what makes a vector of an observation; null chooses by the observation space
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        n_critics: int = 5,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        **kwargs: Any,
    ) -> None:
        extractor = features_extractor_class or default_extractor(observation_space)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            n_critics=n_critics,
            features_extractor_class=extractor,
            **kwargs,
        )

    def make_critic(self, features_extractor: BaseFeaturesExtractor | None = None) -> EnsembleCritic:  # type: ignore[override]
        """Return a fresh ensemble; SB3 asks for one to learn and one to make targets of."""
        kwargs = self._update_features_extractor(self.critic_kwargs, features_extractor)
        del kwargs["share_features_extractor"]  # the optimizer's parameters say it: a shared one is the actor's
        return EnsembleCritic(**kwargs).to(self.device)


def default_extractor(space: spaces.Space[Any]) -> type[BaseFeaturesExtractor]:
    """Return the class of SB3 that makes a vector of observations of a space."""
    if isinstance(space, spaces.Dict):
        return CombinedExtractor
    return NatureCNN if is_image_space(space) else FlattenExtractor


# ---------------------------------------------------------------------------------------------- learning


class REDQ(OffPolicyAlgorithm):
    """Randomized ensembled double Q-learning with layer-normalised critics: SAC's actor, many critics, many updates.

    :param subset_size: members of the ensemble, drawn anew for each update, whose smallest value is the target
    :param policy_delay: updates of the critics for each update of the actor
    :param ent_coef_init: entropy coefficient to begin with; it is learned from there
    :param target_entropy: entropy that the coefficient is tuned to reach; null takes minus the number of actions
    """

    policy_aliases = dict.fromkeys(("MlpPolicy", "CnnPolicy", "MultiInputPolicy"), REDQPolicy)
    policy: REDQPolicy

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: Any,
        learning_rate: float | Schedule = 3e-4,
        subset_size: int = 2,
        policy_delay: int = 2,
        ent_coef_init: float = 0.02,
        target_entropy: float | None = None,
        _init_setup_model: bool = True,
        **kwargs: Any,
    ) -> None:
        fixed = {"sde_support": False, "support_multi_env": True, "supported_action_spaces": (spaces.Box,)}
        super().__init__(policy, env, learning_rate, **fixed, **kwargs)
        self.subset_size, self.policy_delay = subset_size, policy_delay
        self.ent_coef_init, self.target_entropy = ent_coef_init, target_entropy
        if _init_setup_model:
            self._setup_model()

    def _setup_model(self) -> None:
        super()._setup_model()  # replay buffer and policy
        self.actor, self.critic = self.policy.actor, self.policy.critic
        if not 1 <= self.subset_size <= self.critic.n_critics:
            raise ValueError(f"subset_size is {self.subset_size}; the ensemble has {self.critic.n_critics} members.")
        if self.target_entropy is None:
            self.target_entropy = -float(math.prod(self.action_space.shape))
        start = torch.full((1,), math.log(self.ent_coef_init), device=self.device)
        self.log_ent_coef = start.requires_grad_()  # its logarithm, so that it stays positive
        self.ent_coef_optimizer = torch.optim.Adam([self.log_ent_coef], lr=self.lr_schedule(1))

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update the critics `gradient_steps` times, and the actor each `policy_delay` times."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer, self.ent_coef_optimizer])
        for _ in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
            self._update_critics(batch)
            self._n_updates += 1
            if self._n_updates % self.policy_delay == 0:
                self._update_actor(batch)
        self.logger.record("train/n_updates", self._n_updates)

    def _update_critics(self, batch: Any) -> None:
        target = self._target(batch)
        values = self.critic(batch.observations, batch.actions)
        # Summed over the ensemble, so that each member learns as fast as it would alone.
        loss = functional.mse_loss(values, target.expand_as(values)) * len(values)
        self._step(self.critic.optimizer, loss)
        polyak_update(self.critic.parameters(), self.policy.critic_target.parameters(), self.tau)
        self.logger.record_mean("train/critic_loss", loss.item() / len(values))

    @torch.no_grad()
    def _target(self, batch: Any) -> torch.Tensor:
        """Return rewards and what follows: the smallest value of a random subset, and the actor's entropy."""
        actions, log_prob = self.actor.action_log_prob(batch.next_observations)
        subset = torch.randperm(self.critic.n_critics, device=self.device)[: self.subset_size]
        # Only the members that were drawn are computed.
        following = self.policy.critic_target(batch.next_observations, actions, subset).amin(dim=0)
        following = following - self.log_ent_coef.exp() * log_prob.reshape(-1, 1)
        discounts = self.gamma if batch.discounts is None else batch.discounts  # n-step returns bring their own
        return batch.rewards + (1 - batch.dones) * discounts * following

    def _update_actor(self, batch: Any) -> None:
        actions, log_prob = self.actor.action_log_prob(batch.observations)
        ent_coef = self.log_ent_coef.exp().detach()
        loss = ent_coef * log_prob.mean() - self.critic(batch.observations, actions).mean()
        self._step(self.actor.optimizer, loss)
        surplus = (log_prob + self.target_entropy).detach().mean()
        self._step(self.ent_coef_optimizer, -(self.log_ent_coef * surplus).sum())
        self.logger.record_mean("train/actor_loss", loss.item())
        self.logger.record_mean("train/ent_coef", ent_coef.item())

    @staticmethod
    def _step(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        # The actor's loss passes through the critics: no time is spent on gradients that are nobody's business here.
        loss.backward(inputs=[parameter for group in optimizer.param_groups for parameter in group["params"]])
        optimizer.step()

    # What follows says what a saved model consists of; see "State of your own" in docs/extending.md.

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "actor", "critic"]  # they are in the policy

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy", "actor.optimizer", "critic.optimizer", "ent_coef_optimizer"], ["log_ent_coef"]
