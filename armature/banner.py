"""What a run says before it begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from armature.config import GENERAL_ENV, Config
from armature.drawing import draw_network
from armature.runs import versions


def banner(config: Config, run: Path, model: Any, threads: int) -> str:
    """Return what is about to happen, a line each.

    Args:
        config: of the run.
        run: its folder.
        model: the model, made and perhaps restored.
        threads: of torch.
    """
    known = versions()
    packages = ("armature", "stable-baselines3", "torch", "pybullet", "gymnasium")
    robot = f"{config.robot}, {config.robot_action}, on {config.workspace}"
    general = config.env_name == GENERAL_ENV
    changing = [name for name, value in config.algo_kwargs.items() if isinstance(value, dict) and "schedule" in value]
    workers = getattr(model.get_env().unwrapped, "num_workers", 0)
    where = f"in {workers} worker processes" if workers else "in this process"
    rows = {
        "versions": ", ".join(f"{name} {known[name]}" for name in packages if name in known),
        "algorithm": f"{config.algo} ({type(model).__name__}, {config.train_framework}), {type(model.policy).__name__}",
        "robot": robot if general else config.env_name,
        "task": f"{config.task_type}, {config.reward} reward" if general else "-",
        "device": f"{config.device}, torch threads: {threads}, environments: {config.num_envs} {where}",
        "seed": config.seed,
        "steps": f"{config.steps:,}" + (f", {model.num_timesteps:,} of them done" if model.num_timesteps else ""),
        "run folder": run,
        "network": draw_network(model).replace("\n", "\n" + 13 * " "),
    }
    if changing:
        told = f"{', '.join(changing)} changes until step {config.steps:,}: another number of steps stretches it"
        rows["schedule"] = told
    return "\n".join(f"{name:>11}  {value}" for name, value in rows.items())
