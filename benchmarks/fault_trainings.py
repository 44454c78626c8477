"""Short trainings as forks of this process, which has imported everything; signals that cut them at random times."""

from __future__ import annotations

import functools
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import report

sys.path.insert(0, str(report.ROOT))

import armature.envs
import armature.myalgos  # noqa: F401 - forks need not import it again
from armature import train
from tests.outcomes import differences, outcome

OFF = ["--algo_kwargs.buffer_size=1200", "--algo_kwargs.learning_starts=200", "--algo_kwargs.gradient_steps=1"]
ALGOS: dict[str, list[str]] = {
    "ppo": ["--algo_kwargs.n_steps=32", "--algo_kwargs.batch_size=64", "--steps=2048"],
    "a2c": ["--steps=2048"],
    "sac": [*OFF, "--steps=1600"],
    "td3": [*OFF, "--steps=1600"],
    "tqc+her": [*OFF, "--replay_buffer=her", "--reward=sparse", "--steps=1600"],
    "ppo_lstm": ["--algo_kwargs.n_steps=32", "--algo_kwargs.batch_size=64", "--steps=1024"],
    "myalgo": [*OFF, "--steps=1600"],
    "fast_sac": [*OFF, "--steps=1600"],
}
"""Short trainings of reaching: a few seconds each, with every kind of state that a run can have."""
COMMON = [
    *("--eval_freq=400", "--eval_episodes=2", "--final_eval_episodes=2", "--log_freq=200", "--checkpoint_freq=100"),
    *("--tensorboard=false", "--policy_kwargs.net_arch=[32,32]"),
]


NOBODY = 65534
"""A user that may not write where that is forbidden; root may."""


def begin(argv: list[str], log: Path, user: int | None = None) -> int:
    """Begin `train.py` with these arguments in a fork of this process; return its number."""
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        if user is not None:
            os.setuid(user)
        with log.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        status = train.main(argv)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def finish(process: int) -> int:
    """Wait for a training; return its exit status, negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def over(process: int) -> bool:
    """Return whether a training has ended, without taking note of it."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def arguments(algo: str, envs: int, workers: int, logdir: Path, name: str) -> list[str]:
    """Return the command line of a short training."""
    keys = [f"--algo={algo.partition('+')[0]}", f"--num_envs={envs}", f"--num_workers={workers}"]
    return [*keys, *ALGOS[algo], *COMMON, f"--logdir={logdir}", f"--run_name={name}"]


def plain(algo: str) -> str:
    """Return the name of an algorithm as it can stand in the name of a run."""
    return algo.replace("+", "-")


def resumed(run: Path, argv: list[str]) -> list[str]:
    """Return the command line that goes on with a run, or begins it if there is none yet."""
    return [f"--resume={run}"] if (run / "config.json").is_file() else argv


@functools.cache
def undisturbed(algo: str, envs: int, logdir: Path) -> tuple[dict[str, str], float]:
    """Return what a training ends with, and the seconds that it takes, when nothing happens to it."""
    name, started = f"{plain(algo)}-{envs}-straight", time.monotonic()
    status = finish(begin(arguments(algo, envs, 0, logdir, name), logdir / f"{name}.log"))
    if status:
        raise SystemExit(f"{algo} fails by itself:\n{(logdir / f'{name}.log').read_text()}")
    return outcome(logdir / name), time.monotonic() - started


def leftovers(run: Path) -> set[str]:
    """Return the names of checkpoints that are being made, or were when their process was killed."""
    return {path.name for path in (run / "checkpoints").glob(".*.*")}


class Log:
    """What a training prints from now on."""

    def __init__(self, file: Path) -> None:
        file.touch()
        self.file, self._begins = file, file.stat().st_size

    def tells_of_steps(self) -> bool:
        """Return whether it trains, or has."""
        with self.file.open("rb") as file:
            file.seek(self._begins)
            return b" steps/s" in file.read()


STARTS = 0.1
"""Share of the cuts that may come before a training has begun, or gone on."""


def wait(process: int, run: Path, log: Log, draw: random.Random, saving_share: float, longest: float) -> None:
    """Wait until it trains, most often; then for a random time; then perhaps until it is writing a checkpoint."""
    anywhere = draw.random() < STARTS
    while not anywhere and not over(process) and not log.tells_of_steps():
        time.sleep(0.01)
    end = time.monotonic() + draw.uniform(0.0, longest)
    while time.monotonic() < end and not over(process):
        time.sleep(0.002)
    if draw.random() < saving_share:
        before = leftovers(run)
        while not over(process) and leftovers(run) <= before:
            time.sleep(0.0003)
        time.sleep(draw.uniform(0, 0.02))


def cut_again_and_again(
    algo: str,
    envs: int,
    workers: int,
    cuts: int,
    logdir: Path,
    draw: random.Random,
    numbers: Sequence[int] = (signal.SIGKILL,),
    saving_share: float = 0.0,
) -> dict[str, Any]:
    """Send signals to trainings until so many are sent, resume them until they end; count what came of it."""
    straight, seconds = undisturbed(algo, envs, logdir)
    found: dict[str, Any] = {"cuts": 0, "in training": 0, "while saving": 0, "runs": 0}
    found |= {"unreadable": 0, "different": 0, "diverged": 0}
    slowest = 0.0
    while found["cuts"] < cuts:
        name = f"{plain(algo)}-{envs}-{workers}-{found['runs']}"
        run, log = logdir / name, logdir / f"{name}.log"
        argv, cut = arguments(algo, envs, workers, logdir, name), True
        while cut:
            before, printed = leftovers(run), Log(log)
            process, number, sent = begin(resumed(run, argv), log), draw.choice(numbers), time.monotonic()
            if found["cuts"] < cuts:
                wait(process, run, printed, draw, saving_share, 0.3 * seconds)
                os.kill(process, number)
                sent = time.monotonic()
            status = finish(process)
            if cut := status in (-number, 128 + number):
                slowest = max(slowest, time.monotonic() - sent)
                found["cuts"] += 1
                found["in training"] += printed.tells_of_steps()
                found["while saving"] += not leftovers(run) <= before
                if (run / "summary.json").is_file():  # it was done but for its last words
                    cut, status = False, 0
        changed = [] if status else differences(straight, outcome(run))
        found["runs"] += 1
        found["unreadable"] += status != 0
        found["different"] += bool(changed)
        found["diverged"] += "resume: diverged" in log.read_text()
        if status or changed:
            print(f"  {name}: status {status}, {changed}, see {log}")
        else:
            shutil.rmtree(run)
    return {**found, "slowest end (s)": round(slowest, 2)}
