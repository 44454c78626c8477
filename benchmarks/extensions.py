"""What learners that came through each door reach on reach, beside SB3's own classes where there is one.

    pip install -e examples/trainer_plugin
    python benchmarks/extensions.py

Three seeds each; success over 100 new episodes in a separate process. Runs stay in `--logdir`; one that is finished
there is not trained again.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any, NamedTuple

import report
from learning import train
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

PLUGIN = report.ROOT / "examples/trainer_plugin/armature_trainer_plugin"


class Contender(NamedTuple):
    """A learner."""

    door: str
    flags: list[str]
    bar: float | None = None
    """Success rate that it has to reach; None for a peer."""


CONTENDERS = {
    "myalgo": Contender("algorithm", ["--algo=myalgo"], 0.9),
    "sac": Contender("SB3", ["--algo=sac"]),
    "plugin_a2c": Contender("trainer", ["--config", str(PLUGIN / "a2c/a2c_reach.json")], 0.9),
    "a2c": Contender("SB3", ["--config", str(PLUGIN / "a2c/a2c_reach.json"), "--algo=a2c"]),
    "plugin_dqn": Contender("trainer", ["--config", str(PLUGIN / "dqn/dqn_reach.json")], 0.8),
    "dqn": Contender("SB3", ["--config", str(PLUGIN / "dqn/dqn_reach.json"), "--algo=dqn"]),
    "cem_agent": Contender(
        "agent",
        [f"--agent={report.ROOT / 'examples/cem_agent.py'}:CemAgent", "--steps=140000", "--eval_freq=20000"],
        0.6,
    ),
}


def main() -> None:
    """Train, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", choices=list(CONTENDERS), default=list(CONTENDERS))
    parser.add_argument("--logdir", type=Path, default=report.ROOT / "trained_models/benchmarks")
    args = parser.parse_args()
    found: dict[str, Any] = {}
    for name in args.only:
        door, flags, bar = CONTENDERS[name]
        runs = [train(name, flags, seed, args.logdir) for seed in args.seeds]
        found[name] = {"door": door, "bar": bar, "runs": runs}
    for name, entry in found.items():
        rates = ", ".join(f"{run['success_rate']:.0%}" for run in entry["runs"])
        seconds = statistics.median(run["seconds"] for run in entry["runs"])
        bar = f", bar {entry['bar']:.0%}" if entry["bar"] else ""
        print(f"{name:>12} ({entry['door']}): {rates} after {seconds:.0f} s{bar}")
    draw(found)
    report.write("extensions", found)


def draw(found: dict[str, Any]) -> None:
    """Draw success against steps, the median of the seeds."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name, entry in found.items():
        curves = [[point["success"] for point in run["curve"]] for run in entry["runs"]]
        steps = [point["steps"] for point in entry["runs"][0]["curve"]]
        medians = [100 * statistics.median(points) for points in zip(*curves, strict=False)]
        axes.plot(
            steps[: len(medians)],
            medians,
            linestyle="--" if entry["door"] == "SB3" else "-",
            marker="o",
            markersize=3,
            label=f"{name} ({entry['door']})",
        )
    axes.set(xscale="log", xlabel="environment steps", ylabel="success rate, median of the seeds (%)", ylim=(-3, 103))
    axes.set_title("reach")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(report.RESULTS / "extensions.png", dpi=150)


if __name__ == "__main__":
    main()
