"""The loss of the advantage actor-critic."""

from typing import Any

import torch

from armature import Optimizer
from armature_trainer_plugin.a2c.settings import A2CSettings


class A2COptimizer(Optimizer):
    """Makes actions that turned out better than the critic expected more likely (Mnih et al. 2016)."""

    settings: A2CSettings

    def __init__(self, policy: Any, settings: A2CSettings) -> None:
        super().__init__(policy, settings)
        self.adam = torch.optim.Adam(policy.parameters(), settings.learning_rate, eps=1e-5)

    def update(self, batch: dict[str, Any], num_sequences: int) -> dict[str, float]:
        """Go one step down the losses of policy and critic."""
        self.set_learning_rate(self.decayed("learning_rate"))
        values, log_prob, entropy = self.policy.evaluate_actions(batch["obs"], batch["action"])
        policy_loss = -(batch["advantage"] * log_prob).mean()
        value_loss = torch.nn.functional.mse_loss(values.flatten(), batch["returns"])
        bonus = self.decayed("ent_coef") * entropy.mean()
        self.step(self.adam, policy_loss + self.settings.vf_coef * value_loss - bonus, self.settings.max_grad_norm)
        return {
            "Losses/Policy Loss": policy_loss.item(),
            "Losses/Value Loss": value_loss.item(),
            "Policy/Entropy": entropy.mean().item(),
            "Policy/Learning Rate": self.decayed("learning_rate"),
        }
