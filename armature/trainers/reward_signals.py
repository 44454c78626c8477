"""Reward signals: what a trajectory or a batch is worth, by the environment's word or by the agent's own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from pydantic import Field
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from torch import Tensor, nn

from armature.errors import PluginError
from armature.registry import resolve
from armature.trainers.buffer import Batch
from armature.trainers.optimizer import Saved, saved_attributes
from armature.trainers.settings import RewardSignalSettings, reward_signals, signal_settings


class RewardSignal(ABC):
    """One source of rewards.

    Args:
        settings: of this signal.
        observation_space: of the environment.
        action_space: of the environment.
        device: where networks shall live.
    """

    settings_class: ClassVar[type[RewardSignalSettings]] = RewardSignalSettings
    """What stands under the signal's name in `reward_signals`."""

    def __init__(
        self,
        settings: Any,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device,
    ) -> None:
        self.settings = settings
        self.observation_space, self.action_space, self.device = observation_space, action_space, device

    @abstractmethod
    def evaluate(self, batch: Batch) -> np.ndarray:
        """Return the reward of each step of a batch, shape (n,), before it is multiplied by `strength`.

        The batch has `obs`, `next_obs`, `action`, `reward` (the environment's) and `done`.
        """

    def update(self, batch: Batch) -> dict[str, float]:
        """Learn from a batch; return numbers to report, by name."""
        return {}

    def get_modules(self) -> dict[str, Saved]:
        """Return what is saved with the model, by the name of its attribute."""
        return saved_attributes(self)


class Extrinsic(RewardSignal):
    """The environment's own reward."""

    def evaluate(self, batch: Batch) -> np.ndarray:
        """Return what the environment gave."""
        return batch["reward"].cpu().numpy()


class RNDSettings(RewardSignalSettings):
    """Settings of random network distillation."""

    hidden_units: int = Field(64, ge=1, le=4096)
    """Width of both networks, and of what they return."""
    learning_rate: float = 1e-4
    """Step size of the network that learns."""


class RandomNetworkDistillation(RewardSignal):
    """Curiosity: how badly a network predicts what a random one says of an observation (Burda et al. 2018).

    What was seen often is predicted well, and so no longer rewarded. Observations are brought to mean 0 and variance 1
    by their running statistics, and rewards divided by their running standard deviation.
    """

    settings_class = RNDSettings

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        size, width = _flat_size(self.observation_space), self.settings.hidden_units
        self.target, self.predictor = _network(size, width).to(self.device), _network(size, width).to(self.device)
        self.target.requires_grad_(False)
        # Without a momentum these layers keep plain running means and variances, saved with all other weights.
        self.seen = nn.BatchNorm1d(size, affine=False, momentum=None).to(self.device)
        self.errors = nn.BatchNorm1d(1, affine=False, momentum=None).to(self.device)
        self.adam = torch.optim.Adam(self.predictor.parameters(), self.settings.learning_rate)

    def evaluate(self, batch: Batch) -> np.ndarray:
        """Return the errors of the prediction, in standard deviations."""
        with torch.no_grad():
            error = self._errors(batch, learning=False)
            return (error / (self.errors.running_var.sqrt() + 1e-8)).cpu().numpy()  # type: ignore[union-attr]

    def update(self, batch: Batch) -> dict[str, float]:
        """Bring the predictor nearer to the random network."""
        error = self._errors(batch, learning=True)
        self.errors.train()
        if len(error) > 1:
            self.errors(error.detach()[:, None])
        loss = error.mean()
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.adam.step()
        return {"Losses/RND Loss": loss.item()}

    def _errors(self, batch: Batch, learning: bool) -> Tensor:
        seen = _flat(batch["next_obs"])
        self.seen.train(learning and len(seen) > 1)
        seen = self.seen(seen).clamp(-5, 5)
        return (self.predictor(seen) - self.target(seen)).pow(2).mean(dim=1)


def _network(size: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(size, width), nn.LeakyReLU(), nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)
    )


def _flat_size(space: spaces.Space[Any]) -> int:
    if isinstance(space, spaces.Dict):
        return sum(_flat_size(part) for part in space.spaces.values())
    return 1 if isinstance(space, spaces.Discrete) else get_flattened_obs_dim(space)


def _flat(observations: Any) -> Tensor:
    """Return observations as vectors, those of a dict one after the other."""
    if isinstance(observations, dict):
        return torch.cat([_flat(part) for part in observations.values()], dim=1)
    return observations.reshape(len(observations), -1).float()


class RewardSignals:
    """All reward signals of a trainer, each an attribute of its own name.

    Args:
        chosen: their settings by name, JSON values.
        arguments: what the constructor of each takes after its settings.
    """

    def __init__(self, chosen: dict[str, dict[str, Any]], *arguments: Any) -> None:
        for name, values in chosen.items():
            setattr(self, name, resolve(reward_signals[name])(signal_settings(name, values), *arguments))

    def items(self) -> list[tuple[str, RewardSignal]]:
        """Return the signals by name."""
        return list(vars(self).items())

    def evaluate(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return the reward of each signal, multiplied by its strength, float32 (n,)."""
        found = {}
        for name, signal in self.items():
            rewards = np.asarray(signal.evaluate(batch), np.float32)
            if rewards.shape != (len(batch["reward"]),):
                raise PluginError(
                    f"{type(signal).__name__}.evaluate returned an array of shape {rewards.shape}; it must return a "
                    f"number for each step, shape ({len(batch['reward'])},)."
                )
            found[name] = signal.settings.strength * rewards
        return found
