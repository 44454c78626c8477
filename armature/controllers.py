"""What can move a robot besides a trained model: the task's scripted expert, and chance. Both predict like a policy."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from armature.errors import ConfigError


class Expert:
    """Takes the actions of the environments' own scripted expert; raises `ConfigError` if there is none."""

    def __init__(self, env: VecEnv) -> None:
        self.env = env
        if not env.has_attr("expert_action"):
            raise ConfigError("this environment has no scripted expert. Use --control model or --control random.")

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[np.ndarray, None]:
        """Return the expert's actions in the present states."""
        return np.stack(self.env.env_method("expert_action")), None


class Random:
    """Draws actions uniformly from the action space, the same ones for the same seed."""

    def __init__(self, env: VecEnv, seed: int) -> None:
        self.env = env
        env.action_space.seed(seed)

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[np.ndarray, None]:
        """Return random actions."""
        return np.stack([self.env.action_space.sample() for _ in range(self.env.num_envs)]), None
