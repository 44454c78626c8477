"""How fast one environment is on one core, in turn with panda-gym on the same machine, and where its time goes.

    pip install --no-deps panda-gym==3.0.7 && pip install scipy
    python benchmarks/environment.py

Both do pick and place with random actions, episode after episode. Simulated seconds per wall second compare them, since
their control periods differ (0.05 s and 0.04 s); medians of several turns.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # one core: before numpy starts threads of its own

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import report

import armature.envs  # noqa: F401 - registers its ids
from armature.envs.engine import p

EPISODE = 50
"""Steps until a reset."""


def seconds(env: gymnasium.Env[Any, Any], steps: int, seed: int = 0) -> float:
    """Return how long random actions take, with a reset before every fifty of them, as trainings do it: seeded once."""
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, *(env.action_space.shape or ()))).astype(np.float32)
    env.reset(seed=seed)
    started = time.perf_counter()
    for step, action in enumerate(actions):
        if step % EPISODE == 0:
            env.reset()
        env.step(action)
    return time.perf_counter() - started


def seconds_inside_engine(env: gymnasium.Env[Any, Any], steps: int, seed: int) -> float:
    """Return how much of the time of an environment's steps passes within `stepSimulation`."""
    inside, simulate = 0.0, p.stepSimulation

    def timed(client: int) -> None:
        nonlocal inside
        started = time.perf_counter()
        simulate(client)
        inside += time.perf_counter() - started

    p.stepSimulation = timed
    try:
        seconds(env, steps, seed)
        return inside
    finally:
        p.stepSimulation = simulate


def share_inside_engine(env: gymnasium.Env[Any, Any], episodes: int) -> float:
    """Return the share of an environment's time that passes within `stepSimulation`, from medians over episodes.

    Looking at the clock in every substep takes 3 microseconds a step itself, so the whole is measured without. Each
    episode is done twice, once for the whole and once for the part: a machine that is shared changes its pace in less
    than a second.
    """
    whole, inside = [], []
    for seed in range(episodes):
        whole.append(seconds(env, EPISODE, seed))
        inside.append(seconds_inside_engine(env, EPISODE, seed))
    return statistics.median(inside) / statistics.median(whole)


def microseconds(call: Callable[[int], Any], times: int) -> float:
    """Return the median time of a call in microseconds; it is given its number."""
    found = []
    for number in range(times):
        started = time.perf_counter()
        call(number)
        found.append(time.perf_counter() - started)
    return 1e6 * statistics.median(found)


def ours(**kwargs: Any) -> Any:
    """Return our environment for pick and place, without the checks of Gymnasium's wrappers."""
    return gymnasium.make("armature/PandaPickAndPlace-v1", disable_env_checker=True, **kwargs).unwrapped


def peer() -> Any:
    """Return panda-gym's environment for pick and place."""
    import panda_gym  # noqa: F401 - registers its ids

    return gymnasium.make("PandaPickAndPlace-v3", disable_env_checker=True).unwrapped


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--steps", type=int, default=3000)
    args = parser.parse_args()
    envs = {
        "armature, sparse, goal dict": (ours(), 0.05),
        "armature, dense, flat": (ours(reward="dense", observation="flat"), 0.05),
        "panda-gym 3.0.7, sparse, goal dict": (peer(), 0.04),
    }
    speeds: dict[str, list[float]] = {name: [] for name in envs}
    for _ in range(args.turns):
        for name, (env, period) in envs.items():
            speeds[name].append(args.steps * period / seconds(env, args.steps))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    peers = medians["panda-gym 3.0.7, sparse, goal dict"]
    rows = [
        {"env": name, "simulated_per_second": round(speed, 1), "times_panda_gym": round(speed / peers, 2)}
        for name, speed in medians.items()
    ]
    for row in rows:
        print(f"{row['env']:>36}: {row['simulated_per_second']:6.1f} s/s, {row['times_panda_gym']:.2f} x panda-gym")
    env = ours()
    share = share_inside_engine(env, args.turns * args.steps // EPISODE)
    reset = microseconds(lambda number: env.reset(seed=number), 500)
    print(f"inside stepSimulation: {share:.1%}; a reset: {reset:.0f} microseconds")
    report.write("environment", {"speeds": rows, "share_inside_engine": round(share, 3), "reset_us": round(reset)})


if __name__ == "__main__":
    main()
