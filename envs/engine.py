"""PyBullet, imported without the line about its build that it prints."""

from __future__ import annotations

import importlib
import os


def _import_silently(module: str) -> None:
    """Import a module while the process's standard error, as C code sees it, leads nowhere."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        importlib.import_module(module)
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


_import_silently("pybullet")

import pybullet as p  # noqa: E402
import pybullet_data  # noqa: E402

__all__ = ["p", "pybullet_data"]
