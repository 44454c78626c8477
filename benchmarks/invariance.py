"""Whether weights depend on how environments are spread: whole trainings of reach, the same seed, eight environments.

    python benchmarks/invariance.py

Each algorithm is trained in one process, and in 1, 2, 4 and 8 workers. Every training is a process of
its own; what is compared is the SHA-256 of the final model's weights and of the evaluations.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import report
import torch

ENVS = 8
WORKERS = (0, 1, 2, 4, 8)


def train(algo: str, steps: int, workers: int, logdir: Path) -> dict[str, str]:
    """Train in a process of its own; return the hashes of what came of it."""
    name = f"{algo}_{workers}"
    flags = {"algo": algo, "steps": steps, "num_envs": ENVS, "num_workers": workers, "eval_freq": steps // 2}
    command = [sys.executable, str(report.ROOT / "train.py"), *(f"--{key}={value}" for key, value in flags.items())]
    subprocess.run([*command, f"--logdir={logdir}", f"--run_name={name}"], check=True, stdout=subprocess.DEVNULL)
    return {"weights": hash_of_weights(logdir / name / "final"), "evaluations": hash_of_table(logdir / name)}


def hash_of_weights(model: Path) -> str:
    """Return the SHA-256 of all tensors of a saved policy."""
    with zipfile.ZipFile(model / "model.zip") as archive:
        tensors = torch.load(io.BytesIO(archive.read("policy.pth")), weights_only=True)
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode() + tensor.numpy().tobytes())
    return digest.hexdigest()


def hash_of_table(run: Path) -> str:
    """Return the SHA-256 of a run's evaluations, without the seconds they took."""
    with (run / "evaluations.csv").open(newline="") as file:
        rows = [{key: value for key, value in row.items() if key != "time_s"} for row in csv.DictReader(file)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def main() -> None:
    """Train, compare, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--algos", nargs="+", default=["ppo", "sac", "fast_sac"])
    parser.add_argument("--steps", type=int, default=50_000)
    args = parser.parse_args()
    figures: dict[str, Any] = {"steps": args.steps, "num_envs": ENVS, "algorithms": {}}
    with tempfile.TemporaryDirectory() as folder:
        for algo in args.algos:
            found = {f"{count} workers": train(algo, args.steps, count, Path(folder)) for count in WORKERS}
            same = len({json.dumps(hashes) for hashes in found.values()}) == 1
            figures["algorithms"][algo] = {"identical": same, **found}
            print(f"{algo}: {'identical' if same else 'DIFFERENT'} in {len(found)} ways")
    report.write("invariance", figures)
    if not all(row["identical"] for row in figures["algorithms"].values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
