import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

import armature
from armature import schema
from armature.argument_checks import check_algo_kwargs
from armature.combos import Combo, implemented_combos
from armature.config import Config
from armature.describe import create_config, describe_algo, describe_config, list_algos, write_new
from armature.errors import ConfigError, UnknownNameError
from armature.hyperparameters import hyperparameters
from armature.plugins import load_plugins
from armature.registry import resolve, tasks

load_plugins()
INSTALLED = [algo for algo, rows in implemented_combos.items() if "pytorch" in rows]


@pytest.fixture(autouse=True)
def plugins():
    load_plugins()


class Mine:
    """An algorithm of our own.

    :param speed: how fast
    """

    def __init__(self, policy, env, speed: float = 0.5, shape: tuple[int, int] = (1, 2), hook=print):
        pass

    def learn(self, total_timesteps, callback=None):
        return self

    def predict(self, observation, deterministic=True):
        return None, None

    def save(self, path):
        pass

    @classmethod
    def load(cls, path):
        pass


# ------------------------------------------------------------------------------------------------ --list-algos


def test_every_row_is_listed():
    """Algorithm, framework, class, policy, goals, package and source stand in aligned columns."""
    head, *lines = list_algos().split("\n\n")[0].splitlines()
    assert len(lines) == sum(len(rows) for rows in implemented_combos.values())
    assert head.split() == ["algo", "train_framework", "class", "policy", "goals", "package", "source"]
    start = head.index("package")
    for line in lines:
        assert line[start - 2 : start] == "  "
        assert line[start] != " "


def test_a_missing_package_is_listed_with_its_command(monkeypatch):
    """Rows that cannot run yet say what to install."""
    row = Combo("no_such_package:Algo", package="no-such-package", install="armature[none]", source="somebody")
    monkeypatch.setitem(implemented_combos, "mine", {"pytorch": row})
    text = list_algos()
    assert "no-such-package (missing)" in text
    assert 'pip install "armature[none]"' in text
    found = next(row for row in json.loads(list_algos(as_json=True)) if row["algo"] == "mine")
    assert found == {
        "algo": "mine",
        "train_framework": "pytorch",
        "class": "no_such_package:Algo",
        "policy": None,
        "goals": False,
        "package": "no-such-package",
        "version": None,
        "source": "somebody",
        "install": "armature[none]",
    }


def test_listing_is_quick_and_light():
    """The table appears in under a second, without torch or PyBullet."""
    code = (
        "import sys; from armature import load_plugins; from armature.describe import list_algos\n"
        "load_plugins(); list_algos()\n"
        "print(*[name for name in ('torch', 'pybullet', 'stable_baselines3', 'sb3_contrib') if name in sys.modules])"
    )
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=armature.__path__[-1], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
    assert time.monotonic() - begin < 5, "generous, for a busy machine; about 0.4 s otherwise"


# ------------------------------------------------------------------------------------------------ --describe-algo


@pytest.mark.parametrize("algo", INSTALLED)
def test_x5_every_hyperparameter_is_described(algo):
    """Type, default and meaning of each argument of the class."""
    text = describe_algo(algo)
    for item in hyperparameters(resolve(implemented_combos[algo]["pytorch"].algo_class)).values():
        assert f"\n  {item.name}: {item.type}, " in text
        assert item.meaning[:40] in text


def test_our_own_default_stands_beside_the_classes():
    """Where a row differs from its class, both are told."""
    assert "gamma: float, 0.95 here, default 0.99 in the class" in describe_algo("sac")
    assert "tau: float, default 0.005" in describe_algo("sac")


def test_x5_what_an_algorithm_can_handle_is_described():
    """Actions, observations, hindsight and policies."""
    text = describe_algo("qrdqn")
    assert "discrete; continuous ones are made so" in text
    assert "yes, with replay_buffer=her" in text
    assert "MlpPolicy, CnnPolicy, MultiInputPolicy" in text
    assert "dicts" not in describe_algo("crossq").partition("Hyper")[0]


def test_an_unknown_algo_cannot_be_described():
    """The closest name is offered."""
    with pytest.raises(UnknownNameError, match="'sac'"):
        describe_algo("sacc")


