"""Whether episodes are exact, bit for bit: continued from a state, or repeated in a world with a past.

    python benchmarks/exactness.py

For every task and 200 random cut points: an episode goes on from `get_state()` in the same environment, in another one
with a past, and in a fresh process that is given the state as a file of arrays and JSON. What follows the cut, the next
episode's beginning with it, must equal the run that was not interrupted. Every other cut randomises all it can
and observes with noise and latency.

For every id: 1,000 random steps with resets between, in a new environment and in one that has lived through others.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import hashlib
import json
import multiprocessing
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import report
from tqdm import tqdm

from armature.envs import ENV_IDS
from armature.errors import ConfigError
from armature.registry import tasks

CUTS, STEPS = 200, 1000
AT_ONCE = 20
"""Cuts that one fresh process continues, each in an environment of its own."""
WORLD = {
    "motor_strength": {"uniform": [0.7, 1.1]},
    "joint_damping": {"uniform": [0, 1]},
    "gravity": {"gaussian": {"mean": 9.81, "std": 0.1}},
}
OBJECTS = {
    "object_size": {"uniform": [0.85, 1.15]},
    "object_position": {"gaussian": {"mean": 0, "std": 0.005}},
    "object_rotation": {"uniform": [-0.2, 0.2]},
    "object_mass": {"multirange": [[0.1, 0.15], [0.25, 0.3]]},
    "object_friction": {"uniform": [0.6, 1.2]},
    "object_damping": {"uniform": [0, 0.2]},
}


def make(env_id: str = "armature/RobotEnv-v1", **kwargs: Any) -> Any:
    """Make an environment without Gymnasium's wrappers."""
    return gymnasium.make(env_id, disable_env_checker=True, **kwargs).unwrapped


def settings_of(task: str) -> list[dict[str, Any]]:
    """Return the arguments of a task's environments: as it is, and with all that it can randomise, seen badly."""
    usual = {"task": task, "reward": "dense", "observation": "flat"}
    badly = {**usual, "observation_noise": {"ee_position": 0.005}, "observation_latency": {"ee_position": 2}}
    try:
        make(**usual, randomize=OBJECTS).close()
        return [usual, {**badly, "randomize": {**OBJECTS, **WORLD}}]
    except ConfigError:  # no objects, or none that can be had in other sizes
        return [usual, {**badly, "randomize": WORLD}]


# ------------------------------------------------------------------------------------------------ what is compared


def everything(env: Any, observation: Any, reward: float) -> bytes:
    """Return all numbers of a moment."""
    now = env.now
    numbers = [*(observation.values() if isinstance(observation, dict) else [observation]), [reward]]
    numbers += [now.robot.joint_positions, now.robot.joint_velocities, now.goal]
    for body in now.objects:
        numbers += [body.position, body.quaternion, body.velocity, body.spin]
    for mechanism in now.mechanisms:
        numbers += [[mechanism.opening, mechanism.speed]]
    return b"".join(np.ascontiguousarray(each).tobytes() for each in numbers)


def followed(env: Any, actions: np.ndarray) -> str:
    """Take actions, then begin the next episode, unseeded; return a digest of all that was seen."""
    digest = hashlib.sha256()
    for action in actions:
        observation, reward, *_ = env.step(action)
        digest.update(everything(env, observation, reward))
    observation, _ = env.reset()
    digest.update(everything(env, observation, 0.0))
    for _ in range(5):
        observation, reward, *_ = env.step(np.zeros(env.action_space.shape))
        digest.update(everything(env, observation, reward))
    return digest.hexdigest()


def lively_actions(env: Any, seed: int) -> np.ndarray:
    """Return the actions of an episode of the expert's, every third one random, so that things are touched and held."""
    rng = np.random.default_rng(seed)
    env.reset(seed=seed)
    actions = []
    for step in range(env.episode_steps):
        actions.append(env.expert_action() if step % 3 else rng.uniform(-1, 1, env.action_space.shape))
        env.step(actions[-1])
    return np.array(actions)


# ------------------------------------------------------------------------------------------------ states


def write_state(path: Path, state: dict[str, Any], actions: np.ndarray) -> None:
    """Write a state and the actions to come as arrays and JSON."""
    arrays = {name: value for name, value in state.items() if isinstance(value, np.ndarray)}
    rest = {name: value for name, value in state.items() if name not in arrays}
    np.savez(path.with_suffix(".npz"), to_come=actions, **arrays)
    path.with_suffix(".json").write_text(json.dumps(rest))


