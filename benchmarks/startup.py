"""How fast the command line answers: wall clock of whole processes, best and median of five.

python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time

import report

QUESTIONS = {
    "--help": ["--help"],
    "--list-algos": ["--list-algos"],
    "an unknown key": ["--algoritm=ppo"],
    "--dry-run": ["--dry-run"],
}


def seconds(flags: list[str]) -> float:
    """Return how long a process of train.py takes."""
    started = time.monotonic()
    subprocess.run([sys.executable, str(report.ROOT / "train.py"), *flags], capture_output=True, check=False)
    return time.monotonic() - started


def first_step() -> float:
    """Return the seconds from the start of a process to the line that reports its first training steps."""
    flags = ["--steps=160", "--eval_freq=0", "--checkpoint_freq=0"]
    with tempfile.TemporaryDirectory() as logdir:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, str(report.ROOT / "train.py"), *flags, f"--logdir={logdir}"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        assert process.stderr is not None
        for line in process.stderr:
            if "of 160 steps" in line:
                break
        elapsed = time.monotonic() - started
        process.communicate()
    return elapsed


def main() -> None:
    """Measure, print and write."""
    rows = {}
    for name, measure in {
        **{name: lambda f=flags: seconds(f) for name, flags in QUESTIONS.items()},
        "first step": first_step,
    }.items():
        times = [measure() for _ in range(5)]
        rows[name] = {"best_s": round(min(times), 3), "median_s": round(statistics.median(times), 3)}
        print(f"{name:>16}  best {min(times):.2f} s, median {statistics.median(times):.2f} s")
    report.write("startup", rows)


if __name__ == "__main__":
    main()
