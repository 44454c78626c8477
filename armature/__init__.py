"""Armature trains robots in PyBullet from one JSON file. `armature.__all__` is its public surface."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

# A checkout keeps envs/, myalgos/, configs/, train.py and test.py beside this folder; a wheel keeps them in it.
_checkout = Path(__file__).resolve().parent.parent
if (_checkout / "setup.py").is_file() and (_checkout / "envs").is_dir():
    __path__.append(str(_checkout))

_HOMES = {
    "Agent": "armature.agents",
    "ArmatureError": "armature.errors",
    "BaseLoop": "armature.loops",
    "Combo": "armature.combos",
    "Config": "armature.config",
    "ConfigError": "armature.errors",
    "Decision": "armature.trainers.base",
    "DefaultLoop": "armature.loops",
    "Evaluation": "armature.evaluation",
    "Layout": "armature.envs.tasks.base",
    "OffPolicySettings": "armature.trainers.settings",
    "OffPolicyTrainer": "armature.trainers.off_policy",
    "OnPolicySettings": "armature.trainers.settings",
    "OnPolicyTrainer": "armature.trainers.on_policy",
    "Optimizer": "armature.trainers.optimizer",
    "RewardSignal": "armature.trainers.reward_signals",
    "RewardSignalSettings": "armature.trainers.settings",
    "Robot": "armature.envs.robots.base",
    "RobotEnv": "armature.envs.robot_env",
    "Schedule": "armature.trainers.settings",
    "Table": "armature.registry",
    "Task": "armature.envs.tasks.base",
    "Trajectory": "armature.trainers.trajectory",
    "Waypoint": "armature.envs.tasks.base",
    "Workspace": "armature.envs.workspaces.base",
    "evaluate": "armature.evaluation",
    "implemented_combos": "armature.combos",
    "load_model": "armature.models",
    "load_plugins": "armature.plugins",
    "make_vec_env": "armature.vec",
    "register": "armature.combos",
    "register_policy": "armature.policies",
    "resolve": "armature.registry",
    "reward_signals": "armature.trainers.settings",
    "robots": "armature.registry",
    "save_model": "armature.models",
    "tasks": "armature.registry",
    "workspaces": "armature.registry",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name from its home at first use (PEP 562), so that `import armature` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module 'armature' has no attribute {name!r}; public names: {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
