"""Policies whose policy and value function share layers, as SB3's did before 1.8.

    policy_kwargs = {"net_arch": [128, {"vf": [256], "pi": [16]}]}
    model = PPO(SharedMlpPolicy, env, policy_kwargs=policy_kwargs)

A shared layer is one module: both losses train it. `armature.net_arch` has the grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
    create_mlp,
)
from stable_baselines3.common.type_aliases import Schedule
from torch import nn

from armature.errors import ConfigError
from armature.net_arch import SharedArch, parse_shared
from armature.policies import register_policy

NetArch = list[Any] | dict[str, list[int]] | None


class SharedExtractor(nn.Module):
    """Shared layers and the two branches after them.

    Its parts bear SB3's names: TRPO takes parameters for the critic's whose names hold `value`.
    """

    def __init__(self, features_dim: int, arch: SharedArch, activation_fn: type[nn.Module]) -> None:
        super().__init__()
        trunk_dim = (features_dim, *arch.shared)[-1]
        self.latent_dim_pi, self.latent_dim_vf = (trunk_dim, *arch.pi)[-1], (trunk_dim, *arch.vf)[-1]
        self.shared_net = layers(features_dim, arch.shared, activation_fn)
        self.policy_net = layers(trunk_dim, arch.pi, activation_fn)
        self.value_net = layers(trunk_dim, arch.vf, activation_fn)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what the action head sees and what the value head sees."""
        shared = self.shared_net(features)
        return self.policy_net(shared), self.value_net(shared)

    def forward_actor(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the action head sees."""
        return self.policy_net(self.shared_net(features))

    def forward_critic(self, features: torch.Tensor) -> torch.Tensor:
        """Return what the value head sees."""
        return self.value_net(self.shared_net(features))


def layers(input_dim: int, sizes: tuple[int, ...], activation_fn: type[nn.Module]) -> nn.Sequential:
    """Return linear layers, each followed by an activation; without sizes they pass on what they get."""
    return nn.Sequential(*create_mlp(input_dim, -1, list(sizes), activation_fn))


class SharedMlpPolicy(ActorCriticPolicy):
    """A policy and a value function on shared layers, `[64, 64]` unless `net_arch` says otherwise.

    Args:
        observation_space: what is observed.
        action_space: what can be done.
        lr_schedule: the learning rate by remaining progress.
        net_arch: shared sizes, then perhaps a dict of branches: `[128, {"pi": [16], "vf": [256]}]`.
        features_extractor_class: what stands before the shared layers, shared too; None: the usual one.
        share_features_extractor: only True.
        kwargs: everything else that SB3's `ActorCriticPolicy` takes.

    Raises:
        ConfigError: `net_arch` is wrong, or features are not shared.
    """

    default_extractor: ClassVar[type[BaseFeaturesExtractor]] = FlattenExtractor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        net_arch: NetArch = None,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        share_features_extractor: bool = True,
        **kwargs: Any,
    ) -> None:
        require_shared_features(share_features_extractor)
        features_extractor_class = features_extractor_class or self.default_extractor
        net_arch = default_net_arch(features_extractor_class) if net_arch is None else net_arch
        self.arch = parse_shared(net_arch)
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            without_outer_list(net_arch),
            features_extractor_class=features_extractor_class,
            **kwargs,
        )

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = SharedExtractor(self.features_dim, self.arch, self.activation_fn).to(self.device)  # type: ignore[assignment]


class SharedCnnPolicy(SharedMlpPolicy):
    """`SharedMlpPolicy` for images: the convolutions are shared, and the layers of `net_arch` come after them."""

    default_extractor = NatureCNN


class SharedMultiInputPolicy(SharedMlpPolicy):
    """`SharedMlpPolicy` for dict observations."""

    default_extractor = CombinedExtractor


def require_shared_features(share_features_extractor: bool) -> None:
    """Raise `ConfigError` for features of their own: the layers after them cannot be shared then."""
    if not share_features_extractor:
        raise ConfigError(
            "policy_kwargs.share_features_extractor is false, and shared layers see one kind of features. Remove it, "
            'or write net_arch as {"pi": [...], "vf": [...]}.'
        )


def default_net_arch(features_extractor_class: type) -> list[Any]:
    """Return the layers of a policy that is given none: convolutions end in a layer of their own."""
    return [] if issubclass(features_extractor_class, NatureCNN) else [64, 64]


def without_outer_list(net_arch: Any) -> Any:
    """Return `{...}` for `[{...}]`, which SB3 warns of; anything else stays."""
    return (
        net_arch[0]
        if len(net_arch) == 1 and isinstance(net_arch, list) and isinstance(net_arch[0], Mapping)
        else net_arch
    )


for _policy in (SharedMlpPolicy, SharedCnnPolicy, SharedMultiInputPolicy):
    register_policy(_policy.__name__, _policy)
