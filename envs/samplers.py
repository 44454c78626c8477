"""Samplers of the config's `randomize`: what is drawn anew for every episode, and how. No physics engine needed.

    {"constant": 0.3}                                       always the same
    {"uniform": [0.1, 0.3]}                                 evenly between two ends
    {"multirange": [[0.1, 0.2], [0.4, 0.5]]}                evenly in one of several ranges, each as likely
    {"gaussian": {"mean": 0.2, "std": 0.05, "low": 0.1}}    normal, cut off at `low` and `high`

A sampler is a quantile function: it turns evenly distributed shares in [0, 1) into values. So a draw takes the same
numbers from a generator whatever the sampler is, and evenly spaced shares give a fixed set that stands for all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from armature.errors import ConfigError, UnknownNameError


class Limits:
    """What a sampler is held to.

    Args:
        path: dotted key for messages.
        size: how many numbers make a value.
        low: smallest number that makes sense.
        high: largest one.
    """

    def __init__(self, path: str, size: int, low: float, high: float) -> None:
        self.path, self.size, self.low, self.high = path, size, low, high

    def numbers(self, what: str, given: Any) -> np.ndarray:
        """Return numbers (size,) from one number or a list of `size`, within the limits."""
        values = self.free(what, given)
        if np.any(values < self.low) or np.any(values > self.high):
            raise self.refusal(what, given, f"between {self.low:g} and {self.high:g}")
        return values

    def free(self, what: str, given: Any) -> np.ndarray:
        """Return numbers (size,) as `numbers` does, whatever their magnitude."""
        values = given if isinstance(given, (list, tuple)) else [given] * self.size
        if len(values) != self.size or not all(_is_number(value) for value in values):
            several = f", or a list of {self.size} of them" if self.size > 1 else ""
            raise self.refusal(what, given, f"a finite number{several}")
        return np.array(values, dtype=float)

    def pair(self, given: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of a range, each (size,)."""
        if not isinstance(given, (list, tuple)) or len(given) != 2:
            raise self.refusal("range", given, "[low, high]")
        low, high = (self.numbers("range", end) for end in given)
        if np.any(low > high):
            raise self.refusal("range", given, "[low, high] in this order")
        return low, high

    def refusal(self, what: str, given: Any, expected: str) -> ConfigError:
        """Return the error for a value that cannot be."""
        return ConfigError(f"{self.path}: {what} is {given!r}; expected {expected}.")


class Sampler(ABC):
    """Draws the value of a quantity."""

    @abstractmethod
    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return the values that lie at these shares of the distribution, both of shape (n, size)."""


class Ranges(Sampler):
    """Evenly in one of several ranges, each as likely; ends have the shape (size,)."""

    def __init__(self, ranges: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.lows, self.highs = (np.array(ends) for ends in zip(*ranges, strict=True))

    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return low + share * (high - low) in the range that each share falls into."""
        within, which = np.modf(shares * len(self.lows))
        rows, columns = which.astype(int), np.arange(self.lows.shape[1])
        low, high = self.lows[rows, columns], self.highs[rows, columns]
        return low + within * (high - low)


class Gaussian(Sampler):
    """A normal distribution that is cut off below and above; all arguments have the shape (size,)."""

    LEAST = 0.01
    """Share of the distribution that the cuts must leave."""

    def __init__(self, mean: np.ndarray, std: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
        self.normals = [NormalDist(*each) for each in zip(mean.tolist(), std.tolist(), strict=True)]
        self.low, self.high = low, high
        self.below, upto = (
            np.array([normal.cdf(end) for normal, end in zip(self.normals, ends, strict=True)]) for ends in (low, high)
        )
        self.kept = upto - self.below

    def at(self, shares: np.ndarray) -> np.ndarray:
        """Return the inverse of the distribution function, which needs no second try at the cuts."""
        # The inverse is infinite at 0 and 1.
        levels = np.clip(self.below + shares * self.kept, 1e-12, 1 - 1e-12)
        values = [[normal.inv_cdf(level) for normal, level in zip(self.normals, row, strict=True)] for row in levels]
        return np.clip(np.array(values), self.low, self.high)


def _constant(given: Any, limits: Limits) -> Sampler:
    value = limits.numbers("constant", given)
    return Ranges([(value, value)])


def _uniform(given: Any, limits: Limits) -> Sampler:
    return Ranges([limits.pair(given)])


def _multirange(given: Any, limits: Limits) -> Sampler:
    if not isinstance(given, (list, tuple)) or not given:
        raise limits.refusal("multirange", given, "[[low, high], ...]")
    return Ranges([limits.pair(ends) for ends in given])


def _gaussian(given: Any, limits: Limits) -> Sampler:
    if not isinstance(given, Mapping) or not {"mean", "std"} <= set(given):
        raise limits.refusal("gaussian", given, 'an object with "mean" and "std", perhaps "low" and "high"')
    for name in given:
        if name not in ("mean", "std", "low", "high"):
            raise UnknownNameError(f"key of {limits.path}.gaussian", name, ("mean", "std", "low", "high"))
    std = limits.free("std", given["std"])
    if np.any(std <= 0):
        raise limits.refusal("std", given["std"], "numbers above 0")
    low = limits.numbers("low", given.get("low", limits.low))
    high = limits.numbers("high", given.get("high", limits.high))
    sampler = Gaussian(limits.free("mean", given["mean"]), std, low, high)
    if np.any(sampler.kept < Gaussian.LEAST):
        raise limits.refusal("gaussian", given, f"a mean near {limits.low:g} to {limits.high:g}, low and high")
    return sampler


_KINDS = {"constant": _constant, "uniform": _uniform, "multirange": _multirange, "gaussian": _gaussian}


def sampler(given: Any, limits: Limits) -> Sampler:
    """Return the sampler that a config describes; raise `ConfigError` with the key and what is allowed."""
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ConfigError(f"{limits.path} is {given!r}; expected an object with one of {', '.join(_KINDS)}.")
    (kind, values), *_ = given.items()
    if kind not in _KINDS:
        raise UnknownNameError(f"sampler of {limits.path}", kind, _KINDS)
    return _KINDS[kind](values, limits)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
