"""Whether there is a display to open a window on."""

from __future__ import annotations

import os
import subprocess
import sys

from armature.errors import ArmatureError


def check_display() -> None:
    """Raise `ArmatureError` unless a window can be opened: without a display PyBullet ends the whole process.

    The answer is found by a child process that opens a window and closes it, since nothing else tells for sure.
    """
    remedy = "Run without --gui (record a video instead with --record FILE.mp4), or under a virtual display (xvfb-run)."
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise ArmatureError(f"cannot open a window: the environment variable DISPLAY is not set. {remedy}")
    probe = "import pybullet as p; p.disconnect(p.connect(p.GUI))"
    try:
        subprocess.run([sys.executable, "-c", probe], capture_output=True, timeout=60, check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        display = os.environ.get("DISPLAY", "")
        raise ArmatureError(f"cannot open a window on display {display!r}. {remedy}") from None
