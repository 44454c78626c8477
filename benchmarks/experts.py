"""How often the scripted experts solve their tasks: every task with every robot that claims it, 100 seeds.

python benchmarks/experts.py                              # writes results/experts.json and docs/experts.md
python benchmarks/experts.py --tasks=reach,push --robots=panda --seeds=20 --print

Robots of an optional package that is not installed are left out of the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import report

import armature.envs  # noqa: F401, registers the environments
from armature.errors import ConfigError
from armature.evaluation import wilson_interval
from armature.registry import resolve, robots, tasks

BARS = {"slide": 0.8, "insert": 0.9, "flip": 0.9}
"""What an expert must reach; 0.95 for the tasks that are not named."""


def claims(chosen: list[str], tasks: list[str]) -> Iterator[tuple[str, str]]:
    """Yield every pair of robot and task that the robot claims and that can be built here."""
    for robot in chosen:
        for task in tasks:
            try:
                robots.find(robot).check(robot, task)
            except ConfigError:
                continue
            yield robot, task


def solve(pair: tuple[str, str], seeds: int) -> dict[str, Any]:
    """Return how often the expert of a pair succeeds at the end of the episode."""
    robot, task = pair
    mode = "ee_delta_pose" if getattr(resolve(tasks[task]), "turns_hand", False) else "ee_delta"
    env = gymnasium.make("armature/RobotEnv-v1", robot=robot, task=task, robot_action=mode).unwrapped
    failed, firsts = [], []
    for seed in range(seeds):
        env.reset(seed=seed)
        done = False
        while not done:
            *_, done, info = env.step(env.expert_action())
        failed += [] if info["success_at_end"] else [seed]
        firsts += [info["first_success_step"]] if info["success_once"] else []
    env.close()
    rate = 1 - len(failed) / seeds
    return {
        **{"robot": robot, "task": task, "robot_action": mode, "seeds": seeds},
        **{"success_rate": rate, "interval": wilson_interval(seeds - len(failed), seeds), "failed": failed},
        "steps": float(np.mean(firsts)) if firsts else None,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the success of every pair as Markdown: a column for each robot, a line for each task."""
    names = list(dict.fromkeys(row["robot"] for row in rows))
    found = {(row["robot"], row["task"]): row for row in rows}
    lines = ["| task | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for task in dict.fromkeys(row["task"] for row in rows):
        cells = [_cell(found.get((robot, task))) for robot in names]
        lines.append(f"| {task} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    low, high = row["interval"]
    return f"{row['success_rate']:.0%} ({low:.0%} to {high:.0%})"


def page(rows: list[dict[str, Any]]) -> str:
    """Return docs/experts.md."""
    text = f"""# What the experts achieve

Written by `python benchmarks/experts.py`. Success at the end of an episode over {rows[0]["seeds"]} seeds with the
scripted expert of each task, in the action mode `ee_delta`, or `ee_delta_pose` for tasks that turn the hand; in
brackets the Wilson interval of 95 %. A dash: the robot does not claim the task, and asking for it is an error that
names those it can do.

{table(rows)}
"""
    missed = [f"{row['task']} with {row['robot']}" for row in rows if row["success_rate"] < bar(row["task"])]
    if missed:
        text += f"\nBelow their bar (95 %; slide 80 %, insert and flip 90 %): {', '.join(missed)}.\n"
    return text


def bar(task: str) -> float:
    """Return the success rate that a task's expert must reach."""
    return BARS.get(task, 0.95)


def main() -> None:
    """Measure, print, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robots", default=",".join(robots))
    parser.add_argument("--tasks", default=",".join(tasks))
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--print", action="store_true", help="write nothing")
    args = parser.parse_args()
    pairs = list(claims(args.robots.split(","), args.tasks.split(",")))
    rows = []
    with ProcessPoolExecutor(2) as pool:
        for row in pool.map(partial(solve, seeds=args.seeds), pairs):
            rows.append(row)
            verdict = "" if row["success_rate"] >= bar(row["task"]) else f"  BELOW THE BAR, fails at {row['failed']}"
            print(f"{row['robot']:>8} {row['task']:<16} {_cell(row)}{verdict}", flush=True)
    if not args.print:
        report.write("experts", rows)
        (report.ROOT / "docs/experts.md").write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
