"""Learners of somebody's own, for tests: a plugin that names no class of ours. Importing it registers `climber`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from stable_baselines3 import PPO

from armature import Combo, register


class Climber:
    """Climbs by random steps with a linear policy; has learn, predict, save and load, and no base class.

    :param noise: size of the steps
    """

    def __init__(self, policy, env, noise: float = 0.1, seed: int = 0):
        self.env, self.noise, self.rng = env, noise, np.random.default_rng(seed)
        self.weights = np.zeros((env.action_space.shape[0], env.observation_space.shape[0]))

    def learn(self, total_timesteps, callback):
        """Take random steps of the weights and keep those that are better."""
        best, done_steps, seen = -np.inf, 0, self.env.reset()
        while done_steps < total_timesteps:
            before, total = self.weights.copy(), 0.0
            self.weights = self.weights + self.noise * self.rng.standard_normal(self.weights.shape)
            for _ in range(20):
                seen, rewards, _, _ = self.env.step(self.predict(seen))
                done_steps += self.env.num_envs
                total += float(rewards.sum())
                if not callback.on_step():
                    return self
            if total < best:
                self.weights = before
            best = max(best, total)
        return self

    def predict(self, observation, deterministic=True):
        """Return what the weights say."""
        return np.clip(np.atleast_2d(observation) @ self.weights.T, -1, 1).astype(np.float32)

    def save(self, path):
        """Write JSON."""
        Path(path).write_text(json.dumps({"noise": self.noise, "weights": self.weights.tolist()}))

    @classmethod
    def load(cls, path, env=None):
        """Read it."""
        data = json.loads(Path(path).read_text())
        made = cls(None, env, data["noise"])
        made.weights = np.array(data["weights"])
        return made


class Silent(Climber):
    """Calls no callback."""

    def learn(self, total_timesteps, callback):
        """Learn in silence."""
        self.weights = self.weights + 1
        return self


class OwnLoop(PPO):
    """An SB3 algorithm with a loop of its own that calls no callback and counts no steps."""

    def learn(self, total_timesteps, callback=None, log_interval=1, reset_num_timesteps=True, **kwargs):
        """Do nothing."""
        return self


register("climber", "pytorch", Combo(Climber, source=__file__))
