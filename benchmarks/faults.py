"""What runs survive: kills, damage, full disks, hangs, hostile files; writes a table.

    python benchmarks/faults.py                  # the long form: two hours and more
    python benchmarks/faults.py --short          # some of everything, in two minutes
    python benchmarks/faults.py --only kills workers

Every trial compares what a run ends with, by SHA-256 of weights, moments, replay buffer, statistics and tables, with
what the same run ends with when nothing happens to it. Trainings are forks of this process, which has imported
everything.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # forks must find no threads

import argparse
import contextlib
import json
import logging
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import report
import torch
from disk_faults import disks
from fault_trainings import begin, cut_again_and_again, finish, over, undisturbed
from worker_faults import campaign

from armature import train
from armature.callbacks.saving import CheckpointCallback
from armature.checkpoints import checkpoints, newest, verify
from armature.errors import ArmatureError, RunError
from armature.plugins import load_plugins
from armature.runs import CsvTable
from tests.disks import damages
from tests.hostile import Goods, artefacts


def resume(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Cut every algorithm at random, with 1 and 8 environments, in this process and in workers."""
    rows = []
    for algo in ("ppo", "a2c", "sac", "td3", "tqc+her", "ppo_lstm", "myalgo"):
        for envs in (1, 8):
            for workers in (0, 2):
                found = cut_again_and_again(algo, envs, workers, max(2, round(20 * scale)), scratch, draw)
                rows.append({"algo": algo, "environments": envs, "workers": workers, **found})
                print(rows[-1], flush=True)
    return rows


def kills(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Kill main processes, more than a third of them while they save."""
    rows = []
    for algo in ("fast_sac", "ppo"):
        found = cut_again_and_again(algo, 8, 0, max(3, round(150 * scale)), scratch, draw, saving_share=0.75)
        rows.append({"algo": algo, **found})
        print(rows[-1], flush=True)
    return rows


def signals(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Send the signals that save at random times; what is resumed must end the same."""
    numbers, rows = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1), []
    for algo, workers in (("ppo", 0), ("ppo", 2), ("fast_sac", 0), ("fast_sac", 2)):
        found = cut_again_and_again(algo, 8, workers, max(2, round(50 * scale)), scratch, draw, numbers)
        rows.append({"algo": algo, "workers": workers, **found})
        print(rows[-1], flush=True)
    return rows


# ---------------------------------------------------------------------------------------------- workers


