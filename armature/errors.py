"""Errors that users see: each says what is wrong, what was given, what is allowed and what to do.

ArmatureError           exit status 1
|- ConfigError          2   a config key or flag is wrong
|  `- UnknownNameError  2   a name that is in no table: carries the closest match and the known names
|- PluginError          2   a plugin could not be loaded
|- RunError             2   a run folder or model cannot be used
|- WorkerError          1   environments keep dying, hanging or raising
|- DivergedError        1   training has produced numbers that are not finite
|  `- NotFiniteError     1   an environment has, or was given them
`- RunInUseError        3   another process writes to this run folder
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class ArmatureError(Exception):
    """Base of every error that Armature raises on purpose."""

    exit_status = 1


class ConfigError(ArmatureError):
    """A key of the configuration, or a flag, is wrong."""

    exit_status = 2


class UnknownNameError(ConfigError):
    """A name that the table of its kind does not hold."""

    def __init__(self, kind: str, name: object, known: Iterable[str], remedy: str = "") -> None:
        self.kind, self.name, self.known = kind, name, sorted(known)
        parts = [f"unknown {kind} {name!r}{closest(name, self.known) or '.'}"]
        if self.known:
            parts.append(f"Known: {', '.join(self.known)}.")
        super().__init__(" ".join([*parts, remedy]).strip())


class PluginError(ArmatureError):
    """A plugin, or a class named by its address, could not be loaded."""

    exit_status = 2


class RunError(ArmatureError):
    """A run folder, checkpoint or model file is missing, damaged or does not fit."""

    exit_status = 2


@dataclass(frozen=True)
class Fault:
    """What happened when an environment, or the process that it is in, died, hung or raised."""

    what: str
    """For people: which process it was and what became of it, with the traceback if there is one."""
    doing: str
    """What it was asked to do: step, reset, restore (to play an episode again), or the name of a question."""
    index: int
    """Number of the environment."""
    episode: int
    """Number of the episode under way; -1 before the first one."""
    actions: np.ndarray
    """Actions of that episode up to the one that was not survived, (n, *action_shape)."""

    @property
    def step(self) -> int:
        """Number of the step in the episode, counted from 1; 0 is the reset."""
        return len(self.actions)

    def __str__(self) -> str:
        """Return it all, without the earlier actions."""
        last = f", whose action was {self.actions[-1].tolist()}" if self.step else ""
        where = f"environment {self.index}, episode {self.episode}, step {self.step}{last}"
        return f"{self.what.rstrip()}\nThat was at {self.doing} of {where}."


class WorkerError(ArmatureError):
    """An environment, or the process that it is in, has failed, and to make it anew does not help.

    Args:
        message: what happened.
        fault: the facts, where they are known.
    """

    def __init__(self, message: str, fault: Fault | None = None) -> None:
        super().__init__(message)
        self.fault = fault


class DivergedError(ArmatureError):
    """Training has produced numbers that are not finite; what was saved before is as it was."""

    def __init__(self, what: str, steps: int) -> None:
        super().__init__(
            f"training has diverged: {what} at {steps:,} steps. Checkpoints from before are whole. Start again with a "
            "smaller learning_rate, normalise observations, or look for such numbers among observations and rewards."
        )


class NotFiniteError(DivergedError):
    """An environment has shown, or was given, numbers that are not finite.

    Args:
        what: which ones.
        value: the numbers.
        index: number of the environment.
        episode: number of its episode.
        step: number of the step in the episode, counted from 1; 0 is the reset.
    """

    def __init__(self, what: str, value: object, index: int, episode: int, step: int) -> None:
        self.index, self.episode, self.step = index, episode, step
        ArmatureError.__init__(
            self,
            f"{what} of environment {index} is not finite at step {step} of episode {episode}: {value}. Nothing was "
            "learned from it. Mend the environment, or give on_nan: skip to cut such episodes; an action like that "
            "comes of an algorithm that has diverged: try a smaller learning_rate.",
        )


class RunInUseError(ArmatureError):
    """Another live process is writing to the run folder."""

    exit_status = 3


def closest(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or an empty string."""
    matches = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
