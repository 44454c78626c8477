"""Run folders: made, found, locked; what a run writes about itself as JSON and as tables."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import importlib.metadata
import io
import logging
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import armature
from armature.checkpoints import checkpoints, read_json, recover, replacing, settled, write_json
from armature.checks import named_imports
from armature.combos import implemented_combos
from armature.config import GENERAL_ENV, Config
from armature.errors import ArmatureError, Fault, RunError, RunInUseError
from armature.forgiving import Forgiving
from armature.registry import is_address

if TYPE_CHECKING:
    from armature.evaluation import Evaluation

try:
    import fcntl
except ImportError:  # Windows: nothing guards a run folder there
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

PACKAGES = ("stable-baselines3", "sb3-contrib", "sbx-rl", "torch", "jax", "pybullet", "gymnasium", "numpy")
"""Distributions whose versions are recorded, as far as they are installed."""
MOST_WAITING = 50_000
"""Rows of a table that wait in memory for a disk."""


# ---------------------------------------------------------------------------------------------- making and finding


def new_run(config: Config) -> Path:
    """Make the folder `logdir/run_name`, or the next free `<robot>_<task>_<algo>_<number>`; return its path.

    Raises `RunError` if a run of that name exists or the folder cannot be made.
    """
    logdir = Path(config.logdir)
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        return _named_run(logdir / config.run_name) if config.run_name else _numbered_run(logdir, _stem(config))
    except OSError as error:
        raise RunError(f"cannot make a run folder in logdir {str(logdir)!r}: {error.strerror}.") from error


def _named_run(run: Path) -> Path:
    try:
        run.mkdir()
    except FileExistsError:
        if not _never_began(run):
            raise RunError(
                f"{run} exists. Continue it with: python train.py --resume {run}; or choose another run_name."
            ) from None
    return run


def _never_began(run: Path) -> bool:
    """Return whether a folder is what a start leaves that was killed before it had written anything."""
    return run.is_dir() and all(path.name == "run.lock" or path.name.startswith(".new.") for path in run.iterdir())


def _numbered_run(logdir: Path, stem: str) -> Path:
    """Make the first free numbered folder. `mkdir` itself is the test, so of two starts at once each gets its own."""
    taken = [re.fullmatch(rf"{re.escape(stem)}_(\d+)", path.name) for path in logdir.iterdir()]
    number = max((int(match[1]) for match in taken if match), default=0)
    while True:
        number += 1
        with contextlib.suppress(FileExistsError):
            run = logdir / f"{stem}_{number}"
            run.mkdir()
            return run


def _stem(config: Config) -> str:
    """Return the speaking part of a run's name."""
    general = config.env_name == GENERAL_ENV
    robot = Path(config.robot).stem if config.robot.endswith(".json") else config.robot
    what = f"{robot}_{config.task_type}" if general else config.env_name.rpartition("/")[2]
    algo = config.algo.rpartition(":")[2]  # of an address, the class
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", f"{what}_{algo}").lstrip(".")


def find_run(path: str | Path | None = None, logdir: str | Path = "trained_models") -> Path:
    """Return the run folder at `path`, or without one the newest run in `logdir` that holds a model.

    Newest is the one started last by its own record: in a fresh clone all files are of the same age.
    """
    if path is not None:
        if not (Path(path) / "config.json").is_file():
            raise RunError(f"{path} is no run folder: it has no config.json. {_runs_in(Path(logdir))}")
        return Path(path)
    runs = [run for run in _runs(Path(logdir)) if has_model(run)]
    if not runs:
        raise RunError(f"no trained model in {logdir}. Make one with: python train.py")
    return max(runs, key=_started)


def has_model(run: Path) -> bool:
    """Whether a run has saved anything that could be replayed."""
    return any(settled(run / name) for name in ("best", "final")) or bool(checkpoints(run))


@contextlib.contextmanager
def removal_explained(run: Path) -> Iterator[None]:
    """Say in one message that a run folder was removed while its end was written; that comes too late to save anew."""
    try:
        yield
    except (FileNotFoundError, RunError) as error:
        if has_model(run):
            raise
        raise ArmatureError(
            f"{run} was removed while the end of the run was written, and its model with it. Train again, and leave "
            "the folder alone until the run has ended."
        ) from error


