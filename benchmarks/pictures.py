"""What a picture costs, in processor time on one core.

    python benchmarks/pictures.py

The full scene of pick and place: robot, table, floor, block, the marker of the goal. Robots are drawn as what they
collide with, but for the last row, which is the film that people see. Pictures are taken in turn during an expert's
episode.
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


def make(**kwargs: Any) -> Any:
    """Return our environment for pick and place."""
    return gymnasium.make("armature/RobotEnv-v1", task="pick_and_place", disable_env_checker=True, **kwargs).unwrapped


def milliseconds(env: Any, look: Callable[[], Any], times: int) -> list[float]:
    """Return what looking costs at each of the first steps of an expert's episode."""
    env.reset(seed=0)
    found = []
    for _ in range(times):
        started = time.process_time()
        look()
        found.append(1e3 * (time.process_time() - started))
        env.step(env.expert_action())
    return found


def watched(robot: str, **camera: Any) -> tuple[Any, Callable[[], Any]]:
    """Return an environment with a camera, and what takes its pictures."""
    env = make(robot=robot, observation="flat", cameras=[camera])
    return env, lambda: [eye.look(env.now) for eye in env.observation.eyes]


def filmed(robot: str, size: int) -> tuple[Any, Callable[[], Any]]:
    """Return an environment that people watch, with full meshes and shadows, and what takes its pictures."""
    env = make(robot=robot, render_mode="rgb_array")
    env.camera = type(env.camera)(env.simulation, env.workspace.camera, env.camera.marker, size, size)
    return env, env.render


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--robot", default="panda")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=50)
    args = parser.parse_args()
    size = {"width": 84, "height": 84}
    scenes = {f"84x84 {kind}": watched(args.robot, **size, kinds=[kind]) for kind in ("rgb", "depth", "segmentation")}
    scenes |= {
        "84x84 point_cloud": watched(args.robot, **size, kinds=["point_cloud"]),
        "84x84 rgb on the hand": watched(args.robot, **size, attached="ee"),
        "84x84 rgb, depth, segmentation": watched(args.robot, **size, kinds=["rgb", "depth", "segmentation"]),
        "240x240 rgb": watched(args.robot, width=240, height=240),
        "84x84 film, full meshes and shadows": filmed(args.robot, 84),
    }
    found: dict[str, list[float]] = {name: [] for name in scenes}
    for _ in range(args.turns):
        for name, (env, look) in scenes.items():
            found[name] += milliseconds(env, look, args.pictures)
    rows = [
        {"picture": name, "median_ms": round(statistics.median(times), 2), "p90_ms": round(np.quantile(times, 0.9), 2)}
        for name, times in found.items()
    ]
    for row in rows:
        print(f"{row['picture']:>36}: {row['median_ms']:6.2f} ms, nine of ten within {row['p90_ms']:.2f} ms")
    renderer = f"TinyRenderer, PyBullet API {p.getAPIVersion()}"
    report.write("pictures", {"robot": args.robot, "renderer": renderer, "pictures": rows})


if __name__ == "__main__":
    main()
