"""OnPolicyTrainer: learns from what its current policy did, and forgets it then."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.policies import (
    ActorCriticCnnPolicy,
    ActorCriticPolicy,
    BasePolicy,
    MultiInputActorCriticPolicy,
)
from stable_baselines3.common.utils import obs_as_tensor

from armature.errors import PluginError
from armature.trainers.base import Decision, Trainer
from armature.trainers.buffer import UpdateBuffer, as_batch
from armature.trainers.settings import OnPolicySettings, TrainerSettings
from armature.trainers.trajectory import Observations, Trajectory, gae

_SHARED = {
    ActorCriticPolicy: "SharedMlpPolicy",
    ActorCriticCnnPolicy: "SharedCnnPolicy",
    MultiInputActorCriticPolicy: "SharedMultiInputPolicy",
}


class OnPolicyTrainer(Trainer):
    """Collects `buffer_size` steps with one policy, updates it in `n_epochs` passes over them, and begins anew.

    A subclass must define `create_optimizer` and `get_trainer_name`, and may define any other hook.
    """

    settings_class: ClassVar[type[TrainerSettings]] = OnPolicySettings
    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "CnnPolicy": ActorCriticCnnPolicy,
        "MultiInputPolicy": MultiInputActorCriticPolicy,
    }

    def create_policy(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> BasePolicy:
        """Return an actor-critic policy: the one chosen, or with `shared_critic` its relative with shared layers."""
        if self.settings.shared_critic and self.policy_class in _SHARED:
            from armature import shared_policies

            self.policy_class = getattr(shared_policies, _SHARED[self.policy_class])
        return super().create_policy(observation_space, action_space)

    def act(self, observations: Observations) -> Decision:
        """Draw an action for each environment from the policy's distribution."""
        with torch.no_grad():
            distribution = self.policy.get_distribution(obs_as_tensor(observations, self.device))  # type: ignore[operator]
            actions = distribution.get_actions()
            log_prob = distribution.log_prob(actions)
        return Decision(actions.cpu().numpy(), log_prob.cpu().numpy())

    def _process_trajectory(self, trajectory: Trajectory) -> None:
        """Append the trajectory with its advantages, and the returns that the critic shall learn."""
        advantage = self.get_advantages(trajectory)
        self._append_to_update_buffer(trajectory, advantage=advantage, returns=advantage + trajectory.value)

    def get_advantages(self, trajectory: Trajectory) -> np.ndarray:
        """Return generalised advantage estimates, float32 (T,), that look past a cut and stop at an end."""
        return gae(trajectory, self.settings.gamma, self.settings.gae_lambda)

    def _append_to_update_buffer(self, trajectory: Trajectory, **columns: np.ndarray) -> None:
        """Keep a trajectory for the update, and with it columns of its length, which batches then have too."""
        known = {**_columns(trajectory), "reward": trajectory.reward, "value": trajectory.value, **columns}
        if trajectory.log_prob is not None:
            known["log_prob"] = trajectory.log_prob
        try:
            self.update_buffer.append(len(trajectory), known)
        except ValueError as error:
            raise PluginError(f"{type(self).__name__}._append_to_update_buffer: {error}.") from error

    def _is_ready_update(self) -> bool:
        """Return whether `buffer_size` steps are there, or at the end of the training enough for a minibatch."""
        wanted = self.settings.buffer_size
        if self.num_timesteps >= self._total_timesteps:
            wanted = min(wanted, self.settings.batch_size)
        return self.collected_steps >= wanted

    def _update_policy(self) -> None:
        """Learn from all steps `n_epochs` times, in minibatches, with advantages normalised over the buffer."""
        for _ in range(self.settings.n_epochs):
            for batch in self.update_buffer.minibatches(self.settings.batch_size, self.device):
                self.update_once(batch)

    # ------------------------------------------------------------------------------------------ around the hooks

    def _start_collecting(self) -> None:
        super()._start_collecting()
        self.update_buffer = UpdateBuffer()
        """What the next update learns from."""
        self.collected_steps = 0
        """Steps since the last update, over all environments."""

    def _step_environments(self) -> None:
        self.collected_steps += self.n_envs
        super()._step_environments()

    def _receive(self, trajectory: Trajectory) -> None:
        """Put value estimates and rewards in their places, report them, and hand the trajectory over."""
        value, next_value = self.optimizer.get_trajectory_value_estimates(trajectory)
        if value.shape != (len(trajectory),):
            who = f"{type(self.optimizer).__name__}.get_trajectory_value_estimates"
            raise PluginError(
                f"{who} returned values of shape {value.shape}; it must return one for each step, shape "
                f"({len(trajectory)},). The critic must return one number a row."
            )
        rewards = self.reward_signals.evaluate(as_batch(_columns(trajectory), self.device))
        for name, reward in rewards.items():
            self.add_stat(f"Policy/{name.title()} Reward", reward.mean())
        self.add_stat("Policy/Value Estimate", value.mean())
        total = np.stack(list(rewards.values())).sum(axis=0)
        self._process_trajectory(replace(trajectory, reward=total, value=value, next_value=next_value))

    def _update(self) -> None:
        """Update, and forget: the policy is another one now."""
        self._require_kept(len(self.update_buffer))
        super()._update()
        self.update_buffer.clear()
        self.collected_steps = 0


def _columns(trajectory: Trajectory) -> dict[str, Any]:
    """Return what the environment and the policy say of each step."""
    return {
        "obs": trajectory.obs,
        "next_obs": trajectory.next_observations(),
        "action": trajectory.action,
        "reward": trajectory.environment_reward,
        "done": trajectory.terminated.astype(np.float32),
    }
