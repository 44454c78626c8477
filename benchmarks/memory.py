"""Whether memory stays flat: episode after episode in one environment, and environments made and closed.

    python benchmarks/memory.py

For every task: what the process's resident memory grows by, in MB per 1,000 episodes, randomised where that can be;
most episodes are cut after a few steps, every tenth is played to its end. Then 200 environments at once, made, stepped
and closed, several times. Each figure comes from a process of its own.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import ctypes
import gc
import multiprocessing
from collections.abc import Callable
from typing import Any

import exactness
import numpy as np
import psutil
import report
from tqdm import tqdm

from armature.registry import tasks

EPISODES, WARM_UP, AT_ONCE, ROUNDS = 1000, 300, 200, 3


def resident() -> float:
    """Return the resident memory of this process in MB, without what is freed and kept for later."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):  # glibc keeps blocks of megabytes once it has seen that they come again
        libc.malloc_trim(0)
    return psutil.Process().memory_info().rss / 1e6


def play(env: Any, episodes: int) -> None:
    """Play episodes with random actions: three steps of most, all of every tenth."""
    rng = np.random.default_rng(0)
    for episode in range(episodes):
        env.reset(seed=episode)
        for _ in range(3 if episode % 10 else env.episode_steps):
            env.step(rng.uniform(-1, 1, env.action_space.shape))


def growth_of_episodes(settings: dict[str, Any], episodes: int) -> float:
    """Return MB for 1,000 episodes of one environment."""
    env = exactness.make(**settings)
    play(env, WARM_UP)
    before = resident()
    play(env, episodes)
    return (resident() - before) / episodes * 1000


def growth_of_environments(at_once: int, rounds: int) -> dict[str, Any]:
    """Return MB of one environment, and MB after each round of making, stepping and closing many at once."""
    before, sizes = resident(), []
    for _ in range(rounds):
        envs = [exactness.make(task="push") for _ in range(at_once)]
        for env in envs:
            play(env, 1)
        each = (resident() - before) / at_once
        while envs:
            envs[-1].close()
            envs.pop().close()
        sizes.append(round(resident(), 1))
    return {"environments": at_once, "mb_each": round(each, 1), "mb_after_rounds": sizes}


def apart(measure: Callable[..., Any], *args: Any) -> Any:
    """Return what a function returns in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, args)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", default=list(tasks))
    args = parser.parse_args()
    rows = []
    for task in tqdm(args.tasks):
        settings = exactness.settings_of(task)[-1]
        grown = apart(growth_of_episodes, settings, EPISODES)
        rows.append(
            {"task": task, "randomized": sorted(settings["randomize"]), "mb_per_1000_episodes": round(grown, 3)}
        )
        print(f"{task:<16} {grown:7.3f} MB per 1,000 episodes")
    many = apart(growth_of_environments, AT_ONCE, ROUNDS)
    print(", ".join(f"{name} {value}" for name, value in many.items()))
    report.write("memory", {"episodes": EPISODES, "tasks": rows, **many})


if __name__ == "__main__":
    main()
