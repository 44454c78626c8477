"""Agents: classes that learn as they like. No deep-learning framework is assumed, and none is imported here.

    class MyAgent(Agent):
        def act(self, state, episode_num):                          # before each step
            return self.rng.uniform(-1, 1, self.action_space.shape)
        def memorize(self, last_ob, action, reward, done, ob): ...  # after it
        def update(self, episode_num): ...                          # right after that

Any class with these methods and `get_default_parameters` is an agent, be its base another. Methods it may have besides:

    metrics(episode_num) -> dict           numbers for metrics.csv and TensorBoard, asked for when an episode ended
    get_state() -> dict, set_state(dict)   what is saved of the agent: numpy arrays and JSON values by name
    save(path), load(path)                 instead or besides: a file of the agent's own
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gymnasium import spaces


class Agent(ABC):
    """The base of an agent. The four attributes are there before `__init__` runs, in agents of another base, too."""

    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    """What `act` must return; numbers beyond the bounds of a Box are clipped."""
    rng: np.random.Generator
    """Seeded by the run, and saved in its checkpoints: draw from it, and a run can be repeated."""
    parameters: dict[str, Any]
    """The default parameters, and over them the configuration's `algo_kwargs`."""

    def __init__(self, **parameters: Any) -> None:
        self.parameters = {**self.get_default_parameters(), **parameters}

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Return every parameter with its default, as JSON values; the type of the default is the parameter's."""
        return {}

    @abstractmethod
    def act(self, state: Any, episode_num: int) -> Any:
        """Return an action for one environment's observation.

        With a keyword `explore` it is told what for: true in training, false in an evaluation, which counts its own
        episodes and must leave no trace.
        """

    @abstractmethod
    def memorize(self, last_ob: Any, action: Any, reward: float, done: bool, ob: Any) -> None:
        """Take in a step; `done` is true in terminal states only. A keyword `truncated` is told of episodes cut."""

    @abstractmethod
    def update(self, episode_num: int) -> None:
        """Learn. The step that was memorised last is one of this episode."""
