"""Run folders, their records and tables."""

import contextlib
import errno
import multiprocessing
import os
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import armature
from armature import runs
from armature.checkpoints import read_json, write_folder, write_json
from armature.circumstances import circumstances
from armature.config import Config
from armature.errors import RunError, RunInUseError
from armature.evaluation import Episode, Evaluation
from armature.runs import CsvTable, find_run, new_run, run_lock, write_run_info, write_summary
from tests.disks import no_file_larger_than

ROOT = Path(armature.__file__).parent.parent


def finished_run(logdir, name, started):
    """Make what a run leaves behind."""
    run = logdir / name
    run.mkdir(parents=True)
    write_json(run / "config.json", {})
    write_json(run / "run.json", {"started": started})
    write_folder(run / "final", 1, lambda folder: None)
    return run


# ---------------------------------------------------------------------------------------------- making


@pytest.mark.parametrize(
    ("keys", "name"),
    [
        ({}, "panda_reach_fast_sac_1"),
        ({"algo": "own/my_algo.py:MyAlgo"}, "panda_reach_MyAlgo_1"),
        ({"task_type": "push", "algo": "tqc"}, "panda_push_tqc_1"),
        ({"env_name": "armature/PandaPush-v1"}, "PandaPush-v1_fast_sac_1"),
        ({"env_name": "Pendulum-v1", "algo": "ppo"}, "Pendulum-v1_ppo_1"),
        ({"robot": "../my arm.py:Robot"}, "_my_arm.py_Robot_reach_fast_sac_1"),
        ({"run_name": "mine"}, "mine"),
    ],
)
def test_names_of_runs(tmp_path, keys, name):
    run = new_run(Config(logdir=str(tmp_path / "a" / "b"), **keys))
    assert run == tmp_path / "a" / "b" / name
    assert run.is_dir()


def test_t14_numbers_go_on_after_the_highest(tmp_path):
    for name in ("reach_fast_sac_2", "reach_fast_sac_9", "reach_fast_sac_old", "push_fast_sac_50"):
        (tmp_path / f"panda_{name}").mkdir()
    assert new_run(Config(logdir=str(tmp_path))).name == "panda_reach_fast_sac_10"


def test_simultaneous_starts_get_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        runs = list(pool.map(lambda _: new_run(Config(logdir=str(tmp_path))), range(32)))
    assert len(set(runs)) == 32


def test_a_start_that_was_killed_at_once_does_not_take_the_name(tmp_path):
    run = new_run(Config(logdir=str(tmp_path), run_name="mine"))
    with run_lock(run):
        (run / ".new.config.json.17-abc").touch()
    assert new_run(Config(logdir=str(tmp_path), run_name="mine")) == run
    (run / "notes.txt").touch()
    with pytest.raises(RunError, match="exists"):
        new_run(Config(logdir=str(tmp_path), run_name="mine"))


def test_f3_d28_t12_a_name_that_is_taken_is_refused_with_the_way_to_resume(tmp_path):
    config = Config(logdir=str(tmp_path), run_name="mine")
    config.save(new_run(config) / "config.json")
    with pytest.raises(RunError, match=re.escape(f"--resume {tmp_path / 'mine'}")):
        new_run(config)


def test_a_logdir_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot make a run folder"):
        new_run(Config(logdir=str(tmp_path / "file")))


# ---------------------------------------------------------------------------------------------- finding


def test_the_run_started_last_is_the_newest(tmp_path):
    """Whatever the files' times are: in a clone they are all the same."""
    last = finished_run(tmp_path, "a", "2026-03-01T00:00:00+00:00")
    finished_run(tmp_path, "b", "2026-02-01T00:00:00+00:00")
    assert find_run(logdir=tmp_path) == last


def test_a_run_without_a_model_is_passed_over(tmp_path):
    good = finished_run(tmp_path, "a", "2026-01-01T00:00:00+00:00")
    write_json(finished_run(tmp_path, "b", "2026-02-01T00:00:00+00:00") / "x.json", {})
    for path in sorted((tmp_path / "b" / "final").iterdir()):
        path.unlink()
    (tmp_path / "b" / "final").rmdir()
    assert find_run(logdir=tmp_path) == good


def test_no_run_says_how_to_train(tmp_path):
    with pytest.raises(RunError, match=r"python train\.py"):
        find_run(logdir=tmp_path / "nowhere")


def test_a_path_that_is_no_run_lists_the_runs(tmp_path):
    finished_run(tmp_path, "a", "2026-01-01T00:00:00+00:00")
    with pytest.raises(RunError, match=r"no run folder.*: a\."):
        find_run(tmp_path / "b", tmp_path)


# ---------------------------------------------------------------------------------------------- locking


def test_a_run_has_one_writer(tmp_path):
    code = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from armature.runs import run_lock