def _runs(logdir: Path) -> list[Path]:
    return sorted(path.parent for path in logdir.glob("*/config.json"))


def _runs_in(logdir: Path) -> str:
    names = [run.name for run in _runs(logdir)]
    return f"Runs in {logdir}: {', '.join(names)}." if names else f"There is no run in {logdir}."


def _started(run: Path) -> str:
    try:
        return str(read_json(run / "run.json")["started"])  # ISO times in UTC sort as text
    except (RunError, KeyError, TypeError):
        return ""


# ---------------------------------------------------------------------------------------------- locking


@contextlib.contextmanager
def run_lock(run: Path) -> Iterator[None]:
    """Hold a run folder for this process, and tidy up what a killed one left; raise `RunInUseError` if it is held.

    The system drops a lock with its process. On drives that know no locks, what the file says of its holder counts.
    """
    with (run / "run.lock").open("a+b", buffering=0) as file:
        locked = _locked(file)
        file.seek(0)
        holder = file.read(1000).decode(errors="replace").strip()
        if locked is False or (locked is None and _is_alive(holder)):
            raise RunInUseError(f"{run} is in use by {holder or 'another process'}. Wait for it, or stop it.")
        if holder:
            log.warning("%s was in use by %s, which is gone: this process takes it over", run, holder)
        with contextlib.suppress(OSError):  # on a full disk the lock holds without it
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}, boot {_boot()}\n".encode())
        recover(run)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                file.truncate(0)  # the name of a host is nobody's business once the run is over


def _locked(file: BinaryIO) -> bool | None:
    """Lock a file; return False if somebody else has, None if its drive knows no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is_alive(holder: str) -> bool:
    """Whether the holder that a lock names may still be there."""
    told = re.fullmatch(r"process (\d{1,9}) on (\S+), boot (\S*)", holder)
    if told is None:
        return False
    if told[2] != socket.gethostname():
        return True  # nobody can tell from here
    if told[3] != _boot():
        return False
    try:
        os.kill(int(told[1]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True


def _boot() -> str:
    """Return what tells one start of this machine from another: a process of an earlier one cannot be alive."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


# ---------------------------------------------------------------------------------------------- records


