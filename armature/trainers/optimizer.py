"""Optimizers: how a policy is changed by a batch, and what its critic thinks of a trajectory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.utils import obs_as_tensor
from torch import Tensor, nn

from armature.nested import at
from armature.trainers.buffer import Batch
from armature.trainers.trajectory import Observations, Trajectory

Saved = nn.Module | torch.optim.Optimizer | Tensor


def saved_attributes(owner: Any) -> dict[str, Saved]:
    """Return an object's attributes that have to be saved: networks, torch optimizers, and tensors that are learned."""
    return {
        name: value
        for name, value in vars(owner).items()
        if isinstance(value, (nn.Module, torch.optim.Optimizer))
        or (isinstance(value, Tensor) and value.is_leaf and value.requires_grad)
    }


class Optimizer(ABC):
    """Changes a policy's weights. A subclass makes its torch optimizers in its constructor, and defines `update`.

    Args:
        policy: what `create_policy` returned.
        settings: the trainer's settings.
    """

    def __init__(self, policy: Any, settings: Any) -> None:
        self.policy, self.settings = policy, settings
        self.progress = 0.0
        """Part of the training that is over, from 0 to 1; the trainer sets it before each update."""

    @abstractmethod
    def update(self, batch: Batch, num_sequences: int) -> dict[str, float]:
        """Learn from a batch once.

        Args:
            batch: tensors by name, which docs/trainers.md lists.
            num_sequences: how many sequences of steps it holds; each step is one, since policies have no memory.

        Returns:
            Numbers to report, by name, such as `Losses/Policy Loss`. They must be finite.
        """

    def critic(self, obs: Any) -> Tensor:
        """Return the value of observations (tensors, n of them), shape (n,) or (n, 1): the policy's own estimate."""
        return self.policy.predict_values(obs)

    def get_trajectory_value_estimates(self, trajectory: Trajectory) -> tuple[np.ndarray, float]:
        """Return the critic's values before each step, float32 (T,), and of what comes after the last one.

        The latter is 0 where the episode terminated, and the critic's estimate where it was cut.
        """
        with torch.no_grad():
            values = self.critic(self._as_tensors(trajectory.obs)).flatten().cpu().numpy().astype(np.float32)
            if not trajectory.interrupted:
                return values, 0.0
            return values, float(self.critic(self._as_tensors(at(trajectory.next_obs, None))).flatten()[0])

    def get_modules(self) -> dict[str, Saved]:
        """Return what is saved with the model, by the name of its attribute: networks, optimizers, learned tensors."""
        return saved_attributes(self)

    # ------------------------------------------------------------------------------------------ helpers

    def decayed(self, name: str, minimum: float = 0.0) -> float:
        """Return a setting's value at this point of the training, by the schedule in the setting `<name>_schedule`."""
        value = float(getattr(self.settings, name))
        if getattr(self.settings, f"{name}_schedule", "constant") == "constant":
            return value
        return max(minimum, value * (1.0 - self.progress))

    def set_learning_rate(self, value: float) -> None:
        """Set the learning rate of every torch optimizer that this object holds."""
        for item in vars(self).values():
            if isinstance(item, torch.optim.Optimizer):
                for group in item.param_groups:
                    group["lr"] = value

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor, max_grad_norm: float | None = None) -> None:
        """Go one step down a loss, its gradient cut to a length if one is given."""
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        if max_grad_norm is not None:
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            nn.utils.clip_grad_norm_(parameters, max_grad_norm)
        optimizer.step()

    @staticmethod
    def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of the values whose mask is true; 0 if there are none. Padding counts for nothing."""
        mask = mask.bool()
        return torch.where(mask, values, torch.zeros_like(values)).sum() / mask.sum().clamp(min=1)

    @staticmethod
    def clipped_policy_loss(advantage: Tensor, log_prob: Tensor, old_log_prob: Tensor, clip_range: float) -> Tensor:
        """Return PPO's loss of a policy: Schulman et al. 2017, equation 7, with its sign changed."""
        ratio = torch.exp(log_prob - old_log_prob)
        clipped = ratio.clamp(1 - clip_range, 1 + clip_range)
        return -torch.min(advantage * ratio, advantage * clipped).mean()

    def _as_tensors(self, observations: Observations) -> Any:
        return obs_as_tensor(observations, self.policy.device)