with run_lock(Path({str(tmp_path)!r})):
    print("held", flush=True)
    sys.stdin.readline()
"""
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(RunInUseError, match=f"in use by process {holder.pid} on"), run_lock(tmp_path):
        pass
    holder.kill()
    holder.communicate()
    with run_lock(tmp_path):  # the lock of a dead process is no lock
        pass
    assert (tmp_path / "run.lock").read_text() == ""


def test_of_ten_starts_at_once_one_wins(tmp_path):
    """The others say who holds the run, and with which status they end."""
    context = multiprocessing.get_context("fork")
    together, over, told = context.Barrier(10), context.Event(), context.Queue()

    def start():
        together.wait()
        try:
            with run_lock(tmp_path):
                told.put("won")
                over.wait()
        except RunInUseError as error:
            told.put(error.exit_status)

    starts = [context.Process(target=start) for _ in range(10)]
    for process in starts:
        process.start()
    found = [told.get() for _ in starts]
    over.set()
    for process in starts:
        process.join()
    assert sorted(found, key=str) == [3] * 9 + ["won"]


def test_the_lock_of_a_dead_process_is_taken_over_with_a_word(tmp_path, caplog):
    (tmp_path / "run.lock").write_text("process 4194304 on elsewhere, boot 1\n")
    with run_lock(tmp_path):
        assert f"process {os.getpid()} on {socket.gethostname()}, boot " in (tmp_path / "run.lock").read_text()
    assert "was in use by process 4194304 on elsewhere, boot 1, which is gone" in caplog.text


@pytest.mark.parametrize(
    ("pid", "host", "boot", "held"),
    [
        (os.getpid(), socket.gethostname(), runs._boot(), True),
        (1, socket.gethostname(), runs._boot(), True),
        (4194305, socket.gethostname(), runs._boot(), False),
        (os.getpid(), socket.gethostname(), "earlier", False),
        (4194305, "elsewhere", runs._boot(), True),
        (0, "", "", False),
    ],
    ids=["ours", "another", "dead", "of an earlier boot", "of another host", "nobody"],
)
def test_without_locks_the_word_of_the_file_counts(pid, host, boot, held, tmp_path, monkeypatch):
    """As on some network drives."""

    def unknown(file, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(runs.fcntl, "flock", unknown)
    (tmp_path / "run.lock").write_text(f"process {pid} on {host}, boot {boot}\n")
    with pytest.raises(RunInUseError) if held else contextlib.nullcontext(), run_lock(tmp_path):
        pass


def test_e10_a_full_disk_does_not_keep_a_run_from_going_on(tmp_path):
    with no_file_larger_than(0), run_lock(tmp_path), pytest.raises(RunInUseError), run_lock(tmp_path):
        pass


def test_the_lock_tidies_up(tmp_path):
    leftover = tmp_path / "checkpoints" / ".new.000000100.77-abcd"
    leftover.mkdir(parents=True)
    with run_lock(tmp_path):
        assert not leftover.exists()


# ---------------------------------------------------------------------------------------------- records


def test_run_info_says_what_ran_where(tmp_path):
    plugin = tmp_path / "plugin.py"
    plugin.write_text("")
    config = Config(seed=5, plugins=["gymnasium", str(plugin)])
    write_run_info(tmp_path, config, circumstances(config))
    info = read_json(tmp_path / "run.json")
    assert info["seed"] == 5
    assert info["circumstances"]["torch_threads"] == 1
    assert {"armature", "python", "torch", "numpy", "gymnasium", "stable-baselines3"} <= set(info["circumstances"])
    assert info["plugins"]["gymnasium"] == info["circumstances"]["gymnasium"]
    assert info["plugins"][str(plugin)].startswith("sha256:e3b0c442")


def test_a_resumed_run_keeps_its_beginning(tmp_path):
    write_run_info(tmp_path, Config(), {"torch_threads": 1})
    started = read_json(tmp_path / "run.json")["started"]
    write_run_info(tmp_path, Config(), {"torch_threads": 2})
    info = read_json(tmp_path / "run.json")
    assert info["started"] == started
    assert [session["circumstances"]["torch_threads"] for session in info["resumed"]] == [2]


def test_summary(tmp_path):
    evaluation = Evaluation.of([Episode(0, 3.0, 50, True, 10), Episode(0, 1.0, 50, False, None)])
    write_summary(tmp_path, steps=1000, wall_time_s=12.3456, episodes=20, evaluation=evaluation)
    summary = read_json(tmp_path / "summary.json")
    assert summary["success_rate"] == 0.5
    assert summary["success_interval"] == pytest.approx([0.0945, 0.9055], abs=1e-4)
    del summary["success_interval"]
    assert summary == {
        "steps": 1000,
        "wall_time_s": 12.346,
        "episodes": 20,
        "success_rate": 0.5,
        "mean_return": 2.0,
        "mean_length": 50.0,
        "steps_to_success": 10.0,
        "evaluated_episodes": 2,
    }


# ---------------------------------------------------------------------------------------------- tables


def test_a_table_grows_and_widens(tmp_path):
    path = tmp_path / "metrics.csv"
    table = CsvTable(path)
    table.append({"steps": 1, "a": 1.5})
    table.append({"steps": 2, "a": None})
    table.append({"steps": 3, "a": 2.5, "b": 7})
    table.append({"steps": 4})
    assert path.read_text() == "steps,a,b\n1,1.5,\n2,,\n3,2.5,7\n4,,\n"


def test_a_table_is_continued(tmp_path):
    path = tmp_path / "metrics.csv"
    CsvTable(path).append({"steps": 1, "a": 1})
    CsvTable(path).append({"a": 2, "steps": 2})
    assert path.read_text() == "steps,a\n1,1\n2,2\n"


def test_later_rows_and_a_torn_line_are_cut_off(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("steps,a\n1,1\n2,2\n3,3\n4,")
    table = CsvTable(path)
    table.keep(lambda row: int(row["steps"]) <= 2)
    table.append({"steps": 3, "a": 9})
    assert path.read_text() == "steps,a\n1,1\n2,2\n3,9\n"


def test_a_table_with_nothing_left_keeps_its_columns(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("steps,a\n1,1\n")
    table = CsvTable(path)
    table.keep(lambda row: False)
    table.append({"steps": 3, "a": 9})
    assert path.read_text() == "steps,a\n3,9\n"


ROWS = [
    {"steps": 1, "a": 1.5},
    {"steps": 2, "a": 0.25},
    {"steps": 3, "a": 3, "b": "x"},
    {"steps": 4},
    {"steps": 5, "c": 1},
]
WRITTEN = "steps,a,b,c\n1,1.5,,\n2,0.25,,\n3,3,x,\n4,,,\n5,,,1\n"


@pytest.mark.parametrize("space", range(0, len(WRITTEN), 3))
def test_e10_rows_wait_for_a_disk(tmp_path, space, caplog):
    """Wherever it is full: none is lost, none stands there twice, none is torn."""
    table = CsvTable(tmp_path / "metrics.csv")
    with no_file_larger_than(space):
        for row in ROWS[:4]:
            table.append(row)
    before = table.rows()
    assert [int(row["steps"]) for row in before] == list(range(1, len(before) + 1))
    table.append(ROWS[4])
    assert table.path.read_text() == WRITTEN
    words = [record.message for record in caplog.records]
    assert len(words) in (0, 2)
    assert not words or ("cannot write" in words[0] and "can be written again" in words[1])


def test_e10_a_torn_batch_is_no_row_of_another_session(tmp_path):
    """What a full disk cut off in the middle is cut away by whoever goes on, and the rows before it stay."""
    table = CsvTable(tmp_path / "metrics.csv")
    table.append(ROWS[0])
    with no_file_larger_than(14):
        table.append(ROWS[1])
    assert table.path.read_text() == "steps,a\n1,1.5\n"[:14]
    CsvTable(table.path).append(ROWS[1])
    assert CsvTable(table.path).rows()[-1] == {"steps": "2", "a": "0.25"}


def test_rows_that_wait_are_bounded(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(runs, "MOST_WAITING", 3)
    table = CsvTable(tmp_path / "metrics.csv")
    with no_file_larger_than(0):
        for steps in range(6):
            table.append({"steps": steps})
    table.append({"steps": 6})
    assert [row["steps"] for row in table.rows()] == ["4", "5", "6"]
    assert caplog.text.count("the oldest are given up now") == 1


def test_a_table_that_was_deleted_begins_anew(tmp_path):
    table = CsvTable(tmp_path / "run" / "metrics.csv")
    table.append(ROWS[0])
    shutil.rmtree(tmp_path / "run")
    table.append(ROWS[1])
    assert table.path.read_text() == "steps,a\n2,0.25\n"


def test_a_row_that_a_power_cut_left_half_ends_the_table(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_bytes(b"steps,a\n1,1\n\0\0\0,2\n3,3\n")
    table = CsvTable(path)
    table.keep(lambda row: int(row["steps"]) <= 5)
    assert path.read_text() == "steps,a\n1,1\n"


def test_light_modules_stay_light():
    """The command line uses them before it is known whether anything will be trained."""
    modules = "armature.checkpoints, armature.runs, armature.evaluation, armature.plots, armature.recording"
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "stable_baselines3", "gymnasium", "matplotlib", "imageio", "pybullet"} & set(
        done.stdout.split()
    )
