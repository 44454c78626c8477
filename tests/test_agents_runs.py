"""Agents through train.py and test.py: from a file and nothing else to a replay."""

import json
import subprocess
import sys
from pathlib import Path

import commentjson
import pytest

from armature import test, train
from armature.runs import CsvTable
from tests.tutorials import run_tutorial

ROOT = Path(__file__).parent.parent
TOY = str(Path(__file__).with_name("toy_envs.py"))
QUICK = [
    *("--env_name=toy/PointFlat-v0", f"--plugins=[{json.dumps(TOY)}]", "--num_envs=2", "--tensorboard=false"),
    *("--eval_freq=100", "--eval_episodes=2", "--final_eval_episodes=2", "--run_name=mine"),
]
THREE_METHODS = '''
class Steady:
    """Needs nothing of Armature."""

    @staticmethod
    def get_default_parameters():
        return {"speed": 0.5, "steps": [1, 2], "name": null_or("x")}

    def act(self, state, episode_num):
        return [self.parameters["speed"]] * 2

    def memorize(self, last_ob, action, reward, done, ob):
        pass

    def update(self, episode_num):
        pass
'''.replace('null_or("x")', "None")
KEEPING = (
    THREE_METHODS
    + """
    def get_state(self):
        return {}

    def set_state(self, state):
        pass
"""
)


