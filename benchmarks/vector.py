"""How fast environments in worker processes are: the cost of the vector itself, two workers against one, growth.

    python benchmarks/vector.py

The vector's cost is taken with 64 environments that do nothing, in turn with what people use otherwise; what it is
worth with the real pick and place, random actions. Growth is steps per second and memory against the number of
environments. Ratios are of medians of several turns in one run.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # workers have one thread each: before numpy starts threads of its own

import argparse
import functools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import report
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from stable_baselines3.common.vec_env import DummyVecEnv, SubprocVecEnv

from armature.config import Config
from armature.local_vec_env import LocalVecEnv
from armature.shm_vec_env import ShmVecEnv
from armature.vec import make_env

IDLE = 64
"""Environments that do nothing."""
COUNTS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Numbers of environments to grow through."""


class Idle(gymnasium.Env[Any, Any]):
    """An environment of a robot's sizes that does nothing, in episodes of fifty steps."""

    observation_space = spaces.Box(-1, 1, (25,), np.float32)
    action_space = spaces.Box(-1, 1, (4,), np.float32)

    def __init__(self) -> None:
        self.seen, self.steps, self.episode = np.zeros(25, np.float32), 0, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self.steps = 0
        return self.seen, {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Count."""
        self.steps += 1
        return self.seen, 0.0, False, self.steps >= 50, {"is_success": False}


def rate(env: Any, count: int, seconds: float = 2.0) -> float:
    """Return the steps of single environments that a vector of `count` does in a second, with random actions."""
    space = env.single_action_space if hasattr(env, "single_action_space") else env.action_space
    actions = np.random.default_rng(0).uniform(-1, 1, (64, count, *(space.shape or ()))).astype(np.float32)
    env.reset()
    for action in actions[:8]:
        env.step(action)
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        env.step(actions[done % 64])
        done += 1
    return done * count / (time.perf_counter() - started)


def medians(envs: dict[str, tuple[Any, int]], turns: int) -> dict[str, float]:
    """Return the median rate of each vector, measured in turn."""
    found: dict[str, list[float]] = {name: [] for name in envs}
    for _ in range(turns):
        for name, (env, count) in envs.items():
            found[name].append(rate(env, count))
    return {name: round(statistics.median(rates)) for name, rates in found.items()}


@contextmanager
def opened(envs: dict[str, tuple[Any, int]]) -> Iterator[dict[str, tuple[Any, int]]]:
    """Close all vectors at the end."""
    try:
        yield envs
    finally:
        for env, _ in envs.values():
            env.close()


def idle(turns: int) -> dict[str, Any]:
    """Return the rates of vectors of environments that do nothing."""
    makers: list[Callable[[], Any]] = [Idle] * IDLE
    vectors = {
        "LocalVecEnv": (LocalVecEnv(makers), IDLE),
        "ShmVecEnv, two workers": (ShmVecEnv(makers, 2), IDLE),
        "DummyVecEnv": (DummyVecEnv(makers), IDLE),
        "SubprocVecEnv": (SubprocVecEnv(makers), IDLE),
        "Gymnasium AsyncVectorEnv": (AsyncVectorEnv(makers), IDLE),
    }
    with opened(vectors) as envs:
        rates = medians(envs, turns)
    times = {
        ours: {name: round(rates[ours] / rates[name], 2) for name in rates if not name.startswith(("Local", "Shm"))}
        for ours in ("LocalVecEnv", "ShmVecEnv, two workers")
    }
    return {"steps_per_second": rates, "times": times}


def robot(index: int) -> Any:
    """Return pick and place."""
    import armature.envs  # noqa: F401 - registers its ids, in a worker

    return make_env(Config(task_type="pick_and_place"), "train", index)


def robots(count: int) -> list[Callable[[], Any]]:
    """Return makers of pick and place."""
    return [functools.partial(robot, index) for index in range(count)]


def pick_and_place(turns: int) -> dict[str, Any]:
    """Return the rates of pick and place in two workers, in one, and alone in one process."""
    vectors = {f"{count} in two workers": (ShmVecEnv(robots(count), 2), count) for count in (2, 4, 8, 16)}
    vectors["16 in one worker"] = (ShmVecEnv(robots(16), 1), 16)
    vectors["one in this process"] = (LocalVecEnv(robots(1)), 1)
    with opened(vectors) as envs:
        rates = medians(envs, turns)
    alone = rates["one in this process"]
    return {"steps_per_second": rates, "times_one": {name: round(rate / alone, 2) for name, rate in rates.items()}}


def megabytes(processes: list[int | None]) -> float:
    """Return the memory in MB that processes have for themselves; pages that they share count in parts."""
    total = 0
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def growth() -> list[dict[str, Any]]:
    """Return rate and memory of pick and place for each number of environments."""
    rows = []
    for count in COUNTS:
        with closing(ShmVecEnv(robots(count), 2)) as env:
            speed = rate(env, count)
            memory = megabytes([child.pid for child in multiprocessing.active_children()])
        rows.append({"num_envs": count, "steps_per_second": round(speed), "megabytes": round(memory, 1)})
        print(rows[-1])
    return rows


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw rate and memory against the number of environments."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    counts = [row["num_envs"] for row in rows]
    for axes, key, label in zip(
        figure.subplots(1, 2),
        ("steps_per_second", "megabytes"),
        ("steps per second, two workers", "memory of the workers (MB)"),
        strict=True,
    ):
        axes.plot(counts, [row[key] for row in rows], marker="o", markersize=3)
        axes.set_xscale("log", base=2)
        axes.set(xlabel="environments (pick and place)", ylabel=label, ylim=(0, None))
        axes.grid(alpha=0.25)
    figure.savefig(report.RESULTS / "vector.png", dpi=150)


def main() -> None:
    """Measure, print, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    args = parser.parse_args()
    figures: dict[str, Any] = {"idle": idle(args.turns)}
    print(figures["idle"])
    figures["pick_and_place"] = pick_and_place(args.turns)
    print(figures["pick_and_place"])
    rows = growth()
    first, last = rows[0], rows[-1]
    each = (last["megabytes"] - first["megabytes"]) / (last["num_envs"] - first["num_envs"])
    print(f"an environment more takes {each:.1f} MB")
    draw(rows)
    report.write("vector", {**figures, "growth": rows, "megabytes_per_environment": round(each, 1)})


if __name__ == "__main__":
    main()
