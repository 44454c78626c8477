"""An agent that acts by chance: what every other one must beat, and the smallest that there is."""

from __future__ import annotations

from typing import Any

from armature import Agent


class RandomAgent(Agent):
    """Draws actions uniformly from the action space, and learns nothing."""

    def act(self, state: Any, episode_num: int) -> Any:
        """Return a random action; the space's generator is seeded by the run."""
        return self.action_space.sample()

    def memorize(self, last_ob: Any, action: Any, reward: float, done: bool, ob: Any) -> None:
        """Forget."""

    def update(self, episode_num: int) -> None:
        """Stay the same."""

    def get_state(self) -> dict[str, Any]:
        """Return nothing: there is nothing to save."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take nothing."""
