"""Folders that are complete or not there: written beside their place, sealed with a manifest, then renamed into it.

    folder = write_folder(run / "checkpoints" / "000010000", step=10_000, writer=save_into)
    verify(folder)          # raises RunError if a byte is missing or wrong
    newest(run)             # the newest checkpoint that verifies

A kill at any moment leaves the old folder or the new one, and so does a power cut: files are on the disk before the
manifest, the manifest before the rename. Names of unfinished folders begin with a dot, which no reader looks for;
`recover` tidies them up for whoever holds the run's lock.

Files that do not change from one checkpoint to the next are shared, as hard links: see `Earlier`.
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
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from armature.errors import RunError
from armature.forgiving import Forgiving
from armature.plain_files import open_plain, parse_json

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the folder format; a reader refuses newer ones."""
MANIFEST = "manifest.json"
JSON_LIMIT = 16 << 20
"""Largest JSON file that is read, in bytes."""

Entry = dict[str, Any]
"""What a manifest says of a file: `size` in bytes and `sha256`."""


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
    with contextlib.suppress(OSError):  # the new file is in place, whatever a power cut now would make of it
        _sync_folder(path.parent)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file that a reader sees whole or not at all."""
    with replacing(path) as file:
        file.write(_json_text(data))


def read_json(path: Path) -> Any:
    """Read a JSON file that we wrote; raise `RunError` if it is missing, damaged, too large or not strict JSON."""
    return parse_json(_read_text(path), str(path))


def _read_text(path: Path) -> bytes:
    with open_plain(path) as file:
        text = file.read(JSON_LIMIT + 1)
    if len(text) > JSON_LIMIT:
        raise RunError(f"{path} is larger than {JSON_LIMIT >> 20} MiB, so it is none of our files.")
    return text


def _json_text(data: Any) -> bytes:
    return (json.dumps(data, indent=2, allow_nan=False) + "\n").encode()


# ---------------------------------------------------------------------------------------------- writing


class Earlier:
    """A sealed folder that shares files with the next one, which need not be written, hashed and synced again.

    The files are hard links: they outlive the folder, and nobody may change them. Loading verifies them too.

    Args:
        folder: a sealed folder on the same file system. If it is gone there is nothing to share.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.linked: dict[str, Entry] = {}
        """What the manifest says of the files that were linked."""
        try:
            self._files: dict[str, Entry] = _read_manifest(folder)["files"]
        except RunError:
            self._files = {}

    def link(self, name: str, draft: Path) -> bool:
        """Give `draft` this folder's file `name`, such as `replay/0.npy`; return False if it has to be written."""
        source, entry = self.folder / name, self._files.get(name)
        try:
            if entry is None or source.lstat().st_size != entry["size"]:
                return False
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            os.link(source, draft / name)
        except OSError:  # it is gone, or its file system knows no hard links
            return False
        self.linked[name] = entry
        return True


