"""An agent in numpy alone: the cross-entropy method on a linear policy.

    python train.py --algo examples/cem_agent.py:CemAgent --steps 140000 --eval_freq 20000

Every episode tries one candidate, drawn from a normal distribution over the policy's weights. When `population`
episodes are finished, the distribution moves to the mean of the `elites` with the highest returns, and a little towards
their spread: at once it would shrink too early, since a return depends on the goal that was drawn as well. Smoothed
updates: de Boer, Kroese, Mannor and Rubinstein, "A Tutorial on the Cross-Entropy Method", Annals of Operations Research
134, 2005. Candidates come in pairs that are each other's mirror image, which evens out luck.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from armature import Agent


class CemAgent(Agent):
    """Acts with `tanh(weights @ [observation, 1])`, scaled to the bounds of the actions.

    Args:
        population: Episodes between two steps of the distribution.
        elites: How many of them it moves to.
        initial_std: Standard deviation of each weight at the start.
        smoothing: Share of the elites' variance in the next one.
    """

    @staticmethod
    def get_default_parameters() -> dict[str, Any]:
        """Return the parameters of the class's docstring."""
        return {"population": 32, "elites": 16, "initial_std": 0.5, "smoothing": 0.1}

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        inputs = len(self._flat(self.observation_space.sample())) + 1
        self.mean = np.zeros((*self.action_space.shape, inputs))
        self.std = np.full_like(self.mean, self.parameters["initial_std"])
        self.generation = 0
        self.mirrored: np.ndarray | None = None  # the last candidate's offset, if the next one is to mirror it
        self.candidates: dict[int, np.ndarray] = {}  # of the episodes under way, by their number
        self.returns: dict[int, float] = {}
        self.finished: list[tuple[float, np.ndarray]] = []

    def act(self, state: Any, episode_num: int, explore: bool = True) -> np.ndarray:
        """Act as the episode's candidate does, or as the mean of the distribution where there is nothing to explore."""
        weights = self._candidate(episode_num) if explore else self.mean
        low, high = self.action_space.low, self.action_space.high
        return low + (np.tanh(weights @ np.append(self._flat(state), 1.0)) + 1) / 2 * (high - low)

    def _candidate(self, episode_num: int) -> np.ndarray:
        if episode_num not in self.candidates:
            offset = self.rng.normal(0.0, self.std) if self.mirrored is None else -self.mirrored
            self.mirrored = offset if self.mirrored is None else None
            self.candidates[episode_num], self.returns[episode_num] = self.mean + offset, 0.0
        return self.candidates[episode_num]

    def memorize(self, last_ob: Any, action: Any, reward: float, done: bool, ob: Any, truncated: bool = False) -> None:
        """Remember what `update` will ask for."""
        self.reward, self.over = reward, done or truncated

    def update(self, episode_num: int) -> None:
        """Add up the return; at the end of a population move the distribution."""
        self.returns[episode_num] += self.reward
        if self.over:
            self.finished.append((self.returns.pop(episode_num), self.candidates.pop(episode_num)))
        if len(self.finished) == self.parameters["population"]:
            self._move()

    def _move(self) -> None:
        self.finished.sort(key=lambda pair: pair[0], reverse=True)
        best = np.array([weights for _, weights in self.finished[: self.parameters["elites"]]])
        share = self.parameters["smoothing"]
        self.mean, self.std = best.mean(axis=0), np.sqrt((1 - share) * self.std**2 + share * best.var(axis=0))
        self.generation += 1
        self.finished = []

    def metrics(self, episode_num: int) -> dict[str, float]:
        """Return how far the search is."""
        return {"generation": self.generation, "std": float(self.std.mean())}

    def get_state(self) -> dict[str, Any]:
        """Return the distribution, and what is known of the present population."""
        return {
            "mean": self.mean,
            "std": self.std,
            "generation": self.generation,
            "finished_returns": np.array([total for total, _ in self.finished]),
            "finished_weights": np.array([weights for _, weights in self.finished]),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there. Episodes that were under way begin anew, and with them their candidates."""
        self.mean, self.std, self.generation = state["mean"], state["std"], state["generation"]
        self.finished = list(zip(state["finished_returns"].tolist(), state["finished_weights"], strict=True))

    @staticmethod
    def _flat(state: Any) -> np.ndarray:
        parts = [state[name] for name in sorted(state)] if isinstance(state, dict) else [state]
        return np.concatenate([np.ravel(part) for part in parts])
