"""Noise and latency of what is observed. Reward and success go by the truth."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np


class Imperfections:
    """Adds noise to measurements as they are taken, then hands them out late.

    Args:
        noise: standard deviations of Gaussian noise by name: in the SI unit of a part or of the points of a cloud, in
            levels (of 255) of a picture.
        latency: control steps by name; until so many have passed, the first measurement stands.
    """

    def __init__(self, noise: Mapping[str, float], latency: Mapping[str, int]) -> None:
        self._noise, self._latency = noise, latency
        self._rng = np.random.default_rng(0)
        self._past: dict[str, deque[np.ndarray]] = {}

    def begin(self, rng: np.random.Generator) -> None:
        """Start an episode: what is drawn follows from the state of `rng`, which is left as it is."""
        self._past = {name: deque(maxlen=steps + 1) for name, steps in self._latency.items()}
        if self._noise:
            self._rng = np.random.default_rng(copy.deepcopy(rng).integers(2**63))

    def of_part(self, name: str, measure: Callable[[Any], Iterable[float]]) -> Callable[[Any], Iterable[float]]:
        """Return what measures a part with its noise and latency: `measure` itself if it has neither."""
        if name not in self._noise and name not in self._latency:
            return measure
        return lambda now: self._late(name, self._noisy(name, np.array([*measure(now)]))).tolist()

    def of_picture(self, name: str, picture: np.ndarray) -> np.ndarray:
        """Return a picture, or the points of a cloud, with its noise and latency."""
        seen = self._noisy(name, picture)
        if picture.dtype == np.uint8 and seen is not picture:
            seen = np.clip(np.rint(seen), 0, 255)
        return self._late(name, seen.astype(picture.dtype, copy=False))

    def _noisy(self, name: str, truth: np.ndarray) -> np.ndarray:
        deviation = self._noise.get(name)
        return truth + self._rng.normal(0.0, deviation, truth.shape) if deviation else truth

    def _late(self, name: str, seen: np.ndarray) -> np.ndarray:
        past = self._past.get(name)
        if past is None:
            return seen
        past.append(seen)
        return past[0]
