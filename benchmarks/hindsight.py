"""What it costs to draw a batch with hindsight, beside SB3's `HerReplayBuffer`, on one core.

    python benchmarks/hindsight.py

Observations of pick and place, sixteen environments, episodes of fifty steps, a full buffer. Both buffers hold the same
and draw ten batches each in turn. With a worker process SB3 sends every batch there to be rewarded; with dense rewards
it copies the info of every transition. The floor is reading as many random rows of as many bytes.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # one core: before numpy starts threads of its own

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import report
import torch
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.vec_env import VecEnv

from armature.config import Config
from armature.hindsight import HindsightReplayBuffer
from armature.plugins import load_plugins
from armature.vec import make_vec_env

ENVS, EPISODE, TOGETHER = 16, 50, 10
KINDS = {"sb3": HerReplayBuffer, "ours": HindsightReplayBuffer}


def make(reward: str, workers: int) -> tuple[VecEnv, dict[str, Any]]:
    """Return an environment, which is all that rewards need, and the info of a step in it."""
    config = Config(algo="her", task_type="pick_and_place", reward=reward, num_workers=workers)
    env = make_vec_env(config, "train", 1)
    env.reset()
    return env, env.step(np.zeros((1, *env.action_space.shape)))[3][0]


def experience(env: VecEnv, info: dict[str, Any], steps: int) -> Iterator[tuple[Any, ...]]:
    """Yield what `add` takes, with goals that are sometimes close to each other."""
    rng = np.random.default_rng(0)
    shapes = {key: (ENVS, *space.shape) for key, space in env.observation_space.spaces.items()}
    for step in range(steps):
        before, after = (
            {key: 0.1 * rng.standard_normal(shape, np.float32) for key, shape in shapes.items()} for _ in range(2)
        )
        done = np.full(ENVS, step % EPISODE == EPISODE - 1)
        infos = [{name: dict(v) if isinstance(v, dict) else v for name, v in info.items()} for _ in range(ENVS)]
        yield before, after, rng.uniform(-1, 1, (ENVS, *env.action_space.shape)), np.zeros(ENVS), done, infos


def full(env: VecEnv, info: dict[str, Any], stored: int, dense: bool) -> dict[str, HerReplayBuffer]:
    """Return a full buffer of each kind."""
    spaces = env.observation_space, env.action_space
    buffers = {
        name: cls(stored, *spaces, env, device="cpu", n_envs=ENVS, copy_info_dict=dense) for name, cls in KINDS.items()
    }
    for transition in experience(env, info if dense else {}, stored // ENVS):
        for buffer in buffers.values():
            buffer.add(*transition)
    return buffers


def in_turn(looks: dict[str, Callable[[], Any]], turns: int) -> dict[str, float]:
    """Return what each takes, in milliseconds, the median of the turns."""
    found: dict[str, list[float]] = {name: [] for name in looks}
    for _ in range(turns):
        for name, look in looks.items():
            started = time.perf_counter()
            for _ in range(TOGETHER):
                look()
            found[name].append(1e3 * (time.perf_counter() - started) / TOGETHER)
    return {name: statistics.median(times) for name, times in found.items()}


def measure(reward: str, workers: int, stored: int, args: argparse.Namespace) -> dict[str, Any]:
    """Return what both buffers need for a batch, and the floor."""
    env, info = make(reward, workers)
    buffers = full(env, info, stored, dense=reward == "dense")
    ours = buffers["ours"]
    one = [*ours.observations.values(), *ours.next_observations.values(), ours.actions]
    width = sum(array[0, 0].size for array in one) + len(("reward", "done", "timeout", "start", "length"))
    rows, rng = np.ones((stored, width), np.float32), np.random.default_rng(0)
    looks: dict[str, Callable[[], Any]] = {
        name: lambda buffer=buffer: buffer.sample(args.batch)  # type: ignore[misc]
        for name, buffer in buffers.items()
    }
    looks["floor"] = lambda: rows.take(rng.integers(0, stored, args.batch), axis=0)
    times = in_turn(looks, args.turns)
    env.close()
    row = {"reward": reward, "workers": workers, "stored": stored}
    row |= {f"{name}_ms": round(median, 3) for name, median in times.items()}
    row["ratio"] = round(times["sb3"] / times["ours"], 1)
    print("{reward}, {workers} workers, {stored:,} stored:".format(**row), end=" ")
    print("SB3 {sb3_ms:.2f} ms, ours {ours_ms:.2f} ms ({ratio:.1f} times), floor {floor_ms:.2f} ms".format(**row))
    return row


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stored", type=int, default=1_000_000)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--turns", type=int, default=20)
    args = parser.parse_args()
    torch.set_num_threads(1)
    load_plugins()
    cases = [("sparse", 0, args.stored // 100), ("sparse", 0, args.stored // 10), ("sparse", 0, args.stored)]
    cases += [("sparse", 1, args.stored), ("dense", 0, args.stored), ("dense", 1, args.stored)]
    report.write("hindsight", {"batch": args.batch, "rows": [measure(*case, args) for case in cases]})


if __name__ == "__main__":
    main()