def write_run_info(run: Path, config: Config, circumstances: Mapping[str, Any]) -> None:
    """Write `run.json`: command, code, seed, plugins, machine; a resumed run adds a session to it.

    Args:
        run: the run folder.
        config: of the run.
        circumstances: versions, threads and whatever else the last bits depend on.
    """
    session = {
        "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
        "command": shlex.join(sys.argv),
        "git": _git_revision(),
        "seed": config.seed,
        "circumstances": dict(circumstances),
        "plugins": plugin_versions(config),
        "host": {
            "platform": platform.system(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
        },
    }
    path = run / "run.json"
    info = read_json(path) if path.exists() else None
    if info is None:
        write_json(path, session)
    else:
        write_json(path, {**info, "resumed": [*info.get("resumed", []), session]})


def write_summary(run: Path, *, steps: int, wall_time_s: float, episodes: int, evaluation: Evaluation) -> None:
    """Write `summary.json`: what the run took and what its final evaluation found.

    Args:
        run: the run folder.
        steps: environment steps of training, over all environments.
        wall_time_s: seconds spent training, over all sessions of the run.
        episodes: episodes finished in training.
        evaluation: of the final model.
    """
    judged = evaluation.to_dict()
    keys = ("success_rate", "success_interval", "mean_return", "mean_length", "steps_to_success")
    write_json(
        run / "summary.json",
        {
            "steps": steps,
            "wall_time_s": round(wall_time_s, 3),
            "episodes": episodes,
            **{key: judged[key] for key in keys},
            "evaluated_episodes": evaluation.episodes,
        },
    )


def versions() -> dict[str, str]:
    """Return the versions of Armature, Python and what they stand on, as far as it is installed."""
    found = {"armature": armature.__version__, "python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def plugin_versions(config: Config) -> dict[str, str | None]:
    """Return what a configuration brings code from: versions of packages, hashes of files, an entry point's package."""
    row = implemented_combos[config.algo][config.train_framework]
    found = {name: _plugin_version(name) for name in named_imports(config)}
    return {**found, config.algo: row.source} if row.source.startswith("entry point") else found


def changed_plugins(run: Path, config: Config) -> list[str]:
    """Return the plugins whose code is not what the run was trained with, as far as `run.json` tells."""
    try:
        before = dict(read_json(run / "run.json")["plugins"])
    except (RunError, KeyError, TypeError, ValueError):
        return []
    now = plugin_versions(config)
    return [name for name, version in before.items() if version and now.get(name, version) != version]


def _plugin_version(name: str) -> str | None:
    """Return the version of a plugin's distribution, or the hash of a plugin that is one file."""
    name = name.rpartition(":")[0] if is_address(name) else name
    if name.endswith(".py"):
        file = Path(name).expanduser()
        return f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}" if file.is_file() else None
    distributions = importlib.metadata.packages_distributions().get(name.partition(".")[0], [])
    return importlib.metadata.version(distributions[0]) if distributions else None


def _git_revision() -> str | None:
    """Return the revision of the checkout that Armature runs from, with `-dirty` if it was changed."""
    checkout = Path(armature.__file__).resolve().parent.parent
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def write_fault(run: Path, fault: Fault) -> None:
    """Write `fault.json`: which environment failed, in which episode, after which actions, and how."""
    write_json(run / "fault.json", {**asdict(fault), "actions": fault.actions.tolist(), "error": str(fault)})


# ---------------------------------------------------------------------------------------------- tables


class CsvTable:
    """A CSV file that only grows: rows are appended, a new column widens the header, a resume cuts later rows off.

    Rows that cannot be written, since the disk is full or the folder gone, wait in memory and go before the next one.

    Args:
        path: the file; if it exists it is continued.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole = 0
        """Bytes that are whole lines. What stands after them is torn, and the next write cuts it off."""
        if path.exists():
            self._whole = path.read_bytes().rfind(b"\n") + 1
        self.columns: list[str] = list(self._reader(self._lines()).fieldnames or [])
        self._waiting: deque[Mapping[str, Any]] = deque(maxlen=MOST_WAITING)
        self._writing = Forgiving(str(path))

    def rows(self) -> list[dict[str, str]]:
        """Return all rows as text; a last line that a kill cut short is left out."""
        return list(self._reader(self._lines()))

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row and write it out, or keep it until it can be written. None makes an empty cell."""
        if len(self._waiting) == MOST_WAITING - 1:
            log.warning("%d rows of %s wait for a disk; the oldest are given up now", MOST_WAITING, self.path)
        self._waiting.append(row)
        with self._writing:
            self._write()
            self._waiting.clear()

    def keep(self, wanted: Callable[[Mapping[str, str]], bool]) -> None:
        """Cut off the first row that is not wanted and everything after it, and a torn last line."""
        if not self.path.exists():
            return
        lines = self._lines()
        reader = self._reader(lines)
        kept = reader.line_num if reader.fieldnames else 0
        with contextlib.suppress(ValueError, KeyError, TypeError):  # a row that a power cut left half empty
            for _ in takewhile(wanted, reader):
                kept = reader.line_num
        self._whole = sum(map(len, lines[:kept]))
        with self._writing:
            os.truncate(self.path, self._whole)

    def _lines(self) -> list[bytes]:
        if not self.path.exists():
            return []
        content = self.path.read_bytes()[: self._whole]
        return content[: content.rfind(b"\n") + 1].splitlines(keepends=True)

    @staticmethod
    def _reader(lines: list[bytes]) -> csv.DictReader[str]:
        return csv.DictReader(line.decode(errors="replace") for line in lines)

    def _write(self) -> None:
        """Write the waiting rows: at the end, or everything anew for new columns and after somebody else's deletion."""
        columns = list(dict.fromkeys([*self.columns, *(name for row in self._waiting for name in row)]))
        if columns == self.columns and self.path.exists() and self.path.stat().st_size >= self._whole:
            text = _csv_text(columns, self._waiting)
            with self.path.open("r+b") as file:
                file.truncate(self._whole)
                file.seek(self._whole)
                file.write(text)
            self._whole += len(text)
        else:
            text = _csv_text(columns, [dict(zip(columns, columns, strict=True)), *self.rows(), *self._waiting])
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(self.path) as file:
                file.write(text)
            self.columns, self._whole = columns, len(text)


def _csv_text(columns: list[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns, restval="", lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