def write_folder(target: Path, step: int, writer: Callable[[Path], None], earlier: Earlier | None = None) -> Path:
    """Let `writer` fill a new folder, then put it in the place of `target`; return `target`.

    If anything fails, `target` is what it was before.

    Args:
        target: the folder; those above it are made.
        step: environment steps that the content was trained for.
        writer: is given the folder to fill.
        earlier: what `writer` links files from.
    """
    _make_folders(target.parent)
    draft = target.with_name(_temporary("new", target.name))
    known = earlier.linked if earlier else {}
    known.clear()
    draft.mkdir()
    try:
        writer(draft)
        _seal(draft, step, known)
        sealed = _read_manifest(draft)["files"]
        _check_files(draft, {name: entry for name, entry in sealed.items() if name not in known})
        _replace(target, draft)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return target


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it so that they survive a power cut."""
    if not folder.is_dir():
        _make_folders(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _seal(folder: Path, step: int, known: Mapping[str, Entry]) -> None:
    """Write the manifest, last, when everything that it names is on the disk."""
    inside = sorted(folder.rglob("*"))
    files = {path.relative_to(folder).as_posix(): path for path in inside if path.is_file()}
    entries = {name: known.get(name) or _entry(path) for name, path in files.items()}
    for name, path in files.items():
        if name not in known:
            sync_file(path)
    for path in inside:
        if path.is_dir():
            _sync_folder(path)
    manifest = {"format": FORMAT, "step": step, "files": entries}
    write_json(folder / MANIFEST, {**manifest, "sha256": _manifest_hash(manifest)})


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
    shutil.rmtree(old, ignore_errors=True)  # what is left of it, `recover` removes


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
        shutil.rmtree(gone, ignore_errors=True)


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
    manifest = _read_manifest(folder)
    _check_files(folder, manifest["files"])
    return manifest


def is_sound(folder: Path) -> bool:
    """Return whether a folder verifies, and log why not; raise `RunError` for one of another version of Armature."""
    try:
        verify(folder)
    except _OtherFormatError:
        raise
    except RunError as error:
        log.warning("skipping %s: %s", folder.name, error)
        return False
    return True


def _read_manifest(folder: Path) -> dict[str, Any]:
    text = _read_text(folder / MANIFEST)
    manifest = parse_json(text, str(folder / MANIFEST))
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict) or not all(isinstance(entry, dict) for entry in files.values()):
        raise RunError(f"{folder / MANIFEST} is damaged: it lists no files.")
    intact = text == _json_text(manifest) and manifest.get("sha256") == _manifest_hash(manifest)
    if not intact or not isinstance(manifest.get("step"), int):
        raise RunError(f"{folder / MANIFEST} is damaged: its text is not what was written.")
    if manifest.get("format") != FORMAT:
        raise _OtherFormatError(
            f"{folder} has format {manifest.get('format')!r}, and this version of Armature reads {FORMAT}."
        )
    return manifest


def _check_files(folder: Path, files: Mapping[str, Entry]) -> None:
    """Compare files of a folder with what its manifest says of them."""
    for name, entry in files.items():
        inside = PurePosixPath(name)
        if inside.is_absolute() or ".." in inside.parts or "\\" in name:
            raise RunError(f"{folder} is damaged: its manifest names {name!r}, which is outside of it.")
        if any((folder / parent).is_symlink() for parent in inside.parents[:-1]):
            raise RunError(f"{folder} is damaged: {name} stands behind a link.")
        with open_plain(folder / name) as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry.get("size"):
                raise RunError(f"{folder} is damaged: {name} has {size} bytes, not those of the manifest.")
            if _sha256(file) != entry.get("sha256"):
                raise RunError(f"{folder} is damaged: the content of {name} is not what was written.")


def checkpoints(run: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest first, unverified."""
    parent = run / "checkpoints"
    folders = [path for path in parent.iterdir() if path.name.isdecimal()] if parent.is_dir() else []
    return sorted(folders, key=lambda path: int(path.name))


def newest(run: Path, set_aside: bool = False) -> Path:
    """Return the newest checkpoint that verifies; log each newer one that does not, with the reason.

    Raises `RunError` if there is none: nothing ever starts silently from the beginning.

    Args:
        run: the run folder.
        set_aside: whether damaged ones are renamed to `<step>.damaged`; only for who holds the run's lock.
    """
    for folder in reversed(checkpoints(run)):
        if is_sound(folder):
            return folder
        if set_aside:
            _set_aside(folder)
    raise RunError(f"{run} has no usable checkpoint to continue from (checkpoint_freq of 0 switches them off).")


def _set_aside(folder: Path) -> None:
    """Rename a damaged checkpoint so that nobody takes it for one again."""
    damaged = folder.with_name(f"{folder.name}.damaged")
    with Forgiving(f"the new name of {folder}"):
        if damaged.exists():
            shutil.rmtree(damaged)
        folder.rename(damaged)
        log.warning("checkpoint %s is set aside as %s", folder.name, damaged)


class _OtherFormatError(RunError):
    """A folder that is whole, and of another version of Armature."""


# ---------------------------------------------------------------------------------------------- small helpers


def _temporary(kind: str, name: str) -> str:
    """Return a name for an unfinished folder or file; readers ignore it, `recover` understands it."""
    return f".{kind}.{name}.{os.getpid()}-{secrets.token_hex(4)}"


def _manifest_hash(manifest: Mapping[str, Any]) -> str:
    text = json.dumps({key: value for key, value in manifest.items() if key != "sha256"}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _entry(path: Path) -> Entry:
    """Return what a manifest says of a file."""
    with open_plain(path) as file:
        return {"sha256": _sha256(file), "size": os.fstat(file.fileno()).st_size}


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def sync_file(path: Path) -> None:
    """Bring a file to the disk, and out of memory where that can be asked for: whoever reads it next reads the disk."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _sync_folder(folder: Path) -> None:
    """Make renames within a folder survive a power cut, where the system lets folders be synced."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
