"""A run reads nothing that could run code, and listens to nobody."""

import contextlib
import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from armature import test as replay
from armature import train
from tests.conftest import TOY

EVENTS = []
sys.addaudithook(lambda name, details: EVENTS.append(details) if name == "pickle.find_class" else None)
QUICK = [
    *("--env_name=toy/PointFlat-v0", f'--plugins=["{TOY}"]', "--num_envs=2", "--steps=64", "--checkpoint_freq=32"),
    *("--eval_episodes=2", "--final_eval_episodes=2", "--log_freq=32", "--run_name=mine", "--normalize=true"),
]
SMALL = {
    "ppo": ["--algo_kwargs.n_steps=16", "--algo_kwargs.batch_size=32", "--policy_kwargs.net_arch=[16]"],
    "sac": ["--algo_kwargs.buffer_size=200", "--algo_kwargs.learning_starts=20", "--policy_kwargs.net_arch=[16]"],
}


@pytest.mark.parametrize("algo", SMALL)
def test_x13_nothing_is_unpickled_from_training_to_replay(algo, tmp_path):
    """Training, resuming, starting from another model and replaying, with environments in this process."""
    EVENTS.clear()
    flags = [*QUICK, f"--algo={algo}", *SMALL[algo], "--num_workers=0"]
    assert train.main([*flags, f"--logdir={tmp_path}"]) == 0
    run = tmp_path / "mine"
    assert train.main(["--resume", str(run), "--allow-import", TOY, "--steps=96"]) == 0
    assert train.main([*flags, f"--logdir={tmp_path / 'more'}", f"--pretrained_model={run}"]) == 0
    assert replay.main(["--model", str(run), "--episodes=2", "--allow-import", TOY]) == 0
    assert not EVENTS


def family(root: int) -> set[int]:
    """Return a process and all that come from it."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:  # it has ended meanwhile
            continue
        parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(processes: set[int]) -> list[str]:
    """Return the TCP addresses that processes listen at, in hexadecimal digits."""
    links = [link for process in processes for link in Path("/proc").glob(f"{process}/fd/*")]
    open_sockets = set()
    for link in links:
        with contextlib.suppress(OSError):  # it has been closed meanwhile
            open_sockets.add(os.readlink(link))
    rows = [row.split() for name in ("tcp", "tcp6") for row in Path("/proc/net", name).read_text().splitlines()[1:]]
    return [row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in open_sockets]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux")
def test_x17_a_run_with_workers_listens_nowhere(tmp_path):
    """Looked at while it trains, with TensorBoard's files being written."""
    seen, most, done = [], set(), threading.Event()

    def watch():
        while not done.wait(0.05):
            processes = family(os.getpid())
            most.update(processes)
            seen.extend(listening(processes))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        flags = [*QUICK, "--algo=ppo", *SMALL["ppo"], "--num_workers=2", "--steps=320", f"--logdir={tmp_path}"]
        assert train.main(flags) == 0
    finally:
        done.set()
        watcher.join()
    assert len(most) >= 3
    assert not seen


def test_a_listener_would_be_seen():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = f"{server.getsockname()[1]:04X}"
        assert any(address.endswith(port) for address in listening({os.getpid()}))
