"""What a run ends with, so that two runs can be compared bit for bit; benchmarks use it too."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from armature.checkpoints import checkpoints
from armature.runs import CsvTable

TABLES = ("metrics.csv", "monitor.csv", "evaluations.csv", "witness.csv")


def outcome(run: Path) -> dict[str, str]:
    """Return a hash of everything that a run folder holds, by name, but for times and the folder's own name.

    These are its tables, its summary, the newest checkpoint, the best and the final model, as far as they are there.
    """
    found = {name: _hash(_timeless(run / name)) for name in TABLES if (run / name).is_file()}
    if (run / "summary.json").is_file():
        found["summary.json"] = _hash(_without_times(json.loads((run / "summary.json").read_text())))
    for label, folder in {"newest": checkpoints(run)[-1], "best": run / "best", "final": run / "final"}.items():
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and path.name != "manifest.json":
                found[f"{label}/{path.relative_to(folder).as_posix()}"] = _content(path)
    return found


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    """Return the names of what is not the same in two outcomes."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def _content(path: Path) -> str:
    if path.suffix == ".json":
        return _hash(_without_times(json.loads(path.read_text())))
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return _hash({name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in arrays})
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            weights = [name for name in archive.namelist() if name.endswith(".pth")]
            return _hash({name: hashlib.sha256(archive.read(name)).hexdigest() for name in sorted(weights)})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(table: Path) -> list[dict[str, str]]:
    return [{key: value for key, value in row.items() if "time" not in key} for row in CsvTable(table).rows()]


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("wall_time_s", "logdir", "run_name", "num_workers", "checkpoint_freq")
        kept = {key: part for key, part in value.items() if key not in left_out and not key.startswith("time/")}
        return {key: _without_times(part) for key, part in kept.items()}
    return [_without_times(part) for part in value] if isinstance(value, list) else value


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
