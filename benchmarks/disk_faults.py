"""Disks that fill, that refuse, that lose a run's folder while it trains."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fault_trainings import NOBODY, arguments, begin, finish, over, undisturbed

from armature import train
from armature.checkpoints import checkpoints, newest
from armature.errors import RunError
from tests.disks import small_disk
from tests.outcomes import differences, outcome

LAST = 1300
"""Steps, of 1,600: at the first checkpoint after a moment before them something happens, while others are to come."""


def disks(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Fill the disk, make it read-only, or remove the run's folder while it trains; give it back or not.

    For root, who trains as nobody here: the packages must be where everybody can read them.
    """
    scratch.chmod(0o755)
    train.main([*arguments("fast_sac", 2, 0, scratch, "first"), "--steps=300"])  # forks can read no modules then
    rows = []
    for how, disturb, mend in (
        ("full", _fill, _empty),
        ("read-only", _read_only, _writable),
        ("deleted folder", _delete, _nothing),
    ):
        found = {"fault": how, "trials": 0, "crashed": 0, "no sound checkpoint": 0, "different": 0}
        try:
            for number in range(max(1, round(17 * scale))):
                with small_disk(scratch / f"disk-{how}-{number}", 24 << 20) as disk:
                    _disturb(disk, disturb, mend, draw, found)
        except PermissionError as error:
            print(f"  left out: {error}")
        rows.append(found)
        print(found, flush=True)
    return rows


def _disturb(
    disk: Path,
    disturb: Callable[[Path], None],
    mend: Callable[[Path], None],
    draw: random.Random,
    found: dict[str, Any],
) -> None:
    straight, seconds = undisturbed("fast_sac", 8, disk.parent)
    run, log = disk / "run", disk.parent / f"{disk.name}.log"
    log.touch(0o666)
    for path in (disk, log):
        os.chown(path, NOBODY, NOBODY)
    process = begin(arguments("fast_sac", 8, 0, disk, "run"), log, NOBODY)
    moment = draw.randrange(LAST)
    while _saved(run) <= moment and not over(process):
        time.sleep(0.005)
    time.sleep(draw.uniform(0, 0.05 * seconds))
    disturb(disk)
    time.sleep(draw.uniform(0, 0.3 * seconds))
    mend(disk)
    status = finish(process)
    found["trials"] += 1
    crashed = status not in (0, 1) or "Traceback" in log.read_text()
    found["crashed"] += crashed
    try:
        newest(run)
        # The newest checkpoint may be an older one: of a moment when the disk had room, which it has again at the end.
        found["different"] += status == 0 and "final/model.zip" in differences(straight, outcome(run))
    except RunError:
        found["no sound checkpoint"] += 1
        crashed = True
    if crashed:
        print(f"status {status}:\n{log.read_text()}")


def _saved(run: Path) -> int:
    """Return the steps of the newest checkpoint, 0 if there is none yet."""
    return max((int(folder.name) for folder in checkpoints(run)), default=0)


def _fill(disk: Path) -> None:
    try:
        with (disk / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        pass


def _empty(disk: Path) -> None:
    (disk / "filler").unlink()


def _read_only(disk: Path) -> None:
    _set_modes(disk, folders=0o555, files=0o444)


def _writable(disk: Path) -> None:
    _set_modes(disk, folders=0o755, files=0o644)


def _set_modes(disk: Path, folders: int, files: int) -> None:
    for folder, _, names in os.walk(disk):  # which passes over what vanishes meanwhile
        for path, mode in ((folder, folders), *((f"{folder}/{name}", files) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                os.chmod(path, mode)


def _delete(disk: Path) -> None:
    shutil.rmtree(disk / "run", ignore_errors=True)


def _nothing(disk: Path) -> None:
    pass