# ------------------------------------------------------------------------------------------------ --dry-run


def test_r4_25_each_key_is_told_with_its_origin():
    """Every key in effect, its value, and default, file or flag; by section."""
    lines = describe_config(Config.load(flags={"seed": 0, "algo_kwargs.gamma": 0.9})).splitlines()
    rows = {line.split()[0]: line.split()[1:] for line in lines if line.startswith("  ")}
    assert rows["seed"] == ["0", "flag"]
    assert rows["algo_kwargs.gamma"] == ["0.9", "flag"]
    assert rows["steps"] == [str(Config().steps), "default"]
    assert set(schema.keys(Config)) - set(rows) == {"algo_kwargs"}
    sections = [line for line in lines if not line.startswith(" ")]
    assert sections == ["run", "environment", "algorithm", "training", "evaluation", "output"]


def test_keys_without_effect_are_not_told():
    """Another environment has no robot."""
    assert "robot" not in describe_config(Config(env_name="Pendulum-v1"))


# ------------------------------------------------------------------------------------------------ --create-config


@pytest.mark.parametrize("algo", INSTALLED)
def test_a_created_config_describes_the_same_run(algo, tmp_path):
    """It loads, passes every check, and differs only in spelling the defaults out."""
    config = Config.load(flags={"algo": algo, "seed": 5, "task_type": "push", "task_kwargs.area": 0.1})
    write_new(tmp_path / "new.json", create_config(config))
    loaded = Config.load(tmp_path / "new.json")
    loaded.check()
    filled = {"algo_kwargs", "loop_kwargs", "policy_kwargs", "task_kwargs", "reward_weights"}
    assert loaded.model_dump(exclude=filled) == config.model_dump(exclude=filled)
    row = implemented_combos[algo]["pytorch"]
    check_algo_kwargs(resolve(row.algo_class), loaded.algo_kwargs)
    assert row.kwargs.items() <= {**loaded.algo_kwargs, "policy_kwargs": loaded.policy_kwargs}.items()
    push = resolve(tasks["push"])
    assert loaded.task_kwargs == {name: default for name, (default, _) in push.parameters().items()} | {"area": 0.1}
    assert loaded.reward_weights == push.reward_terms


def test_a_created_config_is_complete_and_commented():
    """Every key stands there, below its sentence."""
    text = create_config(Config())
    words = " ".join(text.replace("//", " ").split())
    for name, key in schema.keys(Config).items():
        assert f'"{name.rpartition(".")[2]}": ' in text
        assert key.meaning in words


def test_only_what_json_can_hold_is_created(monkeypatch):
    """Functions are left out; tuples become lists; the row's defaults win over the class's, the config's over both."""
    monkeypatch.setitem(implemented_combos, "mine", {"pytorch": Combo(Mine, kwargs={"speed": 0.7})})
    text = create_config(Config(algo="mine"))
    assert '"speed": 0.7' in text
    assert '"shape": [1, 2]' in text
    assert "hook" not in text
    assert "// float: how fast" in text
    assert '"speed": 0.9' in create_config(Config(algo="mine", algo_kwargs={"speed": 0.9}))


def test_another_environments_config_has_no_robot(tmp_path):
    """What is created for a Gymnasium id can be run as it is."""
    write_new(tmp_path / "new.json", create_config(Config(env_name="Pendulum-v1")))
    loaded = Config.load(tmp_path / "new.json")
    loaded.check()
    assert not loaded.given("robot")


def test_nothing_is_overwritten_and_no_folder_made(tmp_path):
    """A created file is new, in a folder that exists."""
    path = tmp_path / "a.json"
    write_new(path, "first")
    with pytest.raises(ConfigError, match="exists"):
        write_new(path, "second")
    with pytest.raises(ConfigError, match="no folder"):
        write_new(tmp_path / "b" / "a.json", "text")
    with pytest.raises(ConfigError, match="exists"):
        write_new(tmp_path, "text")
    assert [file.name for file in Path(tmp_path).iterdir()] == ["a.json"]
    assert path.read_text() == "first"
