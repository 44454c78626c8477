"""Small trainers and environments whose right answers are known, for the tests of the trainer API."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import DummyVecEnv
from stable_baselines3.sac.policies import SACPolicy

from armature import Decision, OffPolicyTrainer, OnPolicyTrainer, Optimizer


class Clock(gymnasium.Env):
    """Shows how many steps of the episode are over, and pays 1 a step.

    Args:
        length: steps of an episode.
        cut: whether it is truncated then, rather than terminated.
        blind: show nothing instead.
        number: added to what is shown, so that environments can be told apart.
    """

    def __init__(self, length: int = 5, cut: bool = True, blind: bool = False, number: int = 0) -> None:
        self.length, self.cut, self.blind, self.number = length, cut, blind, number
        self.observation_space = spaces.Box(-1e6, 1e6, (1,), np.float32)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None):
        """Start at 0."""
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {}

    def step(self, action):
        """Go on."""
        assert self.action_space.contains(action)
        self.time += 1
        over = self.time >= self.length
        return self._observe(), 1.0, over and not self.cut, over and self.cut, {}

    def _observe(self):
        return np.array([1.0 if self.blind else self.time + self.number], np.float32)


def clocks(n_envs: int = 1, **kwargs: Any) -> DummyVecEnv:
    """Return several clocks; environment i adds 1000 i to what it shows."""
    return DummyVecEnv([lambda i=i: Clock(number=1000 * i, **kwargs) for i in range(n_envs)])


class Fit(Optimizer):
    """Fits the critic to the returns, and the policy a little to the advantages."""

    def __init__(self, policy, settings):
        super().__init__(policy, settings)
        self.adam = torch.optim.Adam(policy.parameters(), settings.learning_rate)

    def update(self, batch, num_sequences):
        """Go one step."""
        self.set_learning_rate(self.decayed("learning_rate"))
        values, log_prob, _ = self.policy.evaluate_actions(batch["obs"], batch["action"])
        loss = (values.flatten() - batch["returns"]).pow(2).mean() - 0.01 * (batch["advantage"] * log_prob).mean()
        self.step(self.adam, loss)
        return {"Losses/Loss": loss.item(), "Policy/Learning Rate": self.adam.param_groups[0]["lr"]}


class On(OnPolicyTrainer):
    """On-policy."""

    @staticmethod
    def get_trainer_name():
        """Return its name."""
        return "toy_on"

    def create_optimizer(self):
        """Return the optimizer."""
        return Fit(self.policy, self.settings)


class Pull(Optimizer):
    """Pulls the actor's actions to zero; counts how often, and looks at no reward."""

    def __init__(self, policy, settings):
        super().__init__(policy, settings)
        self.adam = torch.optim.Adam(policy.actor.parameters(), 1e-3)
        self.temperature = torch.zeros(1, requires_grad=True)
        self.calls, self.batches = 0, []

    def update(self, batch, num_sequences):
        """Go one step."""
        self.calls += 1
        self.batches.append({name: item.clone() for name, item in batch.items()})
        loss = self.policy.actor(batch["obs"]).pow(2).mean()
        self.step(self.adam, loss)
        with torch.no_grad():
            self.temperature += 1.0
        return {"Losses/Loss": loss.item()}


class Off(OffPolicyTrainer):
    """Off-policy, with SB3's actor."""

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {"MlpPolicy": SACPolicy}

    @staticmethod
    def get_trainer_name():
        """Return its name."""
        return "toy_off"

    def create_optimizer(self):
        """Return the optimizer."""
        return Pull(self.policy, self.settings)


class Recording(On):
    """Writes down which hooks are called, and what it learns from."""

    def __init__(self, *args, **kwargs):
        self.calls, self.trajectories = [], []
        super().__init__(*args, **kwargs)

    def create_policy(self, observation_space, action_space):
        """Record."""
        self.calls.append("create_policy")
        return super().create_policy(observation_space, action_space)

    def create_optimizer(self):
        """Record."""
        self.calls.append("create_optimizer")
        return super().create_optimizer()

    def act(self, observations) -> Decision:
        """Record."""
        self.calls.append("act")
        return super().act(observations)

    def _process_trajectory(self, trajectory):
        self.calls.append("_process_trajectory")
        self.trajectories.append(trajectory)
        super()._process_trajectory(trajectory)

    def _append_to_update_buffer(self, trajectory, **columns):
        self.calls.append("_append_to_update_buffer")
        super()._append_to_update_buffer(trajectory, **columns)

    def _is_ready_update(self):
        self.calls.append("_is_ready_update")
        return super()._is_ready_update()

    def _update_policy(self):
        self.calls.append("_update_policy")
        super()._update_policy()
