"""Bad configurations and flags: each ends with status 2 and one message that names the key and the remedy."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import armature
from armature import train

ROOT = Path(armature.__path__[-1])


def nested(levels: int) -> str:
    return '{"algo_kwargs": ' + '{"a": ' * levels + "1" + "}" * levels + "}"


# What stands in the file, and what the message must say besides the file's name.
FILES = {
    # a wrong type, one for each kind of key
    "text for a whole number": ('{"steps": "many"}', ["steps", '"many"', "a whole number from 1"]),
    "quoted number": ('{"steps": "1000"}', ["steps", "without quotes"]),
    "fraction for a whole number": ('{"num_envs": 1.5}', ["num_envs", "1.5", "from 1 to 1,024"]),
    "number with a point": ('{"steps": 1e5}', ["steps", "Write 100000"]),
    "bool for a whole number": ('{"seed": true}', ["seed", "true", "a whole number"]),
    "null for a whole number": ('{"steps": null}', ["steps", "null"]),
    "text for a bool": ('{"normalize": "false"}', ["normalize", '"false"', "true or false", "without quotes"]),
    "number for a bool": ('{"tensorboard": 1}', ["tensorboard", "true or false"]),
    "number for text": ('{"robot": 7}', ["robot", "7", "text"]),
    "empty text": ('{"algo": ""}', ["algo", "1 to 1,000 characters"]),
    "endless text": (json.dumps({"logdir": "x" * 5000}), ["logdir", "1 to 1,000 characters"]),
    "text for a list": ('{"plugins": "panda_gym"}', ["plugins", 'Write ["panda_gym"]']),
    "number in a list of text": ('{"plugins": ["a", 2]}', ["plugins.1", "2", "text"]),
    "list for an object": ('{"algo_kwargs": [1]}', ["algo_kwargs", "[1]", "an object"]),
    "text for an object": ('{"observation": "flat"}', ["observation", '"flat"', "an object"]),
    "text for a weight": ('{"reward_weights": {"goal": "2"}}', ["reward_weights.goal", '"2"', "a number"]),
    "text for a level": ('{"action_levels": [-1, "up"]}', ["action_levels.1", "from -1 to 1"]),
    "bool for a choice": ('{"reward": false}', ["reward", '"dense" or "sparse"']),
    # a value outside its range
    "no environment": ('{"num_envs": 0}', ["num_envs", "0", "from 1"]),
    "host exhausted": ('{"num_envs": 100000}', ["num_envs", "1,024"]),
    "negative seed": ('{"seed": -1}', ["seed", "-1", "from 0"]),
    "endless training": ('{"steps": 100000000000}', ["steps", "10,000,000,000"]),
    "number of a thousand digits": (f'{{"seed": {"9" * 1000}}}', ["seed", "from 0 to"]),
    "number of ten thousand digits": (f'{{"seed": {"9" * 10000}}}', ["line 1, column 10", "no JSON number"]),
    "wrong choice": ('{"record": "avi"}', ["record", '"gif"']),
    "wrong device": ('{"device": "gpu"}', ["device", '"cuda:N"']),
    "path for a name": ('{"run_name": "../up"}', ["run_name", "letters, digits"]),
    "one level": ('{"action_levels": [0]}', ["action_levels", "2 to 32"]),
    "falling levels": ('{"action_levels": [1, -1]}', ["action_levels", "rising"]),
    "negative weight": ('{"reward_weights": {"goal": -1}}', ["reward_weights.goal", "-1", "from 0"]),
    "NaN": ('{"seed": NaN}', ["line 1, column 10", "NaN is no JSON number"]),
    "Infinity": ('{"algo_kwargs": {"gamma": -Infinity}}', ["line 1, column 27", "Infinity"]),
    "overflowing number": ('{"algo_kwargs": {"gamma": 1e999}}', ["algo_kwargs.gamma", "finite"]),
    "overflowing level": ('{"action_levels": [0, 1e999]}', ["action_levels.1"]),
    "huge number in an object": (f'{{"env_kwargs": {{"n": {10**40}}}}}', ["env_kwargs.n", "2^63"]),
    # an unknown key, at each level
    "unknown key": ('{"algoritm": "ppo"}', ["algoritm", "unknown key", "'algo'"]),
    "unknown key like no other": ('{"zzz": 1}', ["zzz", "unknown key", "known: seed, logdir"]),
    "unknown key below": ('{"observation": {"from": "flat"}}', ["observation.from", "'form'"]),
    "unknown task parameter": ('{"task_kwargs": {"goal_sise": 1}}', ["task_kwargs", "goal_sise", "goal_size"]),
    "wrong task parameter": ('{"task_kwargs": {"goal_size": "big"}}', ["task_kwargs.goal_size", "big"]),
    "unknown reward term": ('{"reward_weights": {"gaol": 1}}', ["reward_weights", "gaol", "goal"]),
    "unknown argument": ('{"algo_kwargs": {"lerning_rate": 1}}', ["algo_kwargs.lerning_rate", "learning_rate"]),
    "unknown policy argument": ('{"policy_kwargs": {"net_arc": [8]}}', ["policy_kwargs.net_arc", "net_arch"]),
    # broken text
    "missing comma": ('{\n  "seed": 1\n  "algo": "ppo"\n}', ["line 3, column 3", "comma"]),
    "open bracket": ('{"seed": 1', ["line 1, column 10", "bracket"]),
    "open string": ('{\n  "robot": "panda\n}', ["line 2, column 12", "not closed"]),
    "empty file": ("", ["line 1", "too early"]),
    "single quotes": ("{'seed': 1}", ["line 1, column 2", "double quotes"]),
    "Python's words": ('{"normalize": True}', ["line 1, column 15", "Write true"]),
    "C's comments": ('{"seed": /* why */ 1}', ["line 1, column 10", "//"]),
    "leading zero": ('{"seed": 01}', ["line 1, column 10", "no JSON number"]),
    "wrong escape": ('{"logdir": "C:\\data"}', ["line 1, column 12", "no JSON string"]),
    "key twice": ('{"seed": 1,\n "seed": 2}', ["line 2, column 2", "'seed'", "remove one"]),
    "key twice below": ('{"algo_kwargs": {"gamma": 1, "gamma": 1}}', ["column 30", "'gamma'"]),
    "no object": ("[1, 2]", ["[1, 2]", "{ ... }"]),
    "nesting": (nested(40), ["32 levels"]),
    "deep nesting": (nested(20_000), ["32 levels"]),
    "too large": ('{"logdir": "' + "x" * 2_000_000 + '"}', ["1000000 bytes"]),
    "not UTF-8": (b'{"logdir": "\xff"}', ["UTF-8", "byte 12"]),
    "UTF-16": ('{"seed": 1}'.encode("utf-16"), ["UTF-8"]),
    "binary": (b"\x00\x01\x02", ["line 1, column 1"]),
}

# What stands on the command line, and what the message must say.
FLAGS = {
    # names
    "algo": (["--algo=ppoo"], ["algo", "'ppoo'", "'ppo'", "--list-algos"]),
    "framework": (["--train_framework=pytorhc"], ["train_framework", "'pytorch'"]),
    "framework of this algo": (["--algo=trpo", "--train_framework=jax"], ["train_framework", "'trpo'", "pytorch"]),
    "robot": (["--robot=pandaa"], ["robot", "'panda'"]),
    "workspace": (["--workspace=tabel"], ["workspace", "'table'"]),
    "task": (["--task_type=raech"], ["task_type", "'reach'"]),
    "action": (["--robot_action=ee_dleta"], ["robot_action", "'ee_delta'"]),
    "environment": (["--env_name=Pendulm-v1"], ["env_name", "'Pendulum-v1'"]),
    "our environment": (["--env_name=armature/PandaReech-v1"], ["env_name", "'armature/PandaReach-v1'"]),
    "policy": (["--policy=MlpPolcy"], ["policy", "'MlpPolicy'"]),
    "activation": (["--policy_kwargs.activation_fn=rleu"], ["policy_kwargs.activation_fn", "'relu'"]),
    "plugin": (['--plugins=["no_such_plugin"]'], ["no_such_plugin", "installed"]),
    "plugin file": (['--plugins=["gone.py"]'], ["gone.py", "no such plugin file"]),
    # pairs that cannot be
    "hindsight": (["--algo=ppo", "--replay_buffer=her"], ["replay_buffer", "ppo", "These can:", "sac", "tqc", "dqn"]),
    "hindsight on vectors": (["--algo=her", "--observation.form=flat"], ["observation.form", '"goal" or "auto"']),
    "goals for crossq": (["--algo=crossq", "--observation.form=goal"], ["observation.form", "crossq", '"flat"']),
    "robot elsewhere": (["--env_name=Pendulum-v1", "--robot=panda"], ["env_name", "Remove robot"]),
    "task of a shorthand": (["--env_name=armature/PandaPush-v1", "--task_type=push"], ["env_name", "Remove task_type"]),
    # arguments of the algorithm
    "text for a rate": (["--algo_kwargs.learning_rate=fast"], ["algo_kwargs.learning_rate", "fast", "float"]),
    "negative rate": (["--algo_kwargs.learning_rate=-1"], ["algo_kwargs.learning_rate", "-1", "from 0"]),
    "negative batch": (["--algo_kwargs.batch_size", "-4"], ["algo_kwargs.batch_size", "-4", "from 1"]),
    "bool for a number": (["--algo_kwargs.gamma=true"], ["algo_kwargs.gamma", "true", "float"]),
    "gamma": (["--algo_kwargs.gamma=1.5"], ["algo_kwargs.gamma", "1.5", "from 0 to 1"]),
    "NaN as a flag": (["--algo_kwargs.gamma=NaN"], ["--algo_kwargs.gamma", "NaN", "finite"]),
    "schedule": (["--algo_kwargs.learning_rate.schedule=cosine"], ["algo_kwargs.learning_rate", '"linear"']),
    "noise": (["--algo=td3", "--algo_kwargs.action_noise=0.1"], ["algo_kwargs.action_noise", '"std"']),
    "what the run sets": (["--algo_kwargs.seed=1"], ["algo_kwargs.seed", 'the key "seed"']),
    "layers": (["--policy_kwargs.net_arch=[64,0]"], ["policy_kwargs.net_arch.1", "0", "layer"]),
    # the command line itself
    "Python's False": (["--normalize=False"], ["--normalize", '"False"', "true or false"]),
    "yes": (["--normalize=yes"], ["--normalize", "true or false"]),
    "no value": (["--seed"], ["--seed", "needs a value"]),
    "no bool": (["--normalize", "--seed=1"], ["--normalize", "needs a value"]),
    "unknown flag": (["--sed=1"], ["--sed", "'--seed'"]),
    "abbreviation": (["--tensor=true"], ["--tensor", "unknown flag"]),
    "dashes": (["--num-envs=2"], ["--num-envs", "'--num_envs'"]),
    "file without --config": (["configs/reach.json"], ["configs/reach.json", "--config configs/reach.json"]),
    "below a number": (["--seed.x=1"], ["--seed.x", "'--seed'"]),
    "no name below": (["--algo_kwargs.=1"], ["--algo_kwargs.", "unknown flag"]),
    "through a number": (["--algo_kwargs.a=1", "--algo_kwargs.a.b=1"], ["--algo_kwargs.a.b", "no keys below"]),
    "broken JSON": (["--policy_kwargs.net_arch=[64,"], ["--policy_kwargs.net_arch", "no JSON"]),
    "key twice in a flag": (['--algo_kwargs={"a": 1, "a": 2}'], ["--algo_kwargs", "twice"]),
    "deep flag": (["--algo_kwargs=" + "[" * 100_000], ["--algo_kwargs", "levels"]),
    "resume and config": (["--resume=x", "--config=y"], ["--resume", "--config", "exclude"]),
    "json alone": (["--json"], ["--json", "--list-algos"]),
    # files
    "missing file": (["--config", "rech.json"], ["rech.json", "no configuration", "Shipped"]),
    "folder": (["--config", "."], [".", "is not a file"]),
    "no name": (["--config", ""], ["is not a file"]),
    "NUL": (["--config", "a\0b"], ["no configuration"]),
    "long name": (["--config", "x" * 5000], ["no configuration"]),
    "into no folder": (["--create-config", "no/such/folder.json"], ["no/such/folder.json", "no folder"]),
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(argv: list[str], capsys) -> str:
    """Return the one message of a command line that fails."""
    status = train.main(argv)
    message = capsys.readouterr().err
    assert status == 2, message
    assert message.startswith("error: ")
    assert message.count("error: ") == 1
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize(("text", "words"), FILES.values(), ids=FILES)
def test_d16_d17_d18_d19_d20_e8_t6_a_bad_file(folder, capsys, text, words):
    """Status 2, one message with the key and the remedy, and nothing new on disk."""
    (folder / "bad.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    message = run(["--config", "bad.json"], capsys)
    assert all(word in message for word in words), message
    assert len(message) < 2000
    assert [path.name for path in folder.iterdir()] == ["bad.json"]


@pytest.mark.parametrize(("argv", "words"), FLAGS.values(), ids=FLAGS)
def test_d24_t7_bad_flags(folder, capsys, argv, words):
    """Status 2, one message with the key and the remedy, and nothing on disk."""
    message = run(argv, capsys)
    assert all(word in message for word in words), message
    assert list(folder.iterdir()) == []


def test_a_missing_package_is_named_with_its_command(folder, capsys, monkeypatch):
    """A row whose package is not installed says how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    message = run(["--algo=sac", "--train_framework=jax"], capsys)
    assert "sbx-rl" in message
    assert 'pip install "sbx-rl"' in message


def test_an_existing_file_is_not_overwritten(folder, capsys):
    """--create-config refuses a name that is taken."""
    (folder / "mine.json").write_text("mine")
    assert "mine.json exists" in run(["--create-config", "mine.json"], capsys)
    assert (folder / "mine.json").read_text() == "mine"


def test_an_unreadable_file(folder, capsys, monkeypatch):
    """What the system refuses is passed on in its words."""
    (folder / "bad.json").write_text("{}")

    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "bad.json cannot be read: Permission denied" in run(["--config", "bad.json"], capsys)


@pytest.mark.parametrize("argv", [["--sed=1"], ["--config", "gone.json"], ["--algo=ppo", "--replay_buffer=her"]])
def test_the_command_itself(folder, argv):
    """In a process of its own: status 2, one message on stderr, nothing on stdout or disk."""
    done = subprocess.run([sys.executable, ROOT / "train.py", *argv], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(folder.iterdir()) == []
