"""Classes that are no SB3 algorithms as SB3 models, so that callbacks, checkpoints and replay exist once."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from armature.doors import where
from armature.errors import PluginError, RunError


class AlgorithmAdapter(BaseAlgorithm):
    """A class with `learn`, `predict`, `save` and `load` as an SB3 model.

    The class is made as `cls(policy, env, **kwargs)` with a vectorised environment, and learns with
    `learn(total_timesteps=..., callback=...)`. It may call `callback.on_step()` after each step of the environments,
    which brings metrics, evaluations and checkpoints, and should stop when that returns False. Its steps are counted.

    Args:
        algorithm_class: the class.
        policy: handed to it.
        env: environments to learn in.
        kwargs: its other arguments.
    """

    def __init__(self, algorithm_class: type, policy: type | str, env: VecEnv, **kwargs: Any) -> None:
        super().__init__(BasePolicy, env, learning_rate=0.0, seed=kwargs.get("seed"), support_multi_env=True)
        self.algorithm_class = algorithm_class
        self.counted = _StepCounter(env, self)
        self.policy: Any = algorithm_class(policy, self.counted, **kwargs)

    @property
    def algorithm(self) -> Any:
        """The class's instance. It stands in the place of an SB3 model's policy."""
        return self.policy

    def _setup_model(self) -> None:
        """Do nothing: the class sets itself up."""

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = None,
        tb_log_name: str = "",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> AlgorithmAdapter:
        """Let the class learn."""
        self.num_timesteps *= not reset_num_timesteps
        self._total_timesteps = total_timesteps + self.num_timesteps
        callback = self._init_callback(callback)
        callback.on_training_start(locals(), globals())
        self.algorithm.learn(total_timesteps=total_timesteps, callback=callback)
        callback.on_training_end()
        return self

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, Any]:
        """Return what the class predicts: actions, and a state if it gives one."""
        memory = {"state": state, "episode_start": episode_start}
        known = {name: value for name, value in memory.items() if _takes(self.algorithm.predict, name)}
        found = self.algorithm.predict(observation, deterministic=deterministic, **known)
        actions, state = found if isinstance(found, tuple) else (found, None)
        return self._checked(np.asarray(actions), observation), state

    def _checked(self, actions: np.ndarray, observation: Any) -> np.ndarray:
        """Return actions; raise `PluginError` unless there is one for each observation."""
        seen, space = observation, self.observation_space
        if isinstance(space, spaces.Dict):
            seen, space = next((observation[name], part) for name, part in space.spaces.items())
        shape = (*np.shape(seen)[: np.ndim(seen) - len(space.shape or ())], *(self.action_space.shape or ()))
        if actions.shape != shape:
            raise PluginError(
                f"{where(self.algorithm_class)}: predict returned actions of shape {actions.shape}; for this "
                f"observation and {self.action_space} it must be {shape}."
            )
        return actions

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Let the class write its file."""
        self.algorithm.save(str(path))
        if not Path(path).is_file():
            raise PluginError(f"{where(self.algorithm_class)}: save(path) wrote no file at its path, {path}.")

    def load_file(self, path: Path) -> None:
        """Take the place of a fresh model: what the class loads from a file that it saved."""
        environment = {"env": self.counted} if _takes(self.algorithm_class.load, "env") else {}  # type: ignore[attr-defined]
        loaded = self.algorithm_class.load(str(path), **environment)  # type: ignore[attr-defined]
        if not isinstance(loaded, self.algorithm_class):
            raise RunError(f"{where(self.algorithm_class)}: load(path) returned {loaded!r}. Return a loaded instance.")
        self.policy = loaded

    def get_state(self) -> dict[str, Any]:
        """Return what the class keeps besides its file, if it says so."""
        return self.algorithm.get_state() if hasattr(self.algorithm, "get_state") else {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Hand it back."""
        if hasattr(self.algorithm, "set_state"):
            self.algorithm.set_state(state)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return [], []


class _StepCounter(VecEnvWrapper):
    """Counts environment steps for a model."""

    def __init__(self, venv: VecEnv, model: BaseAlgorithm) -> None:
        super().__init__(venv)
        self.model = model

    def reset(self) -> VecEnvObs:
        """Reset all environments."""
        return self.venv.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments, and count it."""
        self.model.num_timesteps += self.num_envs
        return self.venv.step_wait()


def _takes(function: Any, name: str) -> bool:
    """Return whether a function has a parameter of that name."""
    return name in inspect.signature(function).parameters
