"""Folders that are complete or not there."""

import contextlib
import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from armature import checkpoints
from armature.checkpoints import (
    MANIFEST,
    Earlier,
    keep_last,
    newest,
    read_json,
    recover,
    replacing,
    settled,
    verify,
    write_folder,
    write_json,
)
from armature.errors import RunError
from armature.runs import CsvTable
from tests.disks import damages, no_file_larger_than, small_disk


def save(target, text="weights", step=1):
    """Write a folder of two files."""

    def write(folder):
        (folder / "model.zip").write_bytes(text.encode() * 100)
        (folder / "replay").mkdir()
        (folder / "replay" / "rewards.npy").write_bytes(b"12345678")

    return write_folder(target, step, write)


def checkpoint(run, step):
    return save(run / "checkpoints" / f"{step:09d}", step=step)


def test_a_folder_knows_its_files(tmp_path):
    manifest = verify(save(tmp_path / "best", step=7))
    assert manifest["step"] == 7
    assert manifest["files"].keys() == {"model.zip", "replay/rewards.npy"}
    assert manifest["files"]["model.zip"]["size"] == 700


@pytest.mark.parametrize("name", ["model.zip", "replay/rewards.npy", MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "remove", "link"])
def test_damage_is_found(tmp_path, name, damage):
    folder = save(tmp_path / "best")
    path = folder / name
    data = bytearray(path.read_bytes())
    if damage == "remove":
        path.unlink()
    elif damage == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        flipped = data.copy()
        flipped[len(data) // 2] ^= 1
        path.write_bytes({"flip": flipped, "truncate": data[:-2], "empty": b""}[damage])
    with pytest.raises(RunError, match=r"damaged|cannot read|is a link"):
        verify(folder)


def test_cut_files_and_flipped_bits_are_found(tmp_path):
    """All of them, the manifest's too, and the older checkpoint is taken."""
    good = checkpoint(tmp_path, 100)
    bad = checkpoint(tmp_path, 200)
    for damage in damages(bad, random.Random(0), cuts=60, flips=200):
        with pytest.raises(RunError):
            pytest.fail(f"{damage} was not found: {verify(bad)}")
        assert newest(tmp_path) == good
    assert newest(tmp_path) == bad


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_a_manifest_cannot_name_files_outside(tmp_path, name):
    folder = save(tmp_path / "best")
    (tmp_path / "outside").write_text("x")
    manifest = read_json(folder / MANIFEST)
    manifest["files"][name] = {"size": 1, "sha256": "0"}
    write_json(folder / MANIFEST, {**manifest, "sha256": checkpoints._manifest_hash(manifest)})
    with pytest.raises(RunError, match="outside of it"):
        verify(folder)


def test_a_newer_format_is_refused(tmp_path):
    folder = save(tmp_path / "best")
    manifest = {**read_json(folder / MANIFEST), "format": 99}
    write_json(folder / MANIFEST, {**manifest, "sha256": checkpoints._manifest_hash(manifest)})
    with pytest.raises(RunError, match="format 99"):
        verify(folder)


def test_a_failing_writer_leaves_the_old_folder(tmp_path):
    target = save(tmp_path / "best", "old")

    def fail(folder):
        (folder / "model.zip").write_bytes(b"half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_folder(target, 2, fail)
    assert (target / "model.zip").read_bytes().startswith(b"old")
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_replaced(tmp_path):
    save(tmp_path / "best", "old", step=1)
    target = save(tmp_path / "best", "new", step=2)
    assert verify(target)["step"] == 2
    assert list(tmp_path.iterdir()) == [target]


def test_a_kill_between_the_renames_loses_nothing(tmp_path, monkeypatch):
    """The moment in which neither the old nor the new folder is in place."""
    target = save(tmp_path / "best", "old")
    monkeypatch.setattr(checkpoints.shutil, "rmtree", lambda *args, **kwargs: None)
    rename = Path.rename

    def killed(self, to):
        if Path(to) == target:
            raise KeyboardInterrupt
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        save(target, "new")
    monkeypatch.undo()
    assert not target.exists()
    assert verify(settled(target))
    recover(tmp_path)
    assert list(tmp_path.iterdir()) == [target]
    assert (target / "model.zip").read_bytes().startswith(b"old")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from armature.checkpoints import write_folder
step = 0
while True:
    step += 1
    write_folder(Path(sys.argv[2]) / "best", step, lambda folder: (folder / "model.zip").write_bytes(bytes(100_000)))
    print(step, flush=True)
"""


def test_kill_at_any_moment_leaves_a_whole_folder(tmp_path):
    root = Path(checkpoints.__file__).parent.parent
    for attempt in range(8):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(root), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        process.stdout.readline()
        time.sleep(0.004 * attempt)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert verify(settled(tmp_path / "best"))["step"] >= 1
        recover(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_the_newest_sound_checkpoint_is_taken(tmp_path, caplog):
    for step in (100, 200, 1000):
        checkpoint(tmp_path, step)
    assert newest(tmp_path).name == "000001000"
    (tmp_path / "checkpoints" / "000001000" / "model.zip").write_bytes(b"torn")
    shutil.copytree(tmp_path / "checkpoints" / "000000200", tmp_path / "checkpoints" / ".new.000002000.1-ab")
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path).name == "000000200"
    assert "skipping 000001000: " in caplog.text
    assert "model.zip" in caplog.text


def test_a_damaged_checkpoint_is_set_aside_by_who_resumes(tmp_path, caplog):
    for step in (1, 2, 3):
        checkpoint(tmp_path, step)
    for _ in range(2):  # there may be one from before
        (checkpoint(tmp_path, 3) / "model.zip").write_bytes(b"torn")
        assert newest(tmp_path, set_aside=True).name == "000000002"
        assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == [
            *("000000001", "000000002", "000000003.damaged"),
        ]
    assert "set aside as" in caplog.text


def test_a_checkpoint_of_a_newer_version_is_no_damaged_one(tmp_path):
    for step in (1, 2):
        folder = checkpoint(tmp_path, step)
    manifest = {**read_json(folder / MANIFEST), "format": 99}
    write_json(folder / MANIFEST, {**manifest, "sha256": checkpoints._manifest_hash(manifest)})
    with pytest.raises(RunError, match="format 99"):
        newest(tmp_path, set_aside=True)
    assert folder.is_dir()


# ---------------------------------------------------------------------------------------------- shared files


def grow(run, step, earlier=None):
    """Write a checkpoint that has one segment more than the one before it; return it and the segments it wrote."""
    written = []

    def write(draft):
        for number in range(step):
            name = f"replay/{number}.npy"
            if not (earlier and earlier.link(name, draft)):
                (draft / "replay").mkdir(exist_ok=True)
                (draft / name).write_bytes(bytes([number]) * 1000)
                written.append(number)

    return write_folder(run / "checkpoints" / f"{step:09d}", step, write, earlier), written


def test_files_of_an_earlier_checkpoint_are_shared(tmp_path, monkeypatch):
    """They are neither written nor read nor synced again, and survive the folder that they came from."""
    first, _ = grow(tmp_path, 3)
    earlier = Earlier(first)
    read, synced = [], []
    opened, sync = checkpoints.open_plain, checkpoints.sync_file
    monkeypatch.setattr(checkpoints, "open_plain", lambda path: read.append(path.name) or opened(path))
    monkeypatch.setattr(checkpoints, "sync_file", lambda path: synced.append(path.name) or sync(path))
    second, written = grow(tmp_path, 4, earlier)
    monkeypatch.undo()
    assert written == [3]
    assert set(read) - {MANIFEST} == set(synced) == {"3.npy"}
    assert (second / "replay/0.npy").samefile(first / "replay/0.npy")
    keep_last(second, 1)
    assert not first.exists()
    assert verify(second)["files"].keys() == {f"replay/{number}.npy" for number in range(4)}


def test_damage_of_a_shared_file_is_found_in_both(tmp_path):
    first, _ = grow(tmp_path, 2)
    second, _ = grow(tmp_path, 3, Earlier(first))
    (second / "replay/0.npy").write_bytes(bytes(1000)[:-1] + b"x")
    for folder in (first, second):
        with pytest.raises(RunError, match="the content of replay"):
            verify(folder)


@pytest.mark.parametrize("harm", ["gone", "cut", "no manifest", "no links"])
def test_what_cannot_be_shared_is_written(tmp_path, harm, monkeypatch):
    first, _ = grow(tmp_path, 3)
    if harm == "gone":
        shutil.rmtree(first)
    elif harm == "cut":
        (first / "replay/1.npy").write_bytes(b"torn")
    elif harm == "no manifest":
        (first / MANIFEST).unlink()
    else:
        monkeypatch.setattr(os, "link", lambda *names: (_ for _ in ()).throw(OSError(1, "no hard links here")))
    second, written = grow(tmp_path, 4, Earlier(first))
    assert written == ([1, 3] if harm == "cut" else [0, 1, 2, 3])
    assert verify(second)


def test_links_of_a_save_that_failed_are_forgotten(tmp_path):
    """The next try may write a file of that name itself."""
    earlier = Earlier(grow(tmp_path, 2)[0])

    def fail(draft):
        earlier.link("replay/0.npy", draft)
        raise OSError("no space left")

    def write(draft):
        (draft / "replay").mkdir()
        (draft / "replay/0.npy").write_bytes(b"another")

    with pytest.raises(OSError, match="no space"):
        write_folder(tmp_path / "best", 1, fail, earlier)
    assert verify(write_folder(tmp_path / "best", 1, write, earlier))


# ---------------------------------------------------------------------------------------------- full disks


@pytest.mark.parametrize("space", [0, 10, 699, 800])
def test_e10_a_full_disk_leaves_the_old_checkpoint(tmp_path, space):
    save(tmp_path / "best", "old")
    with no_file_larger_than(space), pytest.raises(OSError, match="too large"):
        save(tmp_path / "best", "new" * 1000)
    assert verify(tmp_path / "best")
    assert (tmp_path / "best/model.zip").read_bytes().startswith(b"old")
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_a_disk_that_is_really_full(tmp_path):
    """Saving, a table and its new columns, on a disk of 256 KiB that somebody else fills."""
    try:
        with small_disk(tmp_path / "disk", 256 << 10) as disk:
            table = CsvTable(disk / "metrics.csv")
            table.append({"steps": 0})
            save(disk / "best", "old")
            with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
                while filler.write(bytes(4096)):
                    pass
            for steps in range(1, 2000):
                table.append({"steps": steps})
            table.append({"steps": 2000, "loss": 1})
            with pytest.raises(OSError, match="No space"):
                save(disk / "best", "new" * 300)
            assert verify(disk / "best")
            (disk / "filler").unlink()
            table.append({"steps": 2001})
            assert [int(row["steps"]) for row in CsvTable(table.path).rows()] == list(range(2002))
            assert verify(save(disk / "best", "new" * 300))
    except PermissionError as error:
        pytest.skip(str(error))


def test_no_checkpoint_is_an_error(tmp_path):
    with pytest.raises(RunError, match="no usable checkpoint"):
        newest(tmp_path)


def test_the_last_checkpoints_are_kept(tmp_path):
    folders = [checkpoint(tmp_path, step) for step in (1, 2, 3, 4)]
    keep_last(folders[-1], 2)
    assert checkpoints.checkpoints(tmp_path) == folders[2:]


def test_checkpoints_of_a_future_that_did_not_happen_go(tmp_path):
    """After a resume from step 2, one at step 9 must not be taken for the newest."""
    for step in (1, 2, 9):
        checkpoint(tmp_path, step)
    keep_last(checkpoint(tmp_path, 3), 2)
    assert [path.name for path in checkpoints.checkpoints(tmp_path)] == ["000000002", "000000003"]


def test_a_file_is_the_old_one_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "demos.npz"

    def interrupted():
        with replacing(path) as file:
            file.write(b"second")
            raise KeyboardInterrupt

    with replacing(path) as file:
        file.write(b"first")
        assert not path.exists()
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]


def test_json_is_written_whole(tmp_path):
    path = tmp_path / "run.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})
    assert read_json(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", '{"a": NaN}', "[" * 100_000, "\xff\xfe"])
def test_damaged_json_is_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(RunError, match="damaged"):
        read_json(path)


def test_large_json_is_refused(tmp_path):
    path = tmp_path / "x.json"
    path.write_bytes(json.dumps("x" * (checkpoints.JSON_LIMIT + 1)).encode())
    with pytest.raises(RunError, match="larger than"):
        read_json(path)
