"""Judging a policy: finished episodes, success rates with their intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

Infos = Sequence[Mapping[str, Any]]


class Predictor(Protocol):
    """Anything that chooses actions: an SB3 model, a `LoadedModel`, a scripted expert."""

    def predict(self, observation: Any, state: Any, episode_start: Any, deterministic: bool) -> tuple[Any, Any]:
        """Return the actions of all environments, and the state of a recurrent policy."""
        ...


@dataclass(frozen=True)
class Episode:
    """One finished episode of one environment."""

    env: int
    total_return: float
    """Sum of the rewards."""
    length: int
    success: bool | None
    """Whether the last step was a success; None if the environment does not tell."""
    first_success_step: int | None
    """Counted from 1; None if no step was a success."""
    terms: dict[str, float] = field(default_factory=dict)
    """Sum of each reward term over the episode."""


class EpisodeTracker:
    """Adds up what happens in `n_envs` environments that reset themselves, and reports finished episodes."""

    def __init__(self, n_envs: int) -> None:
        self.n_envs = n_envs
        self.reset()

    def reset(self) -> None:
        """Forget the unfinished episodes."""
        self._returns = np.zeros(self.n_envs)
        self._lengths = np.zeros(self.n_envs, dtype=int)
        self._first_success: list[int | None] = [None] * self.n_envs
        self._terms: list[dict[str, float]] = [{} for _ in range(self.n_envs)]

    def update(self, rewards: np.ndarray, dones: np.ndarray, infos: Infos) -> list[Episode]:
        """Take in one step of all environments; return the episodes that ended with it."""
        self._returns += rewards
        self._lengths += 1
        for index, info in enumerate(infos):
            if info.get("is_success") and self._first_success[index] is None:
                self._first_success[index] = int(self._lengths[index])
            if "reward_terms" in info:
                terms = self._terms[index]
                for name, value in info["reward_terms"].items():
                    terms[name] = terms.get(name, 0.0) + float(value)
        return [self._finish(index, infos[index]) for index in np.flatnonzero(dones).tolist()]

    def get_state(self) -> dict[str, Any]:
        """Return the unfinished episodes as JSON values, no digit less."""
        return {
            "returns": self._returns.tolist(),
            "lengths": self._lengths.tolist(),
            "first_success": list(self._first_success),
            "terms": [dict(terms) for terms in self._terms],
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]
        self._first_success = list(state["first_success"])
        self._terms = [dict(terms) for terms in state["terms"]]

    def _finish(self, index: int, info: Mapping[str, Any]) -> Episode:
        episode = Episode(
            env=index,
            total_return=float(self._returns[index]),
            length=int(self._lengths[index]),
            success=bool(info["is_success"]) if "is_success" in info else None,
            first_success_step=self._first_success[index],
            terms=self._terms[index],
        )
        self._returns[index], self._lengths[index] = 0.0, 0
        self._first_success[index], self._terms[index] = None, {}
        return episode


@dataclass(frozen=True)
class Evaluation:
    """What a number of episodes say about a policy. The success figures are None if the environment reports none."""

    episodes: int
    successes: int | None
    success_rate: float | None
    """Share of episodes whose last step is a success."""
    success_interval: tuple[float, float] | None
    """Wilson interval of the success rate at 95 %."""
    success_once_rate: float | None
    """Share of episodes with a success at any step."""
    mean_return: float
    std_return: float
    mean_length: float
    steps_to_success: float | None
    """Mean number of steps until the first success, over the episodes that have one."""

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> Evaluation:
        """Sum up episodes."""
        returns = [episode.total_return for episode in episodes]
        firsts = [episode.first_success_step for episode in episodes if episode.first_success_step is not None]
        known = all(episode.success is not None for episode in episodes)
        successes = sum(bool(episode.success) for episode in episodes)
        return cls(
            episodes=len(episodes),
            successes=successes if known else None,
            success_rate=successes / len(episodes) if known else None,
            success_interval=wilson_interval(successes, len(episodes)) if known else None,
            success_once_rate=len(firsts) / len(episodes) if known else None,
            mean_return=float(np.mean(returns)),
            std_return=float(np.std(returns)),
            mean_length=float(np.mean([episode.length for episode in episodes])),
            steps_to_success=float(np.mean(firsts)) if firsts else None,
        )

    @property
    def score(self) -> tuple[float, float]:
        """What makes one evaluation better than another: the success rate, then the return."""
        return (-1.0 if self.success_rate is None else self.success_rate, self.mean_return)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON values, which have no NaN or infinity."""
        return {
            key: None if isinstance(value, float) and not math.isfinite(value) else value
            for key, value in asdict(self).items()
        }


def wilson_interval(successes: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a success rate; `z` = 1.96 means 95 %.

    Unlike the textbook `p ± z * sqrt(p (1 - p) / n)` it stays within [0, 1] and is honest at 0 and n successes.
    """
    if n == 0:
        return 0.0, 1.0
    rate = successes / n
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def evaluate(
    model: Predictor,
    env: VecEnv,
    episodes: int,
    deterministic: bool = True,
    on_step: Callable[[Infos, np.ndarray], None] | None = None,
) -> Evaluation:
    """Run a policy for a number of episodes.

    Each environment gives a fixed share of them. Counting whichever end first would favour short ones, and let the
    result depend on the number of environments.

    Args:
        model: chooses the actions.
        env: environments that reset themselves.
        episodes: number of episodes, at least 1.
        deterministic: whether the policy takes its most likely action.
        on_step: called with infos and dones after each step; for pictures and progress.
    """
    quota = [episodes // env.num_envs + (index < episodes % env.num_envs) for index in range(env.num_envs)]
    finished: list[list[Episode]] = [[] for _ in quota]
    tracker = EpisodeTracker(env.num_envs)
    observation, state = env.reset(), None
    dones = np.ones(env.num_envs, dtype=bool)
    while any(len(done) < share for done, share in zip(finished, quota, strict=True)):
        actions, state = model.predict(observation, state, dones, deterministic)
        observation, rewards, dones, infos = env.step(actions)
        for episode in tracker.update(rewards, dones, infos):
            if len(finished[episode.env]) < quota[episode.env]:
                finished[episode.env].append(episode)
        if on_step is not None:
            on_step(infos, dones)
    return Evaluation.of([episode for done in finished for episode in done])
