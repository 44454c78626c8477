"""Gives memory back that holds nothing but zeros.

Of the 30 MB that an empty PyBullet world writes to, 19 are zeros. Linux reads a private page that it was given back as
zeros again, so nobody can tell, and an environment takes half the memory.
"""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_MAPS = Path("/proc/self/maps")
_WITHOUT_A_FILE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ 00:00 0\s*(?:\[heap\])?$", re.MULTILINE)
_DONT_NEED = 4
"""Linux's MADV_DONTNEED."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's M_TRIM_THRESHOLD: more than so many free bytes at the heap's end are returned to the system. And its
M_MMAP_THRESHOLD: blocks from this size on are taken from the system one by one."""
_FIRST, _LAST = 1 << 17, 1 << 25
"""Bytes of the latter at first, and the most that glibc ever raises it to; the former is twice as large then."""
_SMALLEST = 1 << 18
"""Bytes of the smallest block worth looking at."""
Block = tuple[int, int]


@contextmanager
def zeros_given_back() -> Iterator[None]:
    """Give back, of the memory that the body of the context gets from the system, what is zero at its end.

    Nothing but that body may write to this memory: it is for constructors in C. Does nothing on other systems.
    """
    if not _MAPS.exists():
        yield
        return
    with _large_blocks_apart():
        before = _mapped()
        yield
    for start, stop in _added(before, _mapped()):
        if stop - start >= _SMALLEST:
            _give_back(start, stop)


@contextmanager
def _large_blocks_apart() -> Iterator[None]:
    """Let glibc take large blocks from the system, rather than fill the gaps that others left.

    Afterwards it keeps what it has, as it would by itself after a while (mallopt(3)). A threshold that
    was set stays where it is: learning would take each of its arrays from the system, page by page, in twice the time.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(_MMAP_THRESHOLD, _FIRST)
    try:
        yield
    finally:
        libc.mallopt(_MMAP_THRESHOLD, _LAST)
        libc.mallopt(_TRIM_THRESHOLD, 2 * _LAST)


def _mapped() -> list[Block]:
    return [(int(start, 16), int(stop, 16)) for start, stop in _WITHOUT_A_FILE.findall(_MAPS.read_text())]


def _added(before: list[Block], after: list[Block]) -> Iterator[Block]:
    """Return what blocks of memory, in order of addresses, there are now and were not before."""
    for start, stop in after:
        for known, end in before:
            if end > start and known < stop:
                if start < known:
                    yield start, known
                start = end
        if start < stop:
            yield start, stop


def _give_back(start: int, stop: int) -> None:
    size = mmap.PAGESIZE
    block = memoryview((ctypes.c_ubyte * (stop - start)).from_address(start))
    pages = np.frombuffer(block, np.uint64).reshape(-1, size // 8)
    edges = np.flatnonzero(np.diff(~pages.any(axis=1), prepend=False, append=False))
    madvise = ctypes.CDLL(None).madvise
    for first, last in edges.reshape(-1, 2).tolist():
        madvise(ctypes.c_void_p(start + first * size), ctypes.c_size_t((last - first) * size), _DONT_NEED)