@pytest.fixture
def folder(tmp_path, monkeypatch, tables):
    """A clean directory with two agents in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "steady.py").write_text(THREE_METHODS, encoding="utf-8")
    (tmp_path / "keeping.py").write_text(KEEPING, encoding="utf-8")
    return tmp_path


def test_g1_g4_g23_three_methods_in_one_file_train(folder, capsys):
    """They are told that nothing of them is kept, and test.py refuses to replay another agent in their place."""
    assert train.main(["--algo", "steady.py:Steady", "--steps=200", *QUICK]) == 0
    out = capsys.readouterr().out
    assert "last model over 2 new episodes" in out
    assert "see it with" not in out
    assert test.main(["--model=trained_models/mine", f"--allow-import={TOY}", *consent("steady.py:Steady")]) == 2
    assert "Steady has neither get_state and set_state nor save and load" in capsys.readouterr().err


def test_g10_g12_g24_an_agent_is_trained_replayed_and_resumed(folder, capsys):
    """From an address in a configuration, whose parameters win over the defaults."""
    values = {"algo": "keeping.py:Steady", "algo_kwargs": {"speed": 0.25}, "steps": 200}
    (folder / "run.json").write_text(json.dumps(values), encoding="utf-8")
    assert train.main(["--config=run.json", *QUICK]) == 0
    allowed = [f"--allow-import={TOY}", *consent("keeping.py:Steady")]
    assert test.main(["--model=trained_models/mine", "--episodes=2", *allowed]) == 0
    assert "2 episodes of model control" in capsys.readouterr().out
    assert train.main(["--resume=trained_models/mine", "--steps=300", *allowed]) == 0
    assert CsvTable(Path("trained_models/mine/monitor.csv")).rows()[-1]["steps"] == "280"


def test_g3_the_config_of_the_run_repeats_it(folder):
    agent = str(ROOT / "examples/cem_agent.py")
    flags = [*QUICK[:-1], "--eval_freq=0", "--algo_kwargs.population=4", "--algo_kwargs.elites=2", "--steps=400"]
    assert train.main(["--algo", f"{agent}:CemAgent", *flags, "--run_name=one"]) == 0
    assert train.main(["--config=trained_models/one/config.json", "--run_name=two"]) == 0
    one, two = (CsvTable(Path(f"trained_models/{name}/monitor.csv")).rows() for name in ("one", "two"))
    assert one == two


@pytest.mark.parametrize("flag", ["--algo", "--agent"])
def test_g6_g7_g14_a_complete_configuration_is_written_and_trains_unchanged(folder, capsys, flag):
    create = [flag, "keeping.py:Steady", "--create-config=full.json", *QUICK, "--steps=100"]
    assert train.main(create) == 0
    text = (folder / "full.json").read_text()
    values = commentjson.loads(text)
    assert values["algo_kwargs"] == {"speed": 0.5, "steps": [1, 2], "name": None}
    limits = {"random_episodes": 0, "max_episodes": 0, "max_seconds": 0.0, "checkpoint_seconds": 0.0}
    assert values["loop_kwargs"] == limits
    assert "// int: Episodes to train at most, over all sessions of a run." in text
    assert train.main(create) == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert train.main(["--config=full.json"]) == 0


def test_g14_an_agents_parameters_are_described(folder, capsys):
    assert train.main(["--describe-algo", "keeping.py:Steady"]) == 0
    out = capsys.readouterr().out
    assert "speed: float, default 0.5" in out
    assert "steps: list, default [1, 2]" in out
    assert "policies" in out
    assert "none: it acts by itself" in out


def test_g12_an_agent_of_a_package_that_is_not_installed(folder, capsys):
    assert train.main(["--algo", "no_such_package.agents:Agent"]) == 2
    assert "no module named 'no_such_package'. Is it installed here?" in capsys.readouterr().err


def test_g9_a_package_of_environments_that_fails_to_import_is_named(folder, capsys):
    assert train.main(["--algo=random", '--plugins=["no_such_envs"]', "--env_name=some/Env-v0"]) == 2
    assert "cannot import 'no_such_envs'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--algo_kwargs.sped=1"], "algo_kwargs.sped: unknown argument; did you mean 'speed'?"),
        (["--loop_kwargs.max_episode=1"], "did you mean 'max_episodes'?"),
        (["--loop=nowhere.py:Loop"], "no such plugin file: nowhere.py"),
        (["--replay_buffer=her"], "cannot replay with hindsight"),
    ],
)
def test_g16_what_is_wrong_is_told_before_anything_is_written(folder, capsys, flags, message):
    assert train.main(["--algo", "steady.py:Steady", *QUICK, *flags]) == 2
    assert message in capsys.readouterr().err
    assert not Path("trained_models").exists()


FAULTS = {
    "made": ("__init__", "(self):", "unexpected keyword argument 'speed'"),
    "acting": ("act", "(self, state, episode_num):", "KeyError: 'lost'"),
    "learning": ("update", "(self, episode_num):", "KeyError: 'lost'"),
    "measuring": ("metrics", "(self, episode_num):", "KeyError: 'lost'"),
    "saving": ("get_state", "(self):", "KeyError: 'lost'"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_exception_of_an_agent_is_one_message_with_its_traceback(folder, capsys, fault):
    method, arguments, message = FAULTS[fault]
    text = KEEPING.replace("Steady", "Faulty") + f"\n    def {method}{arguments}\n        return {{}}['lost']\n"
    (folder / "faulty.py").write_text(text, encoding="utf-8")
    assert train.main(["--algo=faulty.py:Faulty", "--steps=200", *QUICK]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert "faulty_py:Faulty" in err
    assert "--check-plugin" in err


def test_g8_the_shipped_random_agent_runs_at_once(folder, capsys):
    assert train.main(["--algo=random", "--steps=100", *QUICK]) == 0
    assert "RandomAgent" in capsys.readouterr().out


def test_g13_a_replay_can_be_watched_and_says_where_there_is_no_display(folder, monkeypatch):
    """In a process of its own, since a window is."""
    flags = [*QUICK[2:], "--steps=100"]
    train_ = [sys.executable, str(ROOT / "train.py"), "--algo=random", *flags]
    subprocess.run(train_, check=True, capture_output=True)
    monkeypatch.delenv("DISPLAY", raising=False)
    replay = [sys.executable, str(ROOT / "test.py"), "--model=trained_models/mine", "--gui", "--episodes=1"]
    done = subprocess.run(replay, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Run without --gui (record a video instead" in done.stderr


@pytest.mark.slow
def test_x16_the_tutorial_of_agents_and_loops(tmp_path):
    outputs = run_tutorial(ROOT / "docs/tutorials/agent_and_loop.md", tmp_path)
    assert any("see it with" in text for text in outputs)


def consent(address):
    return [f"--allow-import={Path.cwd() / address}"]
