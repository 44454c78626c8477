"""Folders that are complete or not there: written beside their place, sealed with a manifest, then renamed into it.

    folder = write_folder(run / "checkpoints" / "000010000", step=10_000, writer=save_into)
    verify(folder)          # raises RunError if a byte is missing or wrong
    newest(run)             # the newest checkpoint that verifies

A kill at any moment leaves the old folder or the new one. Names of unfinished folders begin with a dot, which no reader
looks for; `recover` tidies them up for whoever holds the run's lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from armature.errors import RunError

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the folder format; a reader refuses newer ones."""
MANIFEST = "manifest.json"
JSON_LIMIT = 16 << 20
"""Largest JSON file that is read, in bytes."""


# ---------------------------------------------------------------------------------------------- single files


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Give a new file to write, and put it in the place of `path` at the end: a reader sees all of it or nothing.

    If anything fails, `path` is what it was before.
    """
    draft = path.with_name(_temporary("new", path.name))
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file that a reader sees whole or not at all."""
    with replacing(path) as file:
        file.write((json.dumps(data, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file that we wrote; raise `RunError` if it is missing, damaged, too large or not strict JSON."""
    try:
        with path.open("rb") as file:
            text = file.read(JSON_LIMIT + 1)
        if len(text) > JSON_LIMIT:
            raise RunError(f"{path} is larger than {JSON_LIMIT >> 20} MiB, so it is none of our files.")
        return json.loads(text, parse_constant=_refuse_constant)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


# ---------------------------------------------------------------------------------------------- writing


def write_folder(target: Path, step: int, writer: Callable[[Path], None]) -> Path:
    """Let `writer` fill a new folder, then put it in the place of `target`; return `target`.

    If anything fails, `target` is what it was before.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(_temporary("new", target.name))
    draft.mkdir()
    try:
        writer(draft)
        _seal(draft, step)
        verify(draft)
        _replace(target, draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _seal(folder: Path, step: int) -> None:
    """Write the manifest, last, when everything that it names is on the disk."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    entries = {
        path.relative_to(folder).as_posix(): {"sha256": _sha256(path), "size": path.stat().st_size} for path in files
    }
    manifest = {"format": FORMAT, "step": step, "files": entries}
    write_json(folder / MANIFEST, {**manifest, "sha256": _manifest_hash(manifest)})
    for path in folder.rglob("*"):
        if path.is_dir():
            _sync_folder(path)


def _replace(target: Path, draft: Path) -> None:
    """Put `draft` in the place of `target`. A kill between the renames is what `recover` and `settled` put right."""
    if not target.exists():
        draft.rename(target)
        _sync_folder(target.parent)
        return
    old = target.with_name(_temporary("old", target.name))
    target.rename(old)
    try:
        draft.rename(target)
    except OSError:
        old.rename(target)
        raise
    _sync_folder(target.parent)
    shutil.rmtree(old)


def keep_last(newest: Path, count: int) -> None:
    """Remove the checkpoints of a run but for `newest`, just written, and the `count` - 1 before it.

    Any after it are of a future that did not happen: the run was resumed from an earlier one, or they are damaged.
    """
    found = checkpoints(newest.parent.parent)
    kept = found[: found.index(newest) + 1][-max(count, 1) :]
    for folder in found:
        if folder in kept:
            continue
        # Renamed first: a kill in the middle of the removal must not leave half a checkpoint under a checkpoint's name.
        gone = folder.with_name(_temporary("gone", folder.name))
        folder.rename(gone)
        shutil.rmtree(gone)


def recover(run: Path) -> None:
    """Tidy up after a kill: put back a folder whose replacement was never finished, remove leftovers.

    Only for the process that holds the run's lock: to any other one a folder in the making looks like a leftover.
    """
    for parent in (run, run / "checkpoints"):
        for leftover in sorted(parent.glob(".*.*")) if parent.is_dir() else ():
            kind, _, name = leftover.name[1:].partition(".")
            if kind not in ("new", "old", "gone"):
                continue
            original = leftover.with_name(name.rpartition(".")[0])
            if kind == "old" and not original.exists():
                leftover.rename(original)
            elif leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()


# ---------------------------------------------------------------------------------------------- reading


def settled(target: Path) -> Path | None:
    """Return where a folder stands now: in its place, set aside by a writer that was killed, or nowhere (None)."""
    if target.is_dir():
        return target
    aside = sorted(target.parent.glob(f".old.{target.name}.*")) if target.parent.is_dir() else []
    return aside[-1] if aside else None


def verify(folder: Path) -> dict[str, Any]:
    """Check every file of a folder against its manifest; return the manifest, or raise `RunError` with the reason."""
    manifest = read_json(folder / MANIFEST)
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not isinstance(manifest.get("step"), int):
        raise RunError(f"{folder / MANIFEST} is damaged: it lists no files or no step.")
    if manifest.get("format") != FORMAT:
        raise RunError(f"{folder} has format {manifest.get('format')!r}, and this version of Armature reads {FORMAT}.")
    if manifest.get("sha256") != _manifest_hash(manifest):
        raise RunError(f"{folder / MANIFEST} is damaged: its text is not what was written.")
    for name, entry in files.items():
        path = folder / name
        if name.startswith(("/", "\\")) or ".." in Path(name).parts or path.is_symlink() or not path.is_file():
            raise RunError(f"{folder} is damaged: {name} is missing or is no plain file.")
        if not isinstance(entry, dict) or path.stat().st_size != entry.get("size"):
            raise RunError(f"{folder} is damaged: {name} has {path.stat().st_size} bytes, not those of the manifest.")
        if _sha256(path) != entry.get("sha256"):
            raise RunError(f"{folder} is damaged: the content of {name} is not what was written.")
    return manifest


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first, unverified."""
    parent = run / "checkpoints"
    folders = [path for path in parent.iterdir() if path.name.isdecimal()] if parent.is_dir() else []
    return sorted(folders, key=lambda path: int(path.name))


def newest(run: Path) -> Path:
    """Return the newest checkpoint that verifies; log each newer one that does not, with the reason.

    Raises `RunError` if there is none: nothing ever starts silently from the beginning.
    """
    for folder in reversed(checkpoints(run)):
        try:
            verify(folder)
        except RunError as error:
            log.warning("skipping checkpoint %s: %s", folder.name, error)
        else:
            return folder
    raise RunError(f"{run} has no usable checkpoint to continue from (checkpoint_freq of 0 switches them off).")


# ---------------------------------------------------------------------------------------------- small helpers


def _temporary(kind: str, name: str) -> str:
    """Return a name for an unfinished folder or file; readers ignore it, `recover` understands it."""
    return f".{kind}.{name}.{os.getpid()}-{secrets.token_hex(4)}"


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in manifest.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make renames within a folder survive a power cut, where the system lets folders be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
