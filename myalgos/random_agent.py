"""An agent that acts by chance: what every other one must beat, and the smallest that there is."""

from __future__ import annotations

from typing import Any

from armature import Agent


class RandomAgent(Agent):
    """Draws actions uniformly from the action space, and learns nothing.

    Its state is that of the space's random generator, which the run seeds.
    """

    def act(self, state: Any, episode_num: int) -> Any:
        """Return a random action."""
        return self.action_space.sample()

    def memorize(self, last_ob: Any, action: Any, reward: float, done: bool, ob: Any) -> None:
        """Forget."""

    def update(self, episode_num: int) -> None:
        """Stay the same."""

    def get_state(self) -> dict[str, Any]:
        """Return what the next action depends on."""
        return {"generator": self.action_space.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on with the same actions."""
        self.action_space.np_random.bit_generator.state = state["generator"]
