"""Words and objects between the trainer and a worker process, on one socket."""

from __future__ import annotations

import socket
from multiprocessing.reduction import ForkingPickler
from typing import Any

_LENGTH = 8
"""Bytes that tell how long an object is."""

_MOST = 1 << 16
"""Bytes that are taken from the system at once."""


class Channel:
    """One end of a connection to a process that this program has started; both ends trust each other.

    Its methods raise `EOFError` or `OSError` when the other end is gone, and `TimeoutError`, which is an `OSError`,
    when the other end is silent in the middle of something.

    Args:
        sock: one of a pair of stream sockets.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._came = b""  # and has not been asked for

    def say(self, word: bytes) -> None:
        """Send one byte."""
        self.sock.sendall(word)

    def send(self, word: bytes, content: Any) -> None:
        """Send one byte and an object."""
        data = ForkingPickler.dumps(content)  # in whole, before anything is sent: it may fail
        self.sock.sendall(b"".join((word, len(data).to_bytes(_LENGTH, "big"), data)))

    def hear(self, wait: bool = True) -> bytes:
        """Return the next byte; it is empty when the other end is gone. Without `wait` it must have come."""
        came = self._came or self.sock.recv(_MOST, 0 if wait else socket.MSG_DONTWAIT)
        self._came = came[1:]
        return came[:1]

    def receive(self) -> Any:
        """Return the object that came with the byte."""
        return ForkingPickler.loads(self._read(int.from_bytes(self._read(_LENGTH), "big")))

    def send_handle(self, handle: int) -> None:
        """Send a file descriptor."""
        socket.send_fds(self.sock, [b"h"], [handle])

    def receive_handle(self) -> int:
        """Return a file descriptor."""
        _, handles, _, _ = socket.recv_fds(self.sock, 1, 1)
        if not handles:
            raise EOFError
        return handles[0]

    def close(self) -> None:
        """Close this end."""
        self.sock.close()

    def _read(self, size: int) -> bytearray:
        data = bytearray(size)
        came = self._came[:size]
        data[: len(came)] = came
        self._came = self._came[size:]
        rest = memoryview(data)[len(came) :]
        while rest:
            read = self.sock.recv_into(rest)
            if not read:
                raise EOFError
            rest = rest[read:]
        return data
