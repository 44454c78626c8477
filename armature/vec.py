"""Environments for training: made from a config, seeded per episode, many at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from armature.checks import observation_form
from armature.combos import Combo, implemented_combos
from armature.config import NAMESPACE, Config
from armature.discrete import DiscreteActions
from armature.errors import ConfigError
from armature.evaluation import Episode, EpisodeTracker
from armature.finite import FiniteOnly
from armature.local_vec_env import LocalVecEnv
from armature.plugins import load_plugins
from armature.shm_vec_env import ShmVecEnv, cores

Stream = Literal["train", "evaluation", "replay", "demonstrations"]
STREAMS: tuple[Stream, ...] = ("train", "evaluation", "replay", "demonstrations")


# ---------------------------------------------------------------------------------------------- seeds


def episode_seed(seed: int, stream: Stream, env_index: int, episode: int) -> int:
    """Return the seed of one episode, from 0 to 2**32 - 1.

    It depends on nothing else, so a run does not change when its environments are spread over other processes. The
    upper two bits are the stream's: training and evaluation never share a seed.
    """
    number = STREAMS.index(stream)
    drawn = np.random.SeedSequence((seed, number, env_index, episode)).generate_state(1)[0]
    return number << 30 | int(drawn) >> 2


class EpisodeSeeds(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Seeds every reset from (seed, stream, index, episode).

    A vectorised environment resets its environments with seed None after each episode, which draws fresh entropy. A
    seed given to `reset` is ignored: SB3 gives one at the first reset only.

    Args:
        env: the environment.
        seed: the run's seed.
        stream: what the episodes are for.
        index: number of this environment within the stream.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], seed: int, stream: Stream, index: int) -> None:
        super().__init__(env)
        self.seed, self.stream, self.index = seed, stream, index
        self.episode = 0
        """Number of the episode that the next reset starts; may be set."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start the next episode."""
        self.episode += 1
        return self.env.reset(seed=episode_seed(self.seed, self.stream, self.index, self.episode - 1), options=options)


def episode_counters(env: VecEnv) -> list[int]:
    """Return the number of the next episode of each environment."""
    return list(env.get_attr("episode"))


def set_episode_counters(env: VecEnv, episodes: Sequence[int]) -> None:
    """Choose which episode each environment starts with at its next reset."""
    for index, episode in enumerate(episodes):
        env.set_attr("episode", episode, indices=index)


def episode_length(env: VecEnv) -> int | None:
    """Return the most steps that an episode can have, if the environments tell."""
    for name in ("episode_steps", "max_episode_steps", "_max_episode_steps"):  # ours, others', Gymnasium's TimeLimit
        if env.has_attr(name):
            return int(env.get_attr(name, indices=0)[0])
    return None


# ---------------------------------------------------------------------------------------------- one environment


