"""What tests of robot environments share: making one, following its expert, telling two histories apart."""

import gymnasium
import numpy as np

import armature.envs  # noqa: F401, registers the environments
from armature.errors import ConfigError
from armature.registry import robots


def make(**kwargs):
    return gymnasium.make("armature/RobotEnv-v1", disable_env_checker=True, **kwargs).unwrapped


def is_installed(env_id):
    """Return whether the robot of an id is there: some come with an optional package."""
    try:
        robots.find(gymnasium.spec(env_id).kwargs.get("robot", "panda")).folder()
    except ConfigError:
        return False
    return True


def share_solved(env, episodes):
    """Return the share of the episodes with seeds 0, 1, ... that the expert ends with success."""
    solved = 0
    for seed in range(episodes):
        env.reset(seed=seed)
        done = False
        while not done:
            *_, done, info = env.step(env.expert_action())
        solved += info["success_at_end"]
    return solved / episodes


def play(env, seed, actions):
    """Reset with a seed, take the actions, return every number that was seen."""
    observation, _ = env.reset(seed=seed)
    seen = [observation]
    for action in actions:
        observation, reward, *_ = env.step(env.expert_action() if action is None else action)
        seen += [observation, [reward], env.now.robot.joint_positions, env.now.robot.joint_velocities]
    return np.concatenate(seen)


def mixed_actions(env, count=30):
    """Return random actions with the expert's (None) between them, so that blocks are touched and grasped."""
    rng = np.random.default_rng(0)
    return [None if step % 3 else rng.uniform(-1, 1, env.action_space.shape) for step in range(count)]
