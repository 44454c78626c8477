"""How long a configuration takes to a skill: runs train.py for several seeds in turn and draws the curves.

    python benchmarks/learning.py reach.json --seeds 0 1 2
    python benchmarks/learning.py push.json --seeds 0 1 2 --bar 0.9
    python benchmarks/learning.py demos/stack.json

Seconds are wall clock of the whole process, from its start to its end, all evaluations included, and of recording the
expert's episodes where a configuration learns from some; those of the curve are of training. The success rate is that
of a separate process, `test.py`, over 100 new episodes. Runs stay in `--logdir`; one that is finished there is not
trained again.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import report
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from armature.checks import foreign_imports
from armature.config import Config

DEMONSTRATIONS = 200
"""Episodes of the expert that are recorded for a configuration that learns from some."""


def train(config: str, flags: list[str], seed: int, run: Path) -> dict[str, Any]:
    """Train in a process of its own, unless that was done already; return what it took and what came of it."""
    clocked = run / "process.json"
    if not clocked.is_file():
        started = time.monotonic()
        taught = record(config, run.with_suffix(".npz")) if Config.load(config).demonstrations.path else []
        command = [sys.executable, str(report.ROOT / "train.py"), f"--config={config}", *taught, *flags]
        subprocess.run([*command, f"--seed={seed}", f"--logdir={run.parent}", f"--run_name={run.name}"], check=True)
        clocked.write_text(json.dumps({"seconds": time.monotonic() - started}))
    figures = run / "replay.json"
    replay = [sys.executable, str(report.ROOT / "test.py"), f"--model={run}", f"--json={figures}", "--episodes=100"]
    allowed = (f"--allow-import={module}" for module in foreign_imports(Config.load(run / "config.json")))
    subprocess.run([*replay, *allowed], check=True)
    found, summary, process = (json.loads(file.read_text()) for file in (figures, run / "summary.json", clocked))
    with (run / "evaluations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    points = [(int(row["steps"]), float(row["success_rate"])) for row in rows]
    return {
        "seed": seed,
        "seconds": round(process["seconds"], 1),
        "steps": summary["steps"],
        "success_rate": found["success_rate"],
        "success_interval": found["success_interval"],
        "curve": [{"steps": steps, "seconds": clock(run, steps), "success": rate} for steps, rate in points],
    }


def record(config: str, file: Path) -> list[str]:
    """Record an expert's episodes; return the flag that learns from them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    expert = [sys.executable, str(report.ROOT / "test.py"), "--control=expert", f"--config={config}"]
    subprocess.run([*expert, f"--episodes={DEMONSTRATIONS}", f"--save-demos={file}"], check=True)
    return [f"--demonstrations.path={file}"]


def clock(run: Path, steps: int) -> float | None:
    """Return the seconds of training after which a run had done so many steps, as far as metrics.csv tells."""
    with (run / "metrics.csv").open(newline="") as file:
        times = [float(row["time/elapsed_s"]) for row in csv.DictReader(file) if int(row["steps"]) >= steps]
    return times[0] if times else None


def reached(curve: list[dict[str, Any]], bar: float) -> dict[str, Any] | None:
    """Return the first point of a curve at or above a success rate."""
    return next((point for point in curve if point["success"] >= bar), None)


def draw(name: str, runs: list[dict[str, Any]], bar: float) -> None:
    """Draw success against seconds, a line for each seed."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for run in runs:
        points = [point for point in run["curve"] if point["seconds"] is not None]
        axes.plot(
            [p["seconds"] for p in points],
            [100 * p["success"] for p in points],
            marker="o",
            markersize=3,
            label=f"seed {run['seed']}",
        )
    axes.axhline(100 * bar, color="#8a94a6", linestyle=":", linewidth=1)
    axes.set(
        xlabel="seconds of training on two cores", ylabel="success rate, deterministic evaluation (%)", ylim=(-3, 103)
    )
    axes.set_title(name)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    figure.savefig(report.RESULTS / f"learning_{name}.png", dpi=150)


def main() -> None:
    """Train, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--bar", type=float, default=0.95, help="success rate whose time is reported (0.95)")
    parser.add_argument("--logdir", type=Path, default=report.ROOT / "trained_models/benchmarks")
    args, flags = parser.parse_known_args()
    name = "_".join(Path(args.config).with_suffix("").parts)
    runs = [train(args.config, flags, seed, args.logdir / f"{name}_{seed}") for seed in args.seeds]
    for run in runs:
        run["first_evaluation_at_bar"] = reached(run["curve"], args.bar)
        print(
            f"seed {run['seed']}: {run['success_rate']:.0%} after {run['seconds']:.0f} s, "
            f"bar first seen at {run['first_evaluation_at_bar']}"
        )
    report.RESULTS.mkdir(exist_ok=True)
    draw(name, runs, args.bar)
    report.write(f"learning_{name}", {"bar": args.bar, "runs": runs})


if __name__ == "__main__":
    main()
