"""How often the scripted experts solve their tasks: every task and action mode, 200 seeds.

python benchmarks/experts.py
"""

from __future__ import annotations

import gymnasium
import numpy as np
import report
from tqdm import tqdm

import armature.envs  # noqa: F401, registers the environments
from armature.evaluation import wilson_interval
from armature.registry import robot_actions, robots, tasks

SEEDS = 200


def solve(**kwargs: str) -> dict[str, object]:
    """Return how often the expert of an environment succeeds at the end of the episode."""
    env = gymnasium.make("armature/RobotEnv-v1", **kwargs).unwrapped
    successes, firsts = 0, []
    for seed in tqdm(range(SEEDS), desc=" ".join(kwargs.values()), leave=False):
        env.reset(seed=seed)
        done = False
        while not done:
            *_, done, info = env.step(env.expert_action())
        successes += info["success_at_end"]
        firsts += [info["first_success_step"]] if info["success_once"] else []
    env.close()
    low, high = wilson_interval(successes, SEEDS)
    return {**kwargs, "success_rate": successes / SEEDS, "interval": [low, high], "steps": float(np.mean(firsts))}


def main() -> None:
    """Measure, print a table and write it."""
    rows = [
        solve(robot=robot, task=task, robot_action=mode) for robot in robots for task in tasks for mode in robot_actions
    ]
    for row in rows:
        low, high = row["interval"]
        print(
            f"{row['robot']:>8} {row['task']:<16} {row['robot_action']:<12} {row['success_rate']:6.1%} "
            f"({low:.1%} to {high:.1%}), first success after {row['steps']:.1f} steps"
        )
    report.write("experts", rows)


if __name__ == "__main__":
    main()
