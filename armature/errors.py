"""Errors that users see: each says what is wrong, what was given, what is allowed and what to do.

ArmatureError           exit status 1
|- ConfigError          2   a config key or flag is wrong
|  `- UnknownNameError  2   a name that is in no table: carries the closest match and the known names
|- PluginError          2   a plugin could not be loaded
|- RunError             2   a run folder or model cannot be used
|- WorkerError          1   the processes of environments keep dying
|- DivergedError        1   training has produced numbers that are not finite
`- RunInUseError        3   another process writes to this run folder
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


class WorkerError(ArmatureError):
    """The process of an environment has died, and replacing it does not help."""


class DivergedError(ArmatureError):
    """Training has produced numbers that are not finite; what was saved before is as it was."""

    def __init__(self, what: str, steps: int) -> None:
        super().__init__(
            f"training has diverged: {what} at {steps:,} steps. Checkpoints from before are whole. Start again with a "
            "smaller learning_rate, normalise observations, or look for such numbers among observations and rewards."
        )


class RunInUseError(ArmatureError):
    """Another live process is writing to the run folder."""

    exit_status = 3


def closest(name: object, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the nearest known name, or an empty string."""
    matches = difflib.get_close_matches(str(name).lower(), known, n=1, cutoff=0.6)
    return f"; did you mean {matches[0]!r}?" if matches else ""
