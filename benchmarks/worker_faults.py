"""Workers that are killed, hang or raise at random instants; a part of faults.py.

Pushing, random actions, in worker processes. A thread kills workers (SIGKILL) or stops them for ever (SIGSTOP), often
two at once, whatever they are at; an environment raises when it finds a file. Then as many steps are taken without
faults, and all observations, rewards, flags and infos are compared.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import random
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from armature.config import Config
from armature.shm_vec_env import ShmVecEnv
from armature.vec import make_env

ENVS, WORKERS, TIMEOUT_S = 6, 3, 1.0


class Raising(gymnasium.Wrapper):
    """Raises in a step that finds a file in a folder, and takes it away."""

    def __init__(self, env: gymnasium.Env[Any, Any], folder: str) -> None:
        super().__init__(env)
        self.folder = folder

    def step(self, action: np.ndarray) -> Any:
        """Step, or raise."""
        for name in os.listdir(self.folder):
            with suppress(FileNotFoundError):  # somebody else was faster
                os.unlink(os.path.join(self.folder, name))
                raise RuntimeError("an accident")
        return self.env.step(action)


def make(folder: str, index: int) -> Any:
    """Return pushing."""
    import armature.envs  # noqa: F401 - registers its ids, in a worker

    return Raising(make_env(Config(task_type="push"), "train", index), folder)


class Notices(logging.Handler):
    """Remembers when faults were noticed."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Remember one."""
        self.times.append(time.monotonic())


class Trouble(threading.Thread):
    """Does harm at random instants.

    Args:
        env: whose workers it does harm to.
        count: how many times.
        how: kill, hang or raise.
        folder: where a file makes an environment raise.
    """

    def __init__(self, env: ShmVecEnv, count: int, how: str, folder: str) -> None:
        super().__init__(daemon=True)
        self.env, self.count, self.how, self.folder = env, count, how, folder
        self.done: list[float] = []
        self.steps = 0
        """How many steps have been taken."""

    def run(self) -> None:
        """Do it, each time after a few steps."""
        draw, following = random.Random(0), 1
        while len(self.done) < self.count:
            while self.steps < following:
                time.sleep(0.001)
            following = self.steps + draw.randrange(1, 8)
            time.sleep(draw.uniform(0, 0.01))
            for worker in draw.sample(self.env._workers, min(draw.choice((1, 1, 2)), self.count - len(self.done))):
                if worker.process.pid is not None:  # it is between two lives
                    self.harm(worker.process.pid)

    def harm(self, process: int) -> None:
        """Do harm to a process."""
        if self.how == "raise":
            Path(self.folder, str(len(self.done))).touch()
        else:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL if self.how == "kill" else signal.SIGSTOP)
        self.done.append(time.monotonic())


def seen(env: ShmVecEnv, goes_on: Callable[[int], bool]) -> tuple[int, str]:
    """Return how many steps were taken, and a hash of all that was seen of them."""
    found = hashlib.sha256(env.reset().tobytes())
    rng, steps = np.random.default_rng(0), 0
    while goes_on(steps):
        observation, rewards, dones, infos = env.step(rng.uniform(-1, 1, (ENVS, 3)).astype(np.float32))
        for part in (observation, rewards, dones):
            found.update(part.tobytes())
        found.update(repr(infos).encode())
        steps += 1
    return steps, found.hexdigest()


def campaign(how: str, count: int) -> dict[str, Any]:
    """Return what came of a number of faults; `how` is kill, hang or raise."""
    notices = Notices()
    log = logging.getLogger("armature.restarts")
    log.addHandler(notices)
    log.propagate = False
    with tempfile.TemporaryDirectory() as folder:
        makers: list[Any] = [functools.partial(make, folder, index) for index in range(ENVS)]
        with closing(ShmVecEnv(makers, WORKERS, timeout=TIMEOUT_S, restarts=10**6)) as env:
            trouble = Trouble(env, count, how, folder)
            trouble.start()

            def goes_on(steps: int) -> bool:
                trouble.steps = steps
                return trouble.is_alive() or steps % 100 > 0

            steps, disturbed = seen(env, goes_on)
        with closing(ShmVecEnv(makers, WORKERS, restarts=0)) as env:
            _, undisturbed = seen(env, lambda step: step < steps)
    log.removeHandler(notices)
    waits = [min((seen - at for seen in notices.times if seen > at), default=0.0) for at in trouble.done]
    return {
        "fault": how,
        "faults": len(trouble.done),
        "replaced": len(notices.times),
        "steps": steps,
        "different": disturbed != undisturbed,
        "noticed after (s), median": round(statistics.median(waits), 3),
        "longest": round(max(waits), 3),
        "deadline (s)": TIMEOUT_S if how == "hang" else None,
    }
