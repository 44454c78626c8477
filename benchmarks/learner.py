"""How fast fast_sac learns beside SB3's SAC: updates alone on one thread, and whole trainings of push.

    python benchmarks/learner.py

Both have the same networks, batches and experience, and run in turn in the same process; medians of several turns. The
share of the floor says how much of an update's time the matrix products alone would take, measured on this machine.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # one core: before numpy starts threads of its own

import argparse
import statistics
import time
from typing import Any

import gymnasium
import numpy as np
import report
import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import DummyVecEnv

from armature.combos import implemented_combos
from armature.config import Config
from armature.making import make_model
from armature.myalgos.fast_sac import FastSAC
from armature.plugins import load_plugins
from armature.vec import make_vec_env

SEEN, ACTIONS, BATCH, ROUND = 30, 4, 256, 4
"""Numbers in an observation and an action of push, transitions of an update, updates of a round."""


class Still(gymnasium.Env[Any, Any]):
    """Spaces of the size that push has; nobody steps it."""

    observation_space = spaces.Box(-1, 1, (SEEN,), np.float32)
    action_space = spaces.Box(-1, 1, (ACTIONS,), np.float32)


class Serial(FastSAC):
    """Updates before the environments step, as SB3 has it: what overlapping gains is the difference."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update at once."""
        super().train(gradient_steps, batch_size)
        self._catch_up()


# ---------------------------------------------------------------------------------------------- updates


def learner(cls: type[SAC], width: int, **kwargs: Any) -> SAC:
    """Return a model with random experience."""
    policy_kwargs = {"net_arch": [width, width], **kwargs.pop("policy_kwargs", {})}
    env = DummyVecEnv([Still] * 16)
    model = cls("MlpPolicy", env, buffer_size=20_000, ent_coef="auto_0.02", policy_kwargs=policy_kwargs, **kwargs)
    model.set_logger(Logger(None, []))
    generator = np.random.default_rng(0)
    for _ in range(1000):
        seen, following = generator.normal(size=(2, 16, SEEN)).astype(np.float32)
        actions = generator.uniform(-1, 1, (16, ACTIONS)).astype(np.float32)
        model.replay_buffer.add(seen, following, actions, generator.normal(size=16), np.zeros(16), [{}] * 16)  # type: ignore[union-attr]
    return model


def milliseconds(model: SAC, rounds: int) -> float:
    """Return the median time of an update."""
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        model.train(ROUND, BATCH)
        found.append(time.perf_counter() - started)
    return 1e3 * statistics.median(found) / ROUND


def floor(width: int, delay: int) -> float:
    """Return the milliseconds of an update's matrix products between hidden layers, and of nothing else.

    An update has three forward passes of two critics or the actor, and two passes back through two critics; that of the
    actor two forward passes and three back.
    """
    one, other = torch.randn(2, BATCH, width), torch.randn(2, width, width)
    found = []
    for _ in range(300):
        started = time.perf_counter()
        torch.bmm(one, other)
        found.append(time.perf_counter() - started)
    pair = 1e3 * statistics.median(found)  # both critics at once; the actor alone is half of it
    return pair * (0.5 + 1 + 1 + 2) + pair * (0.5 + 1 + 1 + 2 * 0.5) / delay


def updates(turns: int) -> list[dict[str, Any]]:
    """Return the time of an update of each kind, for two widths."""
    rows = []
    for width in (128, 256):
        models = {
            "sac (SB3)": learner(SAC, width),
            "fast_sac, policy_delay 1": learner(FastSAC, width, policy_delay=1),
            "fast_sac": learner(FastSAC, width),
            "fast_sac, layer_norm": learner(FastSAC, width, policy_kwargs={"layer_norm": True}),
        }
        times: dict[str, list[float]] = {name: [] for name in models}
        for _ in range(turns):
            for name, model in models.items():
                times[name].append(milliseconds(model, 20))
        base = statistics.median(times["sac (SB3)"])
        for name, found in times.items():
            middle = statistics.median(found)
            least = floor(width, 1 if name.endswith(("(SB3)", "1")) else 2)
            rows.append(
                {
                    "learner": name,
                    "net_arch": [width, width],
                    "updates_per_second": round(1e3 / middle),
                    "times_sb3": round(base / middle, 2),
                    "share_of_matrix_products": round(least / middle, 2),
                }
            )
            print(rows[-1], flush=True)
    return rows


# ---------------------------------------------------------------------------------------------- trainings


def training_speed(cls: type[SAC], workers: int, gradient_steps: int, steps: int) -> float:
    """Return the steps in a second of training push, after a warm-up."""
    config = Config(algo="fast_sac", task_type="push", num_workers=workers)
    env = make_vec_env(config, "train", 16)
    _, policy, kwargs = implemented_combos["fast_sac"]["pytorch"]
    same = {"gradient_steps": gradient_steps, "policy_kwargs": {"net_arch": [128, 128]}}  # SB3 normalises no layers
    model = make_model(cls, policy, {**kwargs, **same}, env, config)
    model.learn(1200, log_interval=None)
    started = time.perf_counter()
    model.learn(steps, log_interval=None, reset_num_timesteps=False)
    speed = steps / (time.perf_counter() - started)
    env.close()
    return speed


def trainings(turns: int, steps: int) -> list[dict[str, Any]]:
    """Return the speed of trainings with each number of workers."""
    kinds = {"sac (SB3)": SAC, "fast_sac, not overlapped": Serial, "fast_sac": FastSAC}
    setups = [(rounds, workers, name) for rounds in (2, 4) for workers in (1, 2) for name in kinds]
    speeds: dict[tuple[int, int, str], list[float]] = {setup: [] for setup in setups}
    for _ in range(turns):
        for rounds, workers, name in setups:
            speed = training_speed(kinds[name], workers, rounds, steps)
            print(f"{name}, {rounds} updates a step, {workers} workers: {speed:.0f} steps/s", flush=True)
            speeds[rounds, workers, name].append(speed)
    rows = []
    for (rounds, workers, name), found in speeds.items():
        middle = statistics.median(found)
        base = statistics.median(speeds[rounds, workers, "sac (SB3)"])
        told = {"learner": name, "gradient_steps": rounds, "num_workers": workers, "steps_per_second": round(middle)}
        rows.append({**told, "times_sb3": round(middle / base, 2)})
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    load_plugins()
    figures = {"updates": updates(args.turns), "trainings": trainings(args.turns, args.steps)}
    report.write("learner", figures)


if __name__ == "__main__":
    main()