def read_state(path: Path) -> tuple[dict[str, Any], np.ndarray]:
    """Return what `write_state` wrote."""
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        state = {**json.loads(path.with_suffix(".json").read_text()), **arrays}
    return state, state.pop("to_come")


def continue_files(settings: dict[str, Any], files: list[Path], answer: Path) -> None:
    """Continue each file's episode in a new environment; write the digests. Runs in a fresh process."""
    digests = []
    for file in files:
        env = make(**settings)
        state, actions = read_state(file)
        env.set_state(state)
        digests.append(followed(env, actions))
        env.close()
    answer.write_text(json.dumps(digests))


def in_fresh_processes(settings: dict[str, Any], files: list[Path], folder: Path) -> list[str]:
    """Return the digests of episodes that processes continue which have just been started."""
    digests = []
    for start in range(0, len(files), AT_ONCE):
        child = multiprocessing.get_context("spawn").Process(
            target=continue_files, args=(settings, files[start : start + AT_ONCE], folder / "answer.json")
        )
        child.start()
        child.join()
        digests += json.loads((folder / "answer.json").read_text())
    return digests


def cut(settings: dict[str, Any], count: int, folder: Path) -> Counter[str]:
    """Interrupt `count` episodes at random moments; return how many went on exactly, by where."""
    env, other = make(**settings), make(**settings)
    rng = np.random.default_rng(1)
    exact: Counter[str] = Counter(cuts=count)
    files, expected = [], []
    for seed in range(count):
        actions, moment = lively_actions(env, seed), int(rng.integers(env.episode_steps))
        env.reset(seed=seed)
        for action in actions[:moment]:
            env.step(action)
        state = env.get_state()
        expected.append(followed(env, actions[moment:]))
        for name, place in (("same", env), ("other", other)):
            place.set_state(state)
            exact[name] += followed(place, actions[moment:]) == expected[-1]
        files.append(folder / f"state{seed}")
        write_state(files[-1], state, actions[moment:])
    digests = in_fresh_processes(settings, files, folder)
    exact["fresh_process"] = sum(one == two for one, two in zip(digests, expected, strict=True))
    env.close()
    other.close()
    return exact


def states(task: str, cuts: int) -> dict[str, Any]:
    """Return how many of a task's cuts were exact."""
    exact: Counter[str] = Counter()
    for settings in settings_of(task):
        with tempfile.TemporaryDirectory() as folder:
            exact += cut(settings, cuts // 2, Path(folder))
    return {"task": task, **exact}


# ------------------------------------------------------------------------------------------------ histories


def wander(env: Any, steps: int, seed: int) -> str:
    """Take random steps, with a new episode at every end and at random; return a digest."""
    rng, digest = np.random.default_rng(seed), hashlib.sha256()
    episode = 0
    env.reset(seed=1000 * seed)
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = env.step(rng.uniform(-1, 1, env.action_space.shape))
        digest.update(everything(env, observation, reward))
        if terminated or truncated or rng.random() < 0.02:
            episode += 1
            digest.update(everything(env, env.reset(seed=1000 * seed + episode)[0], 0.0))
    return digest.hexdigest()


def repeats(env_id: str, steps: int) -> bool:
    """Return whether random steps are the same in a new environment and in one with a past."""
    new, lived_in = make(env_id), make(env_id)
    wander(lived_in, 100, seed=2)
    same = wander(new, steps, seed=1) == wander(lived_in, steps, seed=1)
    new.close()
    lived_in.close()
    return same


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(tasks))
    parser.add_argument("--cuts", type=int, default=CUTS)
    args = parser.parse_args()
    rows = []
    for task in tqdm(args.tasks, desc="states"):
        rows.append(states(task, args.cuts))
        print(" ".join(f"{name} {value}" for name, value in rows[-1].items()))
    repeated = {env_id: repeats(env_id, STEPS) for env_id in tqdm(ENV_IDS, desc="histories")}
    print(f"{sum(repeated.values())} of {len(repeated)} ids repeat {STEPS} steps exactly")
    differing = [env_id for env_id, same in repeated.items() if not same]
    report.write("exactness", {"states": rows, "ids": len(repeated), "steps": STEPS, "differing_ids": differing})


if __name__ == "__main__":
    main()
