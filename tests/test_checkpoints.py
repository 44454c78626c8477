"""Folders that are complete or not there."""

import json
import logging
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


def test_flipped_bits_of_the_manifest_are_found(tmp_path):
    folder = save(tmp_path / "best")
    good = (folder / MANIFEST).read_bytes()
    meaning = json.loads(good)
    for position in range(0, len(good) * 8, 23):
        bad = bytearray(good)
        bad[position // 8] ^= 1 << position % 8
        try:
            if json.loads(bad) == meaning:
                continue  # one kind of white space for another
        except ValueError:
            pass
        (folder / MANIFEST).write_bytes(bad)
        with pytest.raises(RunError):
            verify(folder)


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
    assert "skipping checkpoint 000001000" in caplog.text
    assert "model.zip" in caplog.text


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