def workers(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Kill workers, stop them so that they hang, let environments raise; compare with a run without faults."""
    rows = []
    for how, count in (("kill", 100), ("hang", 30), ("raise", 30)):
        rows.append(campaign(how, max(2, round(count * scale))))
        print(rows[-1], flush=True)
    return rows


def workers_of(process: psutil.Process) -> list[psutil.Process]:
    """Return the worker processes below a process: those that a fork server has begun."""
    return [child for server in process.children() for child in server.children()]


# ---------------------------------------------------------------------------------------------- files


def files(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Cut and flip the files of the newest checkpoint: each damage must be found and the older one taken."""
    undisturbed("tqc+her", 8, scratch)
    run = scratch / "tqc-her-8-straight"
    folder, older = checkpoints(run)[-1], checkpoints(run)[-2]
    cuts, flips, silent, lost = round(500 * scale), round(5000 * scale), 0, 0
    logging.disable(logging.WARNING)
    for number, _ in enumerate(damages(folder, draw, cuts, flips)):
        try:
            verify(folder)
            silent += 1
        except RunError:
            pass
        if number % 25 == 0:
            lost += newest(run) != older
    logging.disable(logging.NOTSET)
    rows = [{"cuts": cuts, "flips": flips, "not found": silent, "older one not taken": lost}]
    print(rows[-1], flush=True)
    return rows


# ---------------------------------------------------------------------------------------------- hostile files


def hostile(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Read files of somebody who means harm: each is refused with one message, none of what it brings along is run."""
    warnings.simplefilter("ignore")  # zipfile has something to say of doubled names
    (scratch / "canary_module.py").write_text(f"import os\nos.mkdir({str(scratch / 'canary')!r})\n")
    sys.path.insert(0, str(scratch))
    goods = Goods(scratch, scratch / "canary")
    unpickled: list[Any] = []
    sys.addaudithook(lambda name, details: unpickled.append(details) if name == "pickle.find_class" else None)
    files = list(artefacts(goods).values())
    read, faults, slowest = 0, 0, 0.0
    for number, artefact in enumerate(draw.sample(files, max(10, round(len(files) * scale)))):
        path = artefact.write(scratch / str(number))
        unpickled.clear()
        started = time.monotonic()
        try:
            goods.read(artefact.reader, path)
            read += not artefact.harmless
        except ArmatureError:
            pass
        except Exception:
            traceback.print_exc()
            faults += 1
        slowest = max(slowest, time.monotonic() - started)
        faults += bool(unpickled) or goods.canary.exists()
    row = {"artefacts": number + 1, "read": read, "canaries, unpickled, no clear message": faults}
    rows = [{**row, "slowest (s)": round(slowest, 2)}]
    print(rows[-1], flush=True)
    return rows


# ---------------------------------------------------------------------------------------------- cost


def cost(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Time the checkpoints of whole trainings at the interval that is the default."""
    rows = []
    for name, keys in {
        "push.json, fast_sac": ["--config=push.json", f"--steps={round(60_000 * scale)}", "--checkpoint_freq=10000"],
        "reach.json, ppo": ["--config=reach.json", "--algo=ppo", f"--steps={round(60_000 * scale)}"],
    }.items():
        argv = [
            *keys,
            "--eval_freq=0",
            "--final_eval_episodes=1",
            f"--logdir={scratch}",
            f"--run_name=cost-{len(rows)}",
        ]
        stalls: list[float] = []
        original = CheckpointCallback.save

        def timed(callback: CheckpointCallback, original: Any = original, stalls: list[float] = stalls) -> Path:
            started = time.monotonic()
            try:
                return original(callback)
            finally:
                stalls.append(time.monotonic() - started)

        CheckpointCallback.save = timed  # type: ignore[method-assign]
        started = time.monotonic()
        train.main(argv)
        taken = time.monotonic() - started
        CheckpointCallback.save = original  # type: ignore[method-assign]
        rows.append(
            {
                "training": name,
                "checkpoints": len(stalls),
                "share of wall time": round(sum(stalls) / taken, 4),
                "longest stall (s)": round(max(stalls), 3),
            }
        )
        print(rows[-1], flush=True)
    return rows


# ---------------------------------------------------------------------------------------------- soak


def soak(scale: float, scratch: Path, draw: random.Random) -> list[dict[str, Any]]:
    """Train for an hour in workers, of which one is killed or stopped every few seconds; watch memory and files."""
    seconds = 3600 * scale
    argv = [
        *("--algo=fast_sac", "--num_envs=8", "--num_workers=2", "--worker_timeout=5", "--worker_restarts=100000"),
        *("--algo_kwargs.buffer_size=20000", "--eval_freq=5000", "--eval_episodes=10"),
        *("--steps=10000000", f"--logdir={scratch}", "--tensorboard=false", "--checkpoint_freq=2000"),
    ]
    process, run = begin([*argv, "--run_name=soak"], scratch / "soak.log"), scratch / "soak"
    watched, begun, faults, episodes, seen = psutil.Process(process), time.monotonic(), 0, 0, []
    while time.monotonic() - begun < seconds and not over(process):
        time.sleep(draw.uniform(2, 8))
        victims, done = workers_of(watched), _size(run / "monitor.csv")
        if victims and done > episodes:  # it has got on: the same step twice would be no accident
            with contextlib.suppress(psutil.NoSuchProcess):
                draw.choice(victims).send_signal(draw.choice([signal.SIGKILL, signal.SIGSTOP]))
            faults, episodes = faults + 1, done
        seen.append((time.monotonic() - begun, watched.memory_info().rss / 2**20, watched.num_fds()))
    os.kill(process, signal.SIGTERM)
    status = finish(process)
    times, memory, handles = np.array(seen).T
    late = times > times[-1] / 4  # when buffers are full
    slope = np.polyfit(times[late] / 3600, memory[late], 1)[0]
    # The first of these steps once more, with nothing happening.
    steps = int(newest(run).name)
    compared = min(steps, 60_000)
    calm = finish(begin([*argv, "--run_name=calm", "--num_workers=0", f"--steps={compared}"], scratch / "calm.log"))
    equal = all(
        _rows_until(run / name, compared - 1000) == _rows_until(scratch / "calm" / name, compared - 1000)
        for name in ("monitor.csv", "metrics.csv")
    )
    rows = [
        {
            "seconds": round(times[-1]),
            "faults": faults,
            "steps": steps,
            "status": status,
            "memory (MB an hour)": round(float(slope), 2),
            "file handles, first and last": [int(handles[0]), int(handles[-1])],
            "steps compared": compared,
            "different": not (equal and calm == 0),
        }
    ]
    print(rows[-1], flush=True)
    return rows


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def _rows_until(table: Path, steps: int) -> list[dict[str, str]]:
    rows = [row for row in CsvTable(table).rows() if int(row["steps"]) <= steps]
    return [{key: value for key, value in row.items() if "time" not in key} for row in rows]


SECTIONS = {part.__name__: part for part in (resume, kills, signals, workers, files, hostile, disks, cost, soak)}


def main() -> None:
    """Do the campaign, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="a fiftieth of it")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    load_plugins()
    results = report.RESULTS / "faults.json"
    failed = []
    for name in args.only:
        with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
            print(f"--- {name}", flush=True)
            started = time.monotonic()
            rows = SECTIONS[name](0.02 if args.short else 1.0, Path(scratch), random.Random(args.seed))
            seconds = round(time.monotonic() - started)
        failed += [f"{name}: {row}" for row in rows if any(row.get(key) for key in BAD)]
        if not args.short:  # sections may run beside one another, each in a process of its own
            figures = json.loads(results.read_text())["figures"] if results.is_file() else {}
            report.write("faults", {**figures, name: {"rows": rows, "seconds": seconds}})
    if failed:
        raise SystemExit("\n".join(["not survived:", *failed]))


BAD = (
    *("unreadable", "different", "diverged", "steps different", "not found", "older one not taken", "crashed"),
    *("no sound checkpoint", "read", "canaries, unpickled, no clear message"),
)
"""What must be 0."""

if __name__ == "__main__":
    main()
