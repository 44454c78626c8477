"""How fast PPO learns to reach here, and with what people use otherwise: frames per second, collecting and updating.

    pip install --no-deps panda-gym==3.0.7 && pip install scipy
    python benchmarks/end_to_end.py

Both are Stable-Baselines3's PPO with the same network, n_steps, batch size and epochs, on sixteen environments. The
other one has SB3's SubprocVecEnv and panda-gym's PandaReach-v3. They run in turn, each in a process of its own, with
one and two threads of PyTorch; medians count, and for each side the faster number of threads.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # what simulates has one thread; PyTorch is told its own number

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import report

ENVS = 16
SETTINGS = {"n_steps": 64, "batch_size": 256, "n_epochs": 10, "device": "cpu", "seed": 0}
ROLLOUT = ENVS * SETTINGS["n_steps"]  # type: ignore[operator]


def peer_env() -> Any:
    """Return panda-gym's environment for reaching."""
    import panda_gym  # noqa: F401 - registers its ids

    return gymnasium.make("PandaReach-v3")


def peer() -> Any:
    """Return the environments that people use."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    return SubprocVecEnv([peer_env] * ENVS)


def ours() -> Any:
    """Return ours, in as many workers as there are cores."""
    import armature.envs  # noqa: F401 - registers its ids
    from armature.config import Config
    from armature.vec import make_vec_env

    return make_vec_env(
        Config(algo="ppo", task_type="reach", observation={"form": "goal"}, num_workers=2), "train", ENVS
    )


SIDES = {"armature": ours, "panda-gym": peer}


def frames_per_second(make: Callable[[], Any], threads: int, rollouts: int) -> float:
    """Return the frames that PPO does in a second, after a first rollout that does not count."""
    import torch
    from stable_baselines3 import PPO

    torch.set_num_threads(threads)
    env = make()
    model = PPO("MultiInputPolicy", env, **SETTINGS)
    model.learn(ROLLOUT)
    started = time.perf_counter()
    model.learn(rollouts * ROLLOUT, reset_num_timesteps=False)
    taken = time.perf_counter() - started
    env.close()
    return rollouts * ROLLOUT / taken


def in_a_process(side: str, threads: int, rollouts: int) -> float:
    """Return the frames per second of a side, found by a process of its own."""
    command = [sys.executable, __file__, "--side", side, "--threads", str(threads), "--rollouts", str(rollouts)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rollouts", type=int, default=12)
    parser.add_argument("--side", choices=SIDES, help="measure this one alone, in this process")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.side:
        print(frames_per_second(SIDES[args.side], args.threads, args.rollouts))
        return
    found: dict[tuple[str, int], list[float]] = {(side, threads): [] for side in SIDES for threads in (1, 2)}
    for _ in range(args.turns):
        for (side, threads), rates in found.items():
            rates.append(in_a_process(side, threads, args.rollouts))
    medians = {key: statistics.median(rates) for key, rates in found.items()}
    rows = [
        {"side": side, "torch_threads": threads, "frames_per_second": round(rate)}
        for (side, threads), rate in medians.items()
    ]
    for row in rows:
        print(row)
    best = {side: max(medians[side, threads] for threads in (1, 2)) for side in SIDES}
    ratio = best["armature"] / best["panda-gym"]
    print(f"{ratio:.2f} times the frames")
    report.write("end_to_end", {"ppo": SETTINGS | {"num_envs": ENVS}, "rates": rows, "ratio": round(ratio, 2)})


if __name__ == "__main__":
    main()
