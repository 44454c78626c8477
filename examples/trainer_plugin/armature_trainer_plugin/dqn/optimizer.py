"""The loss of deep Q-learning."""

from typing import Any

import torch
from stable_baselines3.common.utils import polyak_update

from armature import Optimizer
from armature_trainer_plugin.dqn.settings import DQNSettings


class DQNOptimizer(Optimizer):
    """Double Q-learning with a target network that follows slowly (van Hasselt et al. 2016)."""

    settings: DQNSettings

    def __init__(self, policy: Any, settings: DQNSettings) -> None:
        super().__init__(policy, settings)
        self.adam = torch.optim.Adam(policy.q_net.parameters(), settings.learning_rate)

    def update(self, batch: dict[str, Any], num_sequences: int) -> dict[str, float]:
        """Bring the values of the actions that were taken towards what they led to."""
        self.set_learning_rate(self.decayed("learning_rate"))
        online, target = self.policy.q_net, self.policy.q_net_target
        with torch.no_grad():
            best = online(batch["next_obs"]).argmax(dim=1, keepdim=True)  # one network chooses, the other one judges
            future = target(batch["next_obs"]).gather(1, best).flatten()
            wanted = batch["reward"] + (1 - batch["done"]) * self.settings.gamma * future
        values = online(batch["obs"]).gather(1, batch["action"].long()[:, None]).flatten()
        loss = torch.nn.functional.smooth_l1_loss(values, wanted)
        self.step(self.adam, loss, self.settings.max_grad_norm)
        polyak_update(online.parameters(), target.parameters(), self.settings.tau)
        return {"Losses/Q Loss": loss.item(), "Policy/Q Value": values.mean().item()}
