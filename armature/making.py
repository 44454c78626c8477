"""Models made from a config: `make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

from armature.adapters import AlgorithmAdapter
from armature.agent_model import AgentModel
from armature.arguments import build_kwargs, build_parameters, build_policy_kwargs, loop_class
from armature.checks import wants_hindsight
from armature.combos import implemented_combos
from armature.config import NAMESPACE, Config, DemonstrationsConfig
from armature.demonstrations import demonstration_arguments
from armature.doors import check_definition, door, is_sb3
from armature.errors import ConfigError
from armature.hindsight import HindsightReplayBuffer
from armature.hyperparameters import hyperparameters, takes_argument
from armature.policies import check_features, check_observations, choose_policy, find_policy, require_findable
from armature.registry import resolve
from armature.vec import episode_length

log = logging.getLogger(__name__)

GOAL_KEYS = {"observation", "achieved_goal", "desired_goal"}


def make_model(
    algo_class: type | str, policy: type | str | None, kwargs: Mapping[str, Any], env: VecEnv, config: Config
) -> Any:
    """Build the model of a row of `implemented_combos`, to train it.

    Args:
        algo_class: the row's class, or its address.
        policy: the row's policy; the config's wins, and without either it is chosen from the observation space.
        kwargs: the row's arguments and the config's `algo_kwargs` over them, as JSON values.
        env: the environments to learn in.
        config: says everything else.
    """
    require_findable(policy)
    return _make(algo_class, policy, kwargs, env, config)


def _make(
    algo_class: type | str, policy: type | str | None, kwargs: Mapping[str, Any], env: VecEnv, config: Config
) -> Any:
    combo = implemented_combos[config.algo][config.train_framework]
    cls = resolve(algo_class)
    check_definition(cls, config.algo)
    if door(cls) == "agent":
        return _make_agent(cls, kwargs, env, config)
    arguments = build_kwargs(kwargs, env)
    policy_kwargs = {**arguments.pop("policy_kwargs", {}), **config.policy_kwargs}
    if policy_kwargs:
        arguments["policy_kwargs"] = build_policy_kwargs(policy_kwargs, config.train_framework)
    if wants_hindsight(config):
        arguments |= _hindsight_arguments(cls, arguments, env, config)
    if config.demonstrations.path is not None:
        arguments |= demonstration_arguments(cls, arguments, env, config)
    of_run = {"seed": config.seed, "device": config.device, "verbose": 0}
    arguments |= {name: value for name, value in of_run.items() if takes_argument(cls, name)}
    policy = config.policy or policy or choose_policy(env.observation_space, combo)
    check_observations(policy, env.observation_space)
    chosen = find_policy(cls, policy, policy_kwargs.get("net_arch"))
    model = cls(chosen, env, **arguments) if is_sb3(cls) else AlgorithmAdapter(cls, chosen, env, **arguments)
    check_features(model.policy)
    model.set_logger(Logger(None, []))  # without one, SB3 makes a folder for its log in /tmp
    return model


def _make_agent(cls: type, parameters: Mapping[str, Any], env: VecEnv, config: Config) -> AgentModel:
    model = AgentModel(
        cls,
        env,
        parameters=build_parameters(parameters),
        seed=config.seed,
        loop=loop_class(config.loop),
        loop_kwargs=config.loop_kwargs,
        device=config.device,
    )
    model.set_logger(Logger(None, []))
    return model


def _hindsight_arguments(cls: type, arguments: Mapping[str, Any], env: VecEnv, config: Config) -> dict[str, Any]:
    """Return the arguments that make a class replay with hindsight."""
    space = env.observation_space
    if not isinstance(space, spaces.Dict) or not set(space) >= GOAL_KEYS:
        raise ConfigError(
            f"hindsight needs observations with the keys {', '.join(sorted(GOAL_KEYS))}, and {config.env_name} has "
            f"{space}. Set replay_buffer to 'default'."
        )
    # The terms of a dense reward need more than the goals; what they need stands in the infos.
    dense = config.env_name.startswith(NAMESPACE) and config.reward == "dense"
    starts = arguments.get("learning_starts", hyperparameters(cls)["learning_starts"].default)
    # Only finished episodes can be replayed, so learning waits until each environment has had one.
    first_episodes = env.num_envs * (episode_length(env) or 0)
    if starts < first_episodes:
        log.info("learning_starts is raised from %d to %d, one episode of each environment", starts, first_episodes)
    return {
        "replay_buffer_class": HindsightReplayBuffer,
        "replay_buffer_kwargs": {"copy_info_dict": dense, **(arguments.get("replay_buffer_kwargs") or {})},
        "learning_starts": max(starts, first_episodes),
    }


def build_for_replay(env: VecEnv, config: Config, policy: Any) -> Any:
    """Build the config's model with the smallest replay buffer there is, and no demonstrations: a replay needs none."""
    config = config.model_copy(update={"demonstrations": DemonstrationsConfig(), "policy": None})
    algo_class, _, kwargs = implemented_combos[config.algo][config.train_framework]
    kwargs = {**kwargs, **config.algo_kwargs}
    cls = resolve(algo_class)
    if door(cls) != "agent" and takes_argument(cls, "buffer_size"):
        kwargs["buffer_size"] = env.num_envs
    return _make(algo_class, policy, kwargs, env, config)
