"""Disks that are full, and damage of what was on them; benchmarks use it too."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Let every write of this process beyond `size` bytes of a file fail, part of it written, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextlib.contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """Mount an empty file system of `size` bytes on a folder; raise `PermissionError` where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise PermissionError("no file system can be mounted here") from error
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def damages(folder: Path, draw: random.Random, cuts: int, flips: int) -> Iterator[str]:
    """Damage one file of a folder in a way of its own, again and again; say how, and put it right before the next.

    Args:
        folder: a folder of files.
        draw: chooses places.
        cuts: files cut short, each file first to nothing.
        flips: single bits turned over, in files by their size and in small ones too.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    sizes = [path.stat().st_size for path in files]
    for number in range(cuts):
        place = number % len(files)
        length = 0 if number < len(files) else draw.randrange(sizes[place])
        with _changed(files[place]) as handle:
            os.ftruncate(handle, length)
            yield f"{files[place].relative_to(folder)} cut to {length} of {sizes[place]} bytes"
    for number in range(flips):
        place = draw.choices(range(len(files)), sizes)[0] if number % 2 else draw.randrange(len(files))
        position, bit = draw.randrange(sizes[place]), draw.randrange(8)
        with _changed(files[place]) as handle:
            byte = os.pread(handle, 1, position)[0]
            os.pwrite(handle, bytes([byte ^ 1 << bit]), position)
            yield f"{files[place].relative_to(folder)} with bit {bit} of byte {position} turned over"


@contextlib.contextmanager
def _changed(path: Path) -> Iterator[int]:
    """Open a file to damage it, and give it its content back at the end."""
    content = path.read_bytes()
    handle = os.open(path, os.O_RDWR)
    try:
        yield handle
    finally:
        os.close(handle)
        path.write_bytes(content)
