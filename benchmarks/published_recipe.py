"""How long the usual recipe for panda-gym takes here: steps per second of TQC with hindsight, as RL Zoo publishes it.

    pip install --no-deps panda-gym==3.0.7 && pip install scipy
    python benchmarks/published_recipe.py

The settings are those of the model card sb3/tqc-PandaPush-v1: [512, 512, 512], two critics, batches of 2,048, an update
for each step. Its published curve shows 0.9 success on push after 250,000 steps; what is measured is a stretch of
updates, with one and with two threads of PyTorch, and the time for that many steps is computed from the faster one.
"""

from __future__ import annotations

import argparse
import time

import gymnasium
import panda_gym  # noqa: F401 - registers its ids
import report
import torch
from sb3_contrib import TQC
from stable_baselines3 import HerReplayBuffer

RECIPE = {
    "batch_size": 2048,
    "buffer_size": 1_000_000,
    "gamma": 0.95,
    "learning_rate": 1e-3,
    "learning_starts": 1000,
    "policy_kwargs": {"net_arch": [512, 512, 512], "n_critics": 2},
    "replay_buffer_kwargs": {"n_sampled_goal": 4, "goal_selection_strategy": "future"},
}
NEEDED = 250_000
"""Steps after which the published curve of push is at 0.9."""


def steps_per_second(threads: int, steps: int) -> float:
    """Return the steps that the recipe does in a second once it learns."""
    torch.set_num_threads(threads)
    env = gymnasium.make("PandaPush-v3")
    model = TQC("MultiInputPolicy", env, replay_buffer_class=HerReplayBuffer, device="cpu", seed=0, **RECIPE)
    model.learn(RECIPE["learning_starts"] + 10)
    started = time.perf_counter()
    model.learn(steps, reset_num_timesteps=False)
    taken = time.perf_counter() - started
    env.close()
    return steps / taken


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=300)
    args = parser.parse_args()
    rates = {threads: steps_per_second(threads, args.steps) for threads in (1, 2)}
    hours = NEEDED / max(rates.values()) / 3600
    rows = [{"torch_threads": threads, "steps_per_second": round(rate, 1)} for threads, rate in rates.items()]
    print(rows, f"{NEEDED:,} steps take {hours:.1f} hours")
    report.write("published_recipe", {"task": "PandaPush-v3", "rates": rows, "hours_to_0.9": round(hours, 1)})


if __name__ == "__main__":
    main()
