"""Loops: how an agent meets its environments. Own logic derives from `BaseLoop`, which has the run's services."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from armature.errors import ConfigError, RunError

if TYPE_CHECKING:
    from armature.agent_model import AgentModel
    from armature.evaluation import Evaluation


class BaseLoop(ABC):
    """The base of a loop; `parameters` are the defaults, and over them what `loop_kwargs` say."""

    def __init__(self, model: AgentModel, **parameters: Any) -> None:
        self.model, self.agent, self.env = model, model.agent, model.env
        self.parameters = {**self.get_default_parameters(), **parameters}
        self.running = True
        """False once somebody asked the training to stop."""
        self.callback: Any = None  # SB3's, while training

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Return every parameter with its default, as JSON values; the type of the default is the parameter's."""
        return {}

    @abstractmethod
    def train(self, total_steps: int) -> None:
        """Train while `running`, until `steps` is `total_steps` or more."""

    @property
    def steps(self) -> int:
        """Environment steps so far, over all environments and sessions."""
        return self.model.num_timesteps

    @property
    def episodes(self) -> int:
        """Episodes that ended so far, but for random ones."""
        return self.model.episodes

    @property
    def episode_nums(self) -> np.ndarray:
        """Number of each environment's present episode, counted from 0 in the order in which they begin."""
        return self.model.episode_nums

    def step(self, random: np.ndarray | None = None, update: bool = True) -> None:
        """Act, step all environments, then for one environment after the other memorize and update.

        Where `random` is true for an environment, the action is drawn from the action space, and the agent memorizes
        the step without an update; it is not counted. Without `update` the agent memorizes only.
        """
        model, env = self.model, self.env
        chance = np.zeros(env.num_envs, bool) if random is None else random
        self.callback.on_rollout_start()  # all there is has been learned from: the place for checkpoints
        before, numbers = model.split(model._last_obs), self.episode_nums.tolist()
        actions = [
            model.action_space.sample() if by_chance else model.act(state, number, explore=True)
            for state, number, by_chance in zip(before, numbers, chance, strict=True)
        ]
        model._last_obs, rewards, dones, infos = env.step(np.stack([model.legal(action) for action in actions]))
        for index, after in enumerate(model.split(model._last_obs)):
            ob = infos[index]["terminal_observation"] if dones[index] else after
            cut = bool(infos[index].get("TimeLimit.truncated", False))
            model.memorize(before[index], actions[index], rewards[index], dones[index] and not cut, ob, cut)
            if update and not chance[index]:
                model.update(numbers[index])
            if dones[index]:
                model.end_episode(index, counts=not chance[index])
        model.num_timesteps += int(np.sum(~chance))
        self.callback.update_locals(locals())
        self.running = bool(self.callback.on_step()) and self.running
        self.callback.on_rollout_end()

    def checkpoint(self) -> Path:
        """Save a checkpoint now, besides those of `checkpoint_freq`; return its folder."""
        return self._service("CheckpointCallback").save()

    def evaluate(self) -> Evaluation:
        """Evaluate now, without learning and in environments of their own, besides the evaluations of `eval_freq`."""
        return self._service("EvaluationCallback").evaluate()

    def film(self, name: str, episodes: int = 1) -> Path:
        """Film the agent as it is, without learning, to a file in the run's `videos`; its name ends in .gif or .mp4."""
        from armature.models import Player
        from armature.recording import film
        from armature.vec import make_vec_env

        keeper = self._service("CheckpointCallback")
        stage = make_vec_env(keeper.config, "evaluation", 1, render_mode="rgb_array")
        film(Player(self.model), stage, path := keeper.run / "videos" / name, episodes)
        stage.close()
        return path

    def _service(self, name: str) -> Any:
        for callback in getattr(self.callback, "callbacks", [self.callback]):
            if type(callback).__name__ == name:
                return callback
        raise RunError(f"{type(self).__name__} needs a {name}, which learn() was not given. Train with train.py.")


class DefaultLoop(BaseLoop):
    """Steps until the steps are done, or a limit is reached. A limit of 0 is none.

    Args:
        random_episodes: Episodes with random actions that come first; their steps are memorised and not counted.
        max_episodes: Episodes to train at most, over all sessions of a run.
        max_seconds: Seconds that a session may take.
        checkpoint_seconds: Seconds between checkpoints, besides those of the key checkpoint_freq.
    """

    def __init__(self, model: AgentModel, **parameters: Any) -> None:
        super().__init__(model, **parameters)
        limits = {name: self.parameters[name] for name in DefaultLoop.get_default_parameters()}
        if min(limits.values()) < 0:
            raise ConfigError(f"loop_kwargs has a number below 0: {limits}. Allowed: numbers of at least 0.")

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Return the parameters of the class's docstring."""
        return {"random_episodes": 0, "max_episodes": 0, "max_seconds": 0.0, "checkpoint_seconds": 0.0}

    def train(self, total_steps: int) -> None:
        """Step all environments again and again."""
        most = {name: value or float("inf") for name, value in self.parameters.items()}
        started = saved = time.monotonic()
        while self.running and self.steps < total_steps and self.episodes < most["max_episodes"]:
            self.step(random=self.episode_nums < self.parameters["random_episodes"])
            now = time.monotonic()
            if now - started > most["max_seconds"]:
                break
            if now - saved > most["checkpoint_seconds"]:
                self.checkpoint()
                saved = now
