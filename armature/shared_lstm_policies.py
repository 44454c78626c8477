"""Recurrent policies whose policy and value function share an LSTM and the layers around it.

    policy_kwargs = {"net_arch": [8, "lstm", {"vf": [5, 10], "pi": [10]}], "n_lstm": 64, "layer_norm": True}
    model = RecurrentPPO(SharedMlpLstmPolicy, env, policy_kwargs=policy_kwargs)

The losses of both heads train the LSTM. sb3-contrib's own policies keep one LSTM for each head, or, with
`shared_lstm`, one that the value loss does not reach.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from sb3_contrib.common.recurrent.type_aliases import RNNStates
from stable_baselines3.common.distributions import Distribution
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from armature.net_arch import parse_shared
from armature.policies import register_policy
from armature.shared_policies import NetArch, SharedExtractor, layers, require_shared_features

LstmStates = tuple[torch.Tensor, torch.Tensor]
"""Hidden and cell state, each (1, sequences, n_lstm)."""


class LayerNormLSTM(nn.Module):
    """An LSTM with layer normalisation: Ba, Kiros and Hinton, "Layer Normalization" (2016), equations 20 to 22.

    It is called as torch's `nn.LSTM` of one layer is.
    """

    num_layers = 1

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.hidden_size = input_size, hidden_size
        self.from_input = nn.Linear(input_size, 4 * hidden_size)
        self.from_hidden = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm_input, self.norm_hidden = nn.LayerNorm(4 * hidden_size), nn.LayerNorm(4 * hidden_size)
        self.norm_cell = nn.LayerNorm(hidden_size)

    def forward(self, sequence: torch.Tensor, states: LstmStates) -> tuple[torch.Tensor, LstmStates]:
        """Return the outputs (length, sequences, n_lstm) and the states after the last of them."""
        hidden, cell = states[0][0], states[1][0]
        from_input = self.norm_input(self.from_input(sequence))
        outputs = []
        for step in from_input:
            gates = step + self.norm_hidden(self.from_hidden(hidden))
            forget, enter, leave, candidate = gates.chunk(4, dim=-1)
            cell = forget.sigmoid() * cell + enter.sigmoid() * candidate.tanh()
            hidden = leave.sigmoid() * self.norm_cell(cell).tanh()
            outputs.append(hidden)
        return torch.stack(outputs), (hidden[None], cell[None])


class SharedMlpLstmPolicy(RecurrentActorCriticPolicy):
    """A recurrent policy and a value function on shared layers, one of which is an LSTM.

    Args:
        observation_space: what is observed.
        action_space: what can be done.
        lr_schedule: the learning rate by remaining progress.
        net_arch: shared sizes around one "lstm", then perhaps a dict of branches.
        n_lstm: units of the LSTM.
        layer_norm: whether the LSTM normalises its gates and its cell.
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
        n_lstm: int = 256,
        layer_norm: bool = False,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        share_features_extractor: bool = True,
        **kwargs: Any,
    ) -> None:
        require_shared_features(share_features_extractor)
        net_arch = ["lstm"] if net_arch is None else net_arch
        self.arch, self.n_lstm, self.layer_norm = parse_shared(net_arch, recurrent=True), n_lstm, layer_norm
        # The parent's constructor would add an LSTM for each head; its own parent's builds what is defined below.
        super(RecurrentActorCriticPolicy, self).__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            features_extractor_class=features_extractor_class or self.default_extractor,
            **kwargs,
        )
        self.lstm_hidden_state_shape = (1, 1, n_lstm)

    def _build_mlp_extractor(self) -> None:
        before = self.arch.before or ()
        self.trunk = layers(self.features_dim, before, self.activation_fn).to(self.device)
        if self.ortho_init:  # the parent does so for the layers after the LSTM
            self.trunk.apply(partial(self.init_weights, gain=np.sqrt(2)))
        lstm = LayerNormLSTM if self.layer_norm else nn.LSTM
        self.lstm_actor = lstm((self.features_dim, *before)[-1], self.n_lstm).to(self.device)  # type: ignore[assignment]
        self.mlp_extractor = SharedExtractor(self.n_lstm, self.arch, self.activation_fn).to(self.device)  # type: ignore[assignment]

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "n_lstm": self.n_lstm, "layer_norm": self.layer_norm}

    def _remember(
        self, obs: PyTorchObs, lstm_states: LstmStates, episode_starts: torch.Tensor
    ) -> tuple[torch.Tensor, LstmStates]:
        """Return the LSTM's outputs and its new states; an episode starts from zeros."""
        features = self.trunk(self.extract_features(obs))
        return self._process_sequence(features, lstm_states, episode_starts, self.lstm_actor)  # type: ignore[return-value]

    def forward(  # type: ignore[override]
        self, obs: PyTorchObs, lstm_states: RNNStates, episode_starts: torch.Tensor, deterministic: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, RNNStates]:
        """Return actions, values, log probabilities and the new states, which are the same for both heads."""
        memory, states = self._remember(obs, lstm_states.pi, episode_starts)  # type: ignore[arg-type]
        latent_pi, latent_vf = self.mlp_extractor(memory)
        distribution = self._get_action_dist_from_latent(latent_pi)
        actions = distribution.get_actions(deterministic=deterministic)
        log_prob = distribution.log_prob(actions)
        actions = actions.reshape((-1, *self.action_space.shape))  # type: ignore[misc]
        return actions, self.value_net(latent_vf), log_prob, RNNStates(states, states)

    def get_distribution(  # type: ignore[override]
        self, obs: PyTorchObs, lstm_states: LstmStates, episode_starts: torch.Tensor
    ) -> tuple[Distribution, LstmStates]:
        """Return the distribution of actions and the new states."""
        memory, states = self._remember(obs, lstm_states, episode_starts)
        return self._get_action_dist_from_latent(self.mlp_extractor.forward_actor(memory)), states

    def predict_values(  # type: ignore[override]
        self, obs: PyTorchObs, lstm_states: LstmStates, episode_starts: torch.Tensor
    ) -> torch.Tensor:
        """Return the values."""
        memory, _ = self._remember(obs, lstm_states, episode_starts)
        return self.value_net(self.mlp_extractor.forward_critic(memory))

    def evaluate_actions(  # type: ignore[override]
        self, obs: PyTorchObs, actions: torch.Tensor, lstm_states: RNNStates, episode_starts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Return values, log probabilities of actions, and entropy."""
        memory, _ = self._remember(obs, lstm_states.pi, episode_starts)  # type: ignore[arg-type]
        latent_pi, latent_vf = self.mlp_extractor(memory)
        distribution = self._get_action_dist_from_latent(latent_pi)
        return self.value_net(latent_vf), distribution.log_prob(actions), distribution.entropy()


class SharedCnnLstmPolicy(SharedMlpLstmPolicy):
    """`SharedMlpLstmPolicy` for images."""

    default_extractor = NatureCNN


class SharedMultiInputLstmPolicy(SharedMlpLstmPolicy):
    """`SharedMlpLstmPolicy` for dict observations."""

    default_extractor = CombinedExtractor


for _policy in (SharedMlpLstmPolicy, SharedCnnLstmPolicy, SharedMultiInputLstmPolicy):
    register_policy(_policy.__name__, _policy)
