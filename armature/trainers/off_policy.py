"""OffPolicyTrainer: learns again and again from a replay buffer of what any policy did."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv

from armature.nested import at
from armature.trainers.base import Decision, Trainer
from armature.trainers.buffer import Batch
from armature.trainers.settings import OffPolicySettings, TrainerSettings
from armature.trainers.trajectory import Observations, Trajectory


class OffPolicyTrainer(Trainer):
    """Fills a replay buffer, and updates once in `steps_per_update` steps, counted over all environments.

    A subclass must define `create_optimizer` and `get_trainer_name`, and either `policy_aliases` or `create_policy`;
    it may define any other hook.

    Args:
        policy: as in every trainer.
        env: as in every trainer.
        replay_buffer_class: SB3's by default. It is told that there is one environment, since trajectories come one
            by one.
        replay_buffer_kwargs: further arguments of the buffer.
        kwargs: what every trainer takes, and the settings.
    """

    settings_class: ClassVar[type[TrainerSettings]] = OffPolicySettings

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | None,
        *,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        self.replay_buffer_class, self.replay_buffer_kwargs = replay_buffer_class, replay_buffer_kwargs or {}
        super().__init__(policy, env, **kwargs)

    def act(self, observations: Observations) -> Decision:
        """Draw actions from the policy, or at random in the first `buffer_init_steps` steps."""
        if self.num_timesteps < self.learning_starts:
            return Decision(np.array([self.action_space.sample() for _ in range(self.n_envs)]))
        return Decision(self.policy.predict(observations, deterministic=False)[0])

    def _process_trajectory(self, trajectory: Trajectory) -> None:
        """Append the trajectory as it is."""
        self._append_to_update_buffer(trajectory)

    def _append_to_update_buffer(self, trajectory: Trajectory) -> None:
        """Put each step into the replay buffer, with continuous actions scaled to [-1, 1] as in SB3."""
        following = trajectory.next_observations()
        action = trajectory.action
        if isinstance(self.action_space, spaces.Box):
            action = self.policy.scale_action(self._possible(action))
        for index in range(len(trajectory)):
            one, cut = slice(index, index + 1), bool(trajectory.truncated[index])
            self.replay_buffer.add(
                at(trajectory.obs, one),
                at(following, one),
                action[one],
                trajectory.reward[one],
                (trajectory.terminated | trajectory.truncated)[one],
                [{"TimeLimit.truncated": cut}],
            )

    def _is_ready_update(self) -> bool:
        """Return whether steps were taken that no update was made for."""
        return self._steps_owed >= self.settings.steps_per_update

    def _update_policy(self) -> None:
        """Make the updates that are due, each with a new sample of the replay buffer."""
        while self._steps_owed >= self.settings.steps_per_update:
            self._steps_owed -= self.settings.steps_per_update
            self.update_once(self.sample(self.settings.batch_size))

    def sample(self, batch_size: int) -> Batch:
        """Return steps of the replay buffer: `obs`, `action`, `next_obs`, `done` and `reward`, the latter two (n,).

        `done` is 1 where the episode terminated, and 0 where it was cut. The reward is what the reward signals say now.
        """
        drawn = self.replay_buffer.sample(batch_size, self._vec_normalize_env)
        action = drawn.actions.flatten() if isinstance(self.action_space, spaces.Discrete) else drawn.actions
        batch: Batch = {
            **{"obs": drawn.observations, "action": action, "next_obs": drawn.next_observations},
            **{"done": drawn.dones.flatten(), "reward": drawn.rewards.flatten()},
        }
        rewards = self.reward_signals.evaluate(batch)
        for name, reward in rewards.items():
            self.add_stat(f"Policy/{name.title()} Reward", reward.mean())
        total = np.stack(list(rewards.values())).sum(axis=0)
        return {**batch, "reward": torch.as_tensor(total, device=self.device)}

    # ------------------------------------------------------------------------------------------ what SB3's have, too

    def _setup_model(self) -> None:
        super()._setup_model()
        self.learning_starts: int = self.settings.buffer_init_steps
        """Step of the first update; a training that is resumed without its replay buffer raises it."""
        self._steps_owed = 0.0
        plain = DictReplayBuffer if isinstance(self.observation_space, spaces.Dict) else ReplayBuffer
        self.replay_buffer = (self.replay_buffer_class or plain)(
            self.settings.buffer_size,
            self.observation_space,
            self.action_space,
            device=self.device,
            n_envs=1,
            **self.replay_buffer_kwargs,
        )

    def _step_environments(self) -> None:
        super()._step_environments()
        beyond = self.num_timesteps - self.learning_starts
        self._steps_owed += max(0, min(beyond, self.n_envs))

    def _update(self) -> None:
        self._require_kept(self.replay_buffer.size())
        super()._update()

    def _seen(self) -> Observations:
        """Return observations that are not normalised: statistics go on changing, and the buffer stays."""
        return self._last_obs if self._vec_normalize_env is None else self._last_original_obs

    def _terminal(self, observation: Observations) -> Observations:
        return observation if self._vec_normalize_env is None else self._vec_normalize_env.unnormalize_obs(observation)
