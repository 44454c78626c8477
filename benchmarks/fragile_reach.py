"""A plugin for benchmarks/faults.py: reaching, in an environment that raises once when a file tells it to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium


class Fragile(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Raises at the step at which there is a file `now` in a folder; whoever sees it first takes it away."""

    def __init__(self, folder: str, render_mode: str | None = None) -> None:
        super().__init__(gymnasium.make("armature/PandaReach-v1", observation="flat", render_mode=render_mode))
        self.folder = Path(folder)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, or raise."""
        try:
            (self.folder / "now").unlink()
        except FileNotFoundError:
            return self.env.step(action)
        raise RuntimeError("the environment was told to fail")


if "fragile/Reach-v0" not in gymnasium.registry:
    gymnasium.register("fragile/Reach-v0", Fragile, disable_env_checker=True)
