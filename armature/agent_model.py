"""AgentModel: an agent and the loop that drives it, as an SB3 model, so that runs treat it as any other."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.utils import is_vectorized_observation
from stable_baselines3.common.vec_env import VecEnv

from armature.errors import PluginError, RunError
from armature.loops import BaseLoop, DefaultLoop
from armature.schema import short

log = logging.getLogger(__name__)

PAIRS = (("get_state", "set_state"), ("save", "load"))
"""Methods that an agent has both of or neither; without any of them nothing of it is saved."""


class AgentModel(BaseAlgorithm):
    """An agent as an SB3 model.

    Args:
        agent_class: any class with the methods of `armature.Agent`.
        env: the environments.
        parameters: those of the agent that differ from its defaults.
        seed: of everything random; None for one that cannot be repeated.
        loop: a class that derives from `BaseLoop`; None for `DefaultLoop`.
        loop_kwargs: the loop's parameters that differ from its defaults.
        verbose: as in SB3.
        device: as in SB3; networks of an agent live where it puts them.
    """

    env: VecEnv
    policy: Any
    _last_obs: Any

    file_name = "agent.npz"
    """In a model folder, what the agent's own `save` writes. The suffix keeps `numpy.savez` from adding it."""

    def __init__(
        self,
        agent_class: type,
        env: VecEnv,
        *,
        parameters: Mapping[str, Any] | None = None,
        seed: int | None = None,
        loop: type[BaseLoop] | None = None,
        loop_kwargs: Mapping[str, Any] | None = None,
        verbose: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__(
            BasePolicy, env, learning_rate=0.0, support_multi_env=True, seed=seed, verbose=verbose, device=device
        )
        self.set_random_seed(seed)
        self.agent = self._made(agent_class, parameters or {}, np.random.default_rng(seed))
        self.policy = self.agent
        self.episodes = 0
        """Episodes that ended, but for random ones."""
        self.episode_nums = np.zeros(self.n_envs, dtype=int)
        """The number of each environment's present episode."""
        self._explores, self._sees_cuts = self._takes("act", "explore"), self._takes("memorize", "truncated")
        self._told: set[str] = set()
        self.loop = (loop or DefaultLoop)(self, **(loop_kwargs or {}))

    def _setup_model(self) -> None:
        """Do nothing: the agent sets itself up."""

    @staticmethod
    def _wrap_env(env: Any, verbose: int = 0, monitor_wrapper: bool = True) -> VecEnv:
        """Leave pictures as they are, where SB3 would put the channels first."""
        return env

    @property
    def rng(self) -> np.random.Generator:
        """The agent's random generator, whose state checkpoints keep."""
        return self.agent.rng

    # -------------------------------------------------------------------------------------------- the agent

    def _made(self, cls: type, parameters: Mapping[str, Any], rng: np.random.Generator) -> Any:
        """Return the agent; its spaces, generator and parameters are there before its constructor runs."""
        merged = {**copy.deepcopy(cls.get_default_parameters()), **parameters}  # type: ignore[attr-defined]
        given = {"observation_space": self.observation_space, "action_space": self.action_space, "rng": rng}
        agent: Any = object.__new__(cls)
        for name, value in {**given, "parameters": copy.deepcopy(merged)}.items():
            setattr(agent, name, value)
        if cls.__init__ is not object.__init__:  # type: ignore[misc]
            agent.__init__(**copy.deepcopy(merged))
        if agent.parameters != merged:
            raise PluginError(
                f"agent {cls.__name__} has other parameters than it was given: {short(agent.parameters)} in place of "
                f"{short(merged)}. Let its __init__ take **parameters and pass them on: super().__init__(**parameters)."
            )
        for pair in PAIRS:
            if sum(hasattr(agent, name) for name in pair) == 1:
                raise PluginError(f"agent {cls.__name__} has one of {' and '.join(pair)}. Give it both, or neither.")
        return agent

    def _takes(self, method: str, keyword: str) -> bool:
        parameters = inspect.signature(getattr(self.agent, method)).parameters.values()
        return any(item.name == keyword or item.kind == item.VAR_KEYWORD for item in parameters)

    def _named(self, method: str) -> str:
        return f"{type(self.agent).__name__}.{method}"

    def act(self, state: Any, episode_num: int, explore: bool) -> Any:
        """Return what the agent would do in one environment."""
        return self.agent.act(state, episode_num, **({"explore": explore} if self._explores else {}))

    def memorize(self, last_ob: Any, action: Any, reward: Any, done: Any, ob: Any, truncated: bool) -> None:
        """Let the agent take in a step."""
        cut = {"truncated": truncated} if self._sees_cuts else {}
        self.agent.memorize(last_ob, action, float(reward), bool(done), ob, **cut)

    def update(self, episode_num: int) -> None:
        """Let the agent learn."""
        self.agent.update(episode_num)
        self._n_updates += 1

    def end_episode(self, index: int, counts: bool) -> None:
        """Begin an environment's next episode; ask the agent for its metrics if the old one counts."""
        if counts:
            self.episodes += 1
            self._record_metrics(int(self.episode_nums[index]))
        self.episode_nums[index] = self._episode_num
        self._episode_num += 1

    def _record_metrics(self, episode_num: int) -> None:
        found = self.agent.metrics(episode_num) if hasattr(self.agent, "metrics") else {}
        numbers = isinstance(found, Mapping) and all(
            isinstance(item, (int, float, np.number)) for item in found.values()
        )
        if not numbers:
            raise PluginError(f"{self._named('metrics')} gives {short(found)}; return a dict of numbers by name.")
        for name, value in found.items():
            if math.isfinite(value):
                self.logger.record(f"agent/{name}", float(value))
            elif name not in self._told:
                self._told.add(name)
                where = f"{self._named('metrics')} in episode {episode_num}"
                log.warning("%s gives %r as %s, which is left out. Return finite numbers.", where, name, value)

    # -------------------------------------------------------------------------------------------- actions

    def legal(self, action: Any) -> np.ndarray:
        """Return an action as the environments take it, a Box's clipped; raise `PluginError` for one that is none."""
        space = self.action_space
        try:
            array = np.asarray(action)
        except (ValueError, TypeError, RuntimeError):  # ragged lists, tensors that need gradients
            array = np.empty(0, dtype=object)
        if isinstance(space, spaces.Box):
            if array.shape == space.shape and array.dtype.kind in "biuf" and np.isfinite(array).all():
                return np.clip(array, space.low, space.high).astype(space.dtype)
        elif array.dtype.kind in "biu" and space.contains(array.astype(space.dtype)):
            return array.astype(space.dtype)
        broken = array.dtype.kind == "f" and not np.isfinite(array).all()
        remedy = "NaN or infinity mean that it diverged." if broken else "Return one of them, for one environment."
        raise PluginError(
            f"{self._named('act')} returns {action!r}; the actions of this environment are {space}. {remedy}"
        )

    @staticmethod
    def split(observations: Any) -> Sequence[Any]:
        """Return the observation of each environment."""
        if isinstance(observations, Mapping):
            return [dict(zip(observations, parts, strict=True)) for parts in zip(*observations.values(), strict=True)]
        return list(observations)

    def predict(
        self,
        observation: Any,
        state: tuple[np.ndarray, ...] | None = None,
        episode_start: np.ndarray | None = None,
        deterministic: bool = False,
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return actions; nothing is memorised or updated. The state holds the number of each environment's episode."""
        alone = not is_vectorized_observation(observation, self.observation_space)
        observed = [observation] if alone else self.split(observation)
        numbers = np.arange(len(observed)) if state is None else state[0].copy()
        for index in np.flatnonzero(episode_start) if state is not None and episode_start is not None else ():
            numbers[index] = numbers.max() + 1
        actions = [
            self.legal(self.act(one, number, explore=not deterministic))
            for one, number in zip(observed, numbers.tolist(), strict=True)
        ]
        return actions[0] if alone else np.stack(actions), (numbers,)

    # -------------------------------------------------------------------------------------------- training

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        log_interval: int | None = 100,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> AgentModel:
        """Run the loop for a number of steps."""
        if not self.replayable:
            log.warning("%s", self._nothing_saved())
        begins = reset_num_timesteps or self._last_obs is None
        total, callback = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        if begins:
            self.episode_nums = self._episode_num + np.arange(self.n_envs)
            self._episode_num += self.n_envs
        self.loop.callback, self.loop.running = callback, True
        callback.on_training_start(locals(), globals())
        self.loop.train(total)
        if self.loop.running:
            self._total_timesteps = self.num_timesteps  # a limit of the loop ends the training as the last step does
        callback.on_training_end()
        return self

    # -------------------------------------------------------------------------------------------- keeping

    @property
    def replayable(self) -> bool:
        """Whether anything of the agent is saved."""
        return any(hasattr(self.agent, pair[0]) for pair in PAIRS)

    def _nothing_saved(self) -> str:
        return (
            f"agent {type(self.agent).__name__} has neither get_state and set_state nor save and load, so nothing of "
            "it is saved: it cannot be replayed or resumed. Give it one of these pairs."
        )

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return [], []

    def save(self, path: Any, exclude: Any = None, include: Any = None) -> None:
        """Let the agent write its file, if it writes one."""
        if not hasattr(self.agent, "save"):
            return
        self.agent.save(str(path))
        if not Path(path).exists():
            raise PluginError(
                f"{self._named('save')} wrote nothing at {path}. Write there and nowhere else; numpy.save adds .npy to "
                "a name, unless it is given an open file."
            )

    def load_file(self, path: Path) -> None:
        """Let the agent read what its `save` wrote; raise `RunError` if nothing of it was ever saved."""
        if not self.replayable:
            raise RunError(self._nothing_saved())
        if hasattr(self.agent, "load"):
            if not path.exists():
                raise RunError(f"{path} is missing: it was saved by another agent.")
            self.agent.load(str(path))

    def get_state(self) -> dict[str, Any]:
        """Return the agent's own state; raise `PluginError` if it is not arrays and JSON values by name."""
        if not hasattr(self.agent, "get_state"):
            return {}
        state = self.agent.get_state()
        if not isinstance(state, Mapping):
            raise PluginError(f"{self._named('get_state')} returns {type(state).__name__}; return a dict by name.")
        for name, value in state.items():
            if not (isinstance(name, str) and _can_be_kept(value)):
                raise PluginError(
                    f"{self._named('get_state')} holds {name!r} of type {type(value).__name__}, which is not the same "
                    "after saving and loading; keep arrays of numbers, or what JSON has: text, finite numbers, lists, "
                    "and dicts with text as keys."
                )
        return dict(state)

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Give the agent its state back; raise `PluginError` if it has another one afterwards."""
        if not hasattr(self.agent, "set_state"):
            return
        self.agent.set_state(copy.deepcopy(dict(state)))
        now = self.get_state()
        lost = [name for name in {**state, **now} if not _same(state.get(name), now.get(name))]
        if lost:
            raise PluginError(
                f"{self._named('set_state')} loses state: after it get_state gives another {', '.join(sorted(lost))}. "
                "Set there all that get_state returns."
            )


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return not value.dtype.hasobject
    try:
        return json.loads(json.dumps(value, allow_nan=False)) == value
    except (TypeError, ValueError):
        return False


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        kinds = [(type(value), getattr(value, "dtype", None), np.shape(value)) for value in (one, other)]
        return kinds[0] == kinds[1] and one.tobytes() == other.tobytes()
    return bool(one == other)
