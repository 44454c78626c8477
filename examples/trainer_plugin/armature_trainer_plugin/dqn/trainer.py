"""The trainer of deep Q-learning: what is its own is the network and the exploration."""

from typing import Any

import numpy as np
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.dqn.policies import CnnPolicy, DQNPolicy, MultiInputPolicy

from armature import Decision, OffPolicyTrainer
from armature_trainer_plugin.dqn.optimizer import DQNOptimizer
from armature_trainer_plugin.dqn.settings import DQNSettings


class DQNTrainer(OffPolicyTrainer):
    """Double deep Q-learning with exploration by random actions."""

    settings_class = DQNSettings
    actions = "discrete"
    policy_aliases: dict[str, type[BasePolicy]] = {
        "MlpPolicy": DQNPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }

    @staticmethod
    def get_trainer_name() -> str:
        """Return the name in configurations."""
        return "plugin_dqn"

    def create_optimizer(self) -> DQNOptimizer:
        """Return the optimizer of the Q-network."""
        return DQNOptimizer(self.policy, self.settings)

    @property
    def epsilon(self) -> float:
        """Share of random actions at this point of the training."""
        start, end = self.settings.exploration_initial_eps, self.settings.exploration_final_eps
        done = min(1.0, (1.0 - self._current_progress_remaining) / self.settings.exploration_fraction)
        return start + done * (end - start)

    def act(self, observations: Any) -> Decision:
        """Do what seems best, except for a share of random actions."""
        decision = super().act(observations)
        random = np.random.random(self.n_envs) < self.epsilon
        others = np.random.randint(self.action_space.n, size=self.n_envs)
        self.add_stat("Policy/Epsilon", self.epsilon)
        return Decision(np.where(random, others, decision.action))
