"""What runs in a worker process: a group of environments, at the word of the trainer."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import forkserver
from socket import socket

from armature.channel import Channel
from armature.env_group import OF_EPISODES, EnvGroup, Maker
from armature.shared_arrays import SharedArrays

STEP, ASK = b"s", b"a"
"""What the trainer says: take a step with the actions in shared memory; a question comes."""
DONE, MORE, FAILED, REFUSED = b".", b"+", b"!", b"?"
"""What a worker answers: everything is in shared memory; an answer comes; the text of a fault comes, and the process
ends; so does the text of an error that only the question is to blame for."""

SPIN_S = 2e-4
"""About what a trainer needs between two steps when it does not learn."""
_PR_SET_PDEATHSIG = 1


def main(first: int, makers: Sequence[Maker], sock: socket) -> None:
    """Make the environments and serve until the trainer is gone; a fault is told, and ends the process."""
    _end_with_the_parent()
    # Ctrl-C reaches the whole process group; the trainer decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    channel, envs = Channel(sock), []
    try:
        envs += [maker() for maker in makers]
        spaces = envs[0].observation_space, envs[0].action_space
        channel.send(MORE, spaces)
        num_envs = channel.receive()
        _serve(EnvGroup(first, envs, SharedArrays(num_envs, *spaces, channel.receive_handle())), channel)
    except (BrokenPipeError, ConnectionResetError, EOFError):  # the trainer is gone
        pass
    except BaseException:  # whatever it was, the trainer shall hear of it
        with suppress(OSError):  # unless it is gone
            channel.send(FAILED, traceback.format_exc())
        raise SystemExit(1) from None
    finally:
        for env in envs:
            env.close()


def _serve(group: EnvGroup, channel: Channel) -> None:
    while word := _next_word(channel):
        if word == STEP:
            more = group.step()
            group.rest()
            if more:
                channel.send(MORE, more)
            else:
                channel.say(DONE)
            continue
        method, *arguments = channel.receive()
        try:
            answer = getattr(group, method)(*arguments)
        except Exception as error:
            if method in OF_EPISODES:
                raise
            group.rest()
            channel.send(REFUSED, (isinstance(error, AttributeError), traceback.format_exc()))
        else:
            group.rest()
            channel.send(MORE, answer)


def _next_word(channel: Channel) -> bytes:
    """Return the trainer's next word; look out for it a moment before falling asleep, which takes long to wake from."""
    until = time.monotonic() + SPIN_S
    while time.monotonic() < until:
        with suppress(BlockingIOError):
            return channel.hear(wait=False)
        os.sched_yield()  # whoever else wants this core goes first, above all the trainer
    return channel.hear()


def _end_with_the_parent() -> None:
    """Ask the system to kill this process when its parent has ended, which is the fork server of the trainer's.

    That one ends when nobody holds the pipe any more that tells it of the trainer's life, and hands every process that
    it starts an end of it. A worker that waits for a word notices by itself; this is for one that an environment holds.
    """
    alive = forkserver._forkserver._forkserver_alive_fd  # type: ignore[attr-defined]
    if alive is not None:
        os.close(alive)
        forkserver._forkserver._forkserver_alive_fd = None  # type: ignore[attr-defined]
    if sys.platform == "linux":
        parent = os.getppid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was too late
            raise SystemExit(1)
