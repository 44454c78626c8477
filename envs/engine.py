"""PyBullet, imported without the line about its build that it prints on standard output."""

from __future__ import annotations

import ctypes
import os


def _without_output(module: str) -> None:
    """Import a module while the process's standard output, C's included, leads nowhere."""
    flush = ctypes.CDLL(None).fflush if os.name == "posix" else lambda _: None
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    flush(None)
    os.dup2(nowhere, 1)
    try:
        __import__(module)
        flush(None)  # C keeps what it printed until later, unless told
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


_without_output("pybullet")

import pybullet as p  # noqa: E402
import pybullet_data  # noqa: E402

__all__ = ["p", "pybullet_data"]