def make_env(config: Config, stream: Stream, index: int, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Make the environment that a config describes, with the actions its algorithm needs, seeded per episode.

    Raises `ConfigError` for an unknown id, a wrong argument, or actions that the algorithm cannot handle.
    """
    if ":" in config.env_name:  # Gymnasium would import the module before the colon, be it a stranger's config
        raise ConfigError(f"env_name {config.env_name!r} is no id. Name the module that registers it in plugins.")
    try:
        env = _make(config, render_mode)
    except gymnasium.error.Error as error:
        raise ConfigError(f"env_name: {error} If a package registers it, name that package in plugins.") from error
    except TypeError as error:
        if "unexpected keyword argument" in str(error):
            raise ConfigError(f"env_kwargs: {error} (environment {config.env_name}).") from error
        raise
    return EpisodeSeeds(_with_actions(env, config), config.seed, stream, index)


def _combo(config: Config) -> Combo:
    return implemented_combos[config.algo][config.train_framework]


def _make(config: Config, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    if not config.env_name.startswith(NAMESPACE):
        # Left out rather than None: some environments take None for a render mode they do not have.
        look: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
        return gymnasium.make(config.env_name, max_episode_steps=config.max_episode_steps, **look, **config.env_kwargs)
    # A shorthand such as armature/PandaPush-v1 fixes some keys; the others come from the config.
    kwargs = {**_robot_arguments(config), **config.env_kwargs, **gymnasium.spec(config.env_name).kwargs}
    return gymnasium.make(config.env_name, render_mode=render_mode, disable_env_checker=True, **kwargs)


def _robot_arguments(config: Config) -> dict[str, Any]:
    """Return the arguments of `RobotEnv` that a config holds."""
    return {
        "robot": config.robot,
        "robot_action": config.robot_action,
        "gripper_action": config.gripper_action,
        "workspace": config.workspace,
        "task": config.task_type,
        "task_kwargs": config.task_kwargs,
        **config.model_dump(include={"task_objects", "distractors", "clutter"}),
        "observation": observation_form(config),
        "observation_parts": config.observation.parts,
        "observation_noise": config.observation.noise,
        "observation_latency": config.observation.latency,
        "cameras": [camera.model_dump() for camera in config.observation.cameras],
        "reward": config.reward,
        "reward_weights": config.reward_weights,
        "terminate_on_success": config.terminate_on_success,
        "randomize": config.randomize,
        "episode_steps": config.max_episode_steps,
    }


def _with_actions(env: gymnasium.Env[Any, Any], config: Config) -> gymnasium.Env[Any, Any]:
    """Return the environment with actions that the config's algorithm can handle."""
    needs, has = _combo(config).actions, env.action_space
    if needs == "discrete" and isinstance(has, spaces.Box):
        return DiscreteActions(env, config.action_levels)
    kinds = {"discrete": spaces.Discrete, "box": spaces.Box}
    if needs != "any" and not isinstance(has, kinds[needs]):
        others = [
            algo for algo, rows in implemented_combos.items() if any(row.actions == "any" for row in rows.values())
        ]
        raise ConfigError(
            f"algo {config.algo!r} needs {needs} actions, and {config.env_name} has {has}. "
            f"Algorithms for any actions: {', '.join(sorted(others))}."
        )
    return env


# ---------------------------------------------------------------------------------------------- many environments


@dataclass(frozen=True)
class EnvMaker:
    """A call to `make_env` that can be sent to another process, which has imported nothing yet."""

    config: Config
    stream: Stream
    index: int
    render_mode: str | None
    row: Combo | None = None
    """For a process of its own: the algorithm's row without its class, which no environment needs."""

    def __call__(self) -> gymnasium.Env[Any, Any]:
        """Make the environment; in a worker process, prepare the process first."""
        if self.row is not None:
            import torch

            torch.set_num_threads(1)
            load_plugins(self.config.plugins)
            implemented_combos.frameworks(self.config.algo).place(self.config.train_framework, self.row)
        return make_env(self.config, self.stream, self.index, self.render_mode)


class EpisodeLog(VecEnvWrapper):
    """Collects finished episodes, whoever steps the environments, and reports them in `info["episode"]` as SB3 does.

    Callbacks cannot do it: not every algorithm shows them its infos.
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.finished: list[Episode] = []
        """Episodes that nobody has taken yet."""
        self.last_step: tuple[Any, ...] = ()
        """Observations of all environments, and after a step its rewards and actions, too."""
        self._actions: Any = None
        self._tracker = EpisodeTracker(venv.num_envs)

    def reset(self) -> VecEnvObs:
        """Start an episode in every environment."""
        self._tracker.reset()
        observation = self.venv.reset()
        self.last_step = (observation,)
        return observation

    def step_async(self, actions: np.ndarray) -> None:
        """Tell the environments to step."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments."""
        observation, rewards, dones, infos = self.venv.step_wait()
        self.last_step = observation, rewards, self._actions
        for episode in self._tracker.update(rewards, dones, infos):
            self.finished.append(episode)
            infos[episode.env]["episode"] = {"r": episode.total_return, "l": episode.length}
        return observation, rewards, dones, infos

    def take(self) -> list[Episode]:
        """Return the episodes that ended since the last call."""
        finished, self.finished = self.finished, []
        return finished

    def get_state(self) -> dict[str, Any]:
        """Return unfinished episodes, and finished ones that nobody has taken, as JSON values."""
        return {"unfinished": self._tracker.get_state(), "finished": [asdict(episode) for episode in self.finished]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._tracker.set_state(state["unfinished"])
        self.finished = [Episode(**episode) for episode in state["finished"]]


LONG = 20_000
"""Steps of a run from which worker processes are worth the seconds that they take to start."""

SHORT_S = 2e-4
"""Seconds of a step of all environments up to which it is done sooner than told to other processes."""
TRIED = 50
"""Steps that tell how long one takes."""


def make_vec_env(config: Config, stream: Stream, n_envs: int, render_mode: str | None = None) -> VecEnv:
    """Make `n_envs` environments, in this process or spread over worker processes (`num_workers`)."""
    workers = worker_count(config, n_envs) if stream == "train" else config.num_workers or 0
    apart = workers > 0
    row = replace(_combo(config), algo_class="", policy=None, kwargs={}) if apart else None
    makers: list[Callable[[], gymnasium.Env[Any, Any]]] = [
        EnvMaker(config, stream, index, render_mode, row) for index in range(n_envs)
    ]
    here = EnvMaker(config, stream, 0, None)
    limits = config.worker_timeout, config.worker_restarts
    env = ShmVecEnv(makers, workers, here, *limits) if apart else LocalVecEnv(makers, config.worker_restarts)
    return EpisodeLog(FiniteOnly(env, config.on_nan)) if stream == "train" else env


def worker_count(config: Config, n_envs: int) -> int:
    """Return how many processes share the environments of a training; 0 is this one."""
    if config.num_workers is not None:
        return config.num_workers
    if n_envs == 1 or config.steps < LONG or _step_seconds(config) * n_envs < SHORT_S:
        return 0
    return min(max(1, cores() - _combo(config).overlaps), n_envs)


def _step_seconds(config: Config) -> float:
    """Return what a step of an environment takes, if that is not known to be long."""
    if config.env_name.startswith(NAMESPACE):
        return math.inf
    with closing(make_env(config, "train", 0)) as env:
        env.reset()
        started = time.perf_counter()
        for _ in range(TRIED):
            _, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                env.reset()
        return (time.perf_counter() - started) / TRIED


class SpacesOnly(VecEnv):
    """Environments that have spaces and nothing else: what a model is built on that shall only predict."""

    def __init__(
        self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any], num_envs: int = 1
    ) -> None:
        super().__init__(num_envs, observation_space, action_space)

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Return None for the render mode, which SB3 asks for; there is nothing else."""
        if attr_name != "render_mode":
            raise AttributeError(attr_name)
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Return False for each environment."""
        return [False] * self.num_envs

    def close(self) -> None:
        """Do nothing."""

    def reset(self) -> VecEnvObs:
        """Refuse."""
        raise NotImplementedError("this model was loaded without environments; make them with make_vec_env.")

    def step_async(self, actions: np.ndarray) -> None:
        """Refuse."""
        self.reset()

    def step_wait(self) -> VecEnvStepReturn:
        """Refuse."""
        raise NotImplementedError

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Refuse."""
        self.reset()

    def env_method(self, method_name: str, *args: Any, indices: VecEnvIndices = None, **kwargs: Any) -> list[Any]:
        """Refuse."""
        raise NotImplementedError


def normalized(vec_env: VecEnv, training: bool = True) -> VecNormalize:
    """Return environments whose observations have running mean 0 and variance 1, clipped at 10; rewards stay the same.

    Numbers are normalised and images are not. With `training` off the statistics stay as they are.
    """
    space = vec_env.observation_space
    named = space.spaces if isinstance(space, spaces.Dict) else {"": space}
    keys = [key for key, part in named.items() if isinstance(part, spaces.Box) and not is_image_space(part)]
    if not keys:
        raise ConfigError(f"normalize: there is nothing to normalise in observations {space}. Leave it out.")
    # With SB3's epsilon of 1e-8 the jitter of a number that hardly ever changes is blown up to the clip.
    norm_keys = keys if isinstance(space, spaces.Dict) else None
    return VecNormalize(vec_env, training=training, norm_reward=False, epsilon=1e-4, norm_obs_keys=norm_keys)
