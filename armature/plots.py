"""Pictures of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from armature.errors import RunError
from armature.runs import CsvTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = list[dict[str, str]]

TRAINING, EVALUATION = "#8a94a6", "#0b6bcb"


def plot_learning_curve(run: Path) -> Path:
    """Draw success rate and return against steps and wall time; return `plots/learning_curve.png` of the run."""
    # Without pyplot: no window system is looked for, and nobody else's figures are touched.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metrics, evaluations = CsvTable(run / "metrics.csv").rows(), CsvTable(run / "evaluations.csv").rows()
    if not metrics and not evaluations:
        raise RunError(f"{run} has neither metrics.csv nor evaluations.csv, so there is no curve to draw.")
    figure = Figure(figsize=(8, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    _draw_success(upper, metrics, evaluations)
    _draw_return(lower, metrics, evaluations)
    _add_clock(upper, metrics)
    figure.suptitle(run.name)
    path = run / "plots" / "learning_curve.png"
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    return path


def _draw_success(axes: Axes, metrics: Rows, evaluations: Rows) -> None:
    steps, shares = _columns(metrics, "rollout/success_rate")
    axes.plot(steps, shares * 100, color=TRAINING, label="training, last 100 episodes")
    steps, shares, low, high = _columns(evaluations, "success_rate", "low", "high")
    axes.plot(steps, shares * 100, color=EVALUATION, marker="o", markersize=3, label="evaluation, 95 % interval")
    axes.fill_between(steps, low * 100, high * 100, color=EVALUATION, alpha=0.15, linewidth=0)
    axes.set(ylabel="success rate (%)", ylim=(-3, 103))
    _finish(axes)


def _draw_return(axes: Axes, metrics: Rows, evaluations: Rows) -> None:
    steps, returns = _columns(metrics, "rollout/return")
    axes.plot(steps, returns, color=TRAINING, label="training")
    steps, returns = _columns(evaluations, "mean_return")
    axes.plot(steps, returns, color=EVALUATION, marker="o", markersize=3, label="evaluation")
    axes.set(xlabel="environment steps", ylabel="return of an episode")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _finish(axes)


def _add_clock(axes: Axes, metrics: Rows) -> None:
    """Write the wall time along the top edge: below each tick stands how long training had taken by then."""
    steps, seconds = _columns(metrics, "time/elapsed_s")
    if len(steps) < 2:
        return
    clock = axes.secondary_xaxis("top")
    clock.set_xlabel("wall time (s)" if seconds[-1] < 600 else "wall time (min)")
    unit = 1 if seconds[-1] < 600 else 60
    clock.xaxis.set_major_formatter(lambda value, _: f"{np.interp(value, steps, seconds) / unit:,.0f}")


def _finish(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")


def _columns(rows: Rows, *names: str) -> Sequence[np.ndarray]:
    """Return steps and the named columns as numbers, of those rows that have all of them."""
    kept = [row for row in rows if all(row.get(name) for name in names)]
    return [np.array([float(row[name]) for row in kept]) for name in ("steps", *names)]
