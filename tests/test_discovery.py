"""Where algorithms come from that are not in the table, and what becomes of those that cannot be had."""

import json
import os
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.describe import list_algos
from armature.discovery import find_algo
from armature.errors import ConfigError, PluginError, UnknownNameError
from armature.plugins import load_extensions, load_plugins

ROOT = Path(__file__).parent.parent

PLAIN_SAC = """
from stable_baselines3 import SAC

class Plain(SAC):
    '''A plain subclass.'''
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that installs a package: a module, its metadata and entry points."""

    def make(package: str, code: str, points: dict[str, str], group: str = "armature.algos") -> Path:
        site = tmp_path / f"site_{package}"
        info = site / f"{package}-1.5.dist-info"
        info.mkdir(parents=True)
        (site / f"{package}.py").write_text(textwrap.dedent(code))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
        lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        monkeypatch.syspath_prepend(site)
        sys.modules.pop(package, None)
        return site

    return make


def run_train(*flags: str, path: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Run train.py with a folder on the module path."""
    env = {**os.environ, "PYTHONPATH": str(path or ""), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "train.py"), *flags]
    return subprocess.run(command, capture_output=True, text=True, env=env, cwd=cwd, timeout=300)


# ------------------------------------------------------------------------------------------------ entry points


@pytest.mark.parametrize(
    "thing",
    [
        "Plain",
        "from armature import Combo\nrow = Combo(Plain)",
        "from armature import Combo\ndef row():\n    return Combo('own_pack:Plain', kwargs={'gamma': 0.9})",
        "def row():\n    return Plain",
        "row = [Plain, ('MlpPolicy',), {'gamma': 0.9}]",
    ],
)
def test_r1_15_r4_19_r4_21_an_entry_point_is_enough(install, tables, thing):
    """A class, a Combo, or a function that returns one of them."""
    install("own_pack", PLAIN_SAC + thing, {"own": f"own_pack:{'Plain' if thing == 'Plain' else 'row'}"})
    find_algo("own")
    row = implemented_combos["own"]["pytorch"]
    assert row.package == "own_pack"
    assert row.source == f"entry point own_pack:{'Plain' if thing == 'Plain' else 'row'} of own_pack 1.5"


def test_x4_d2_listing_imports_no_plugin(install):
    """The listing is made from metadata alone."""
    site = install("own_pack", "raise SystemExit('imported!')", {"own": "own_pack:Own"})
    code = (
        "import sys; from armature.describe import list_algos; from armature.plugins import load_plugins\n"
        "load_plugins(); text = list_algos(); rows = list_algos(as_json=True)\n"
        "assert not {'torch', 'pybullet', 'own_pack'} & set(sys.modules); print(rows)"
    )
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{site}"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    own = next(row for row in json.loads(done.stdout) if row["algo"] == "own")
    assert (own["package"], own["version"], own["source"]) == ("own_pack", "1.5", "entry point")


def test_an_entry_point_whose_module_is_gone_is_marked(install):
    site = install("own_pack", "", {"own": "gone_module:Own"})
    assert site.is_dir()
    assert "ERROR: there is no module gone_module" in list_algos()


def test_t1_x7_d3_d4_a_broken_plugin_shows_its_traceback_and_hurts_nobody_else(install, tables):
    """Its own traceback where it is named; another algorithm does not notice."""
    install("own_pack", "def helper():\n    return 1 / 0\nhelper()", {"own": "own_pack:Own"})
    find_algo("ppo")
    with pytest.raises(PluginError, match=r"failed to load:(.|\n)*own_pack\.py(.|\n)*ZeroDivisionError"):
        find_algo("own")


def test_x8_d5_two_packages_of_one_name_are_both_named(install, tables):
    install("pack_one", PLAIN_SAC, {"twin": "pack_one:Plain"})
    install("pack_two", PLAIN_SAC, {"twin": "pack_two:Plain"})
    with pytest.raises(ConfigError, match=r"pack_(one|two) 1\.5.*pack_(one|two) 1\.5.*Uninstall"):
        find_algo("twin")


def test_x8_an_entry_point_cannot_take_a_shipped_name(install, tables):
    install("own_pack", PLAIN_SAC, {"ppo": "own_pack:Plain"})
    with pytest.raises(ConfigError, match=r"own_pack 1\.5.*stable_baselines3:PPO"):
        find_algo("ppo")


def test_x8_a_taken_name_names_both_owners_and_replace_replaces(tables):
    with pytest.raises(
        ConfigError, match=r"stable_baselines3:PPO \(from armature\).*my_pack:Mine \(from this process\)"
    ):
        register("ppo", "pytorch", Combo("my_pack:Mine"))
    register("ppo", "pytorch", Combo("my_pack:Mine"), replace=True)
    assert implemented_combos["ppo"]["pytorch"].algo_class == "my_pack:Mine"


def test_r4_20_d6_the_names_must_be_one(install, tables):
    """The entry point's name, the keys of the dicts: one name."""
    install("own_pack", "def pair():\n    return {'other': int}, {'own': int}", {"own": "own_pack:pair"})
    with pytest.raises(PluginError, match=r"trainer classes has the keys \['other'\].*'own'"):
        find_algo("own")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def thing():\n    return None", "stands for None; allowed"),
        ("thing = 5", "stands for 5; allowed"),
        ("def inner():\n    pass\ndef thing():\n    return {inner: int}, {'own': int}", "has the keys"),
        ("thing = [1, 2]", "allowed: a Combo, or"),
        ("class thing:\n    pass", "it has no method learn"),
    ],
)
def test_d7_what_an_entry_point_returns_is_checked(install, tables, code, told):
    install("own_pack", code, {"own": "own_pack:thing"})
    with pytest.raises(PluginError, match=told):
        find_algo("own")


def test_d8_r4_21_a_static_method_of_a_class_will_do(install, tables):
    """What the text that people follow says, while the code they know needs a function of the module."""
    install(
        "own_pack",
        PLAIN_SAC + "class Trainer:\n    @staticmethod\n    def row():\n        return Plain",
        {"own": "own_pack:Trainer.row"},
    )
    find_algo("own")
    assert implemented_combos["own"]["pytorch"].algo_class.__name__ == "Plain"


def test_d8_t4_a_method_in_place_of_a_function_is_told(install, tables):
    install("own_pack", "class Trainer:\n    def row(self):\n        return 1", {"own": "own_pack:Trainer.row"})
    with pytest.raises(PluginError, match=r"Trainer\.row.*without arguments.*'self'.*put @staticmethod above"):
        find_algo("own")


def test_t1_nothing_installed_is_no_error(monkeypatch, tables):
    """No plugin is a fine number of plugins."""
    monkeypatch.setattr("armature.discovery.entry_points", lambda **_: metadata.EntryPoints())
    find_algo("ppo")
    assert "stable_baselines3:PPO" in list_algos()
    with pytest.raises(UnknownNameError, match="Invalid trainer type 'nobody' was found"):
        find_algo("nobody")


def test_d12_a_key_error_of_the_plugin_is_its_own(install, tables):
    """A KeyError in a plugin is not taken for an unknown name."""
    install("own_pack", "def thing():\n    return {}['missing']", {"own": "own_pack:thing"})
    with pytest.raises(PluginError, match=r"KeyError: 'missing'"):
        find_algo("own")


def test_r4_26_d1_installed_algorithms_from_a_prompt(install):
    """What the page on extending shows: three lines."""
    install("own_pack", "", {"own": "own_pack:Own"})
    points = metadata.entry_points(group="armature.algos")
    assert ("own", "own_pack:Own") in [(point.name, point.value) for point in points]


# ------------------------------------------------------------------------------------------------ unknown names


def test_x6_r4_28_d13_t2_an_unknown_name_is_a_typo_or_not_installed():
    """The phrase that people search for, the nearest name, or how to install it."""
    with pytest.raises(
        UnknownNameError, match=r"^Invalid trainer type 'ppoo' was found.*did you mean 'ppo'\?.*Known:.*sac"
    ):
        find_algo("ppoo")
    with pytest.raises(UnknownNameError, match=r"not installed.*pip install -e examples/trainer_plugin"):
        find_algo("plugin_dqn")
    with pytest.raises(UnknownNameError, match=r"write my_algo\.py:CLASS"):
        find_algo("my_algo.py")


def test_x6_the_same_text_from_file_and_flag(tmp_path):
    (tmp_path / "cfg.json").write_text('{"algo": "sacc"}')
    by_file = run_train("--config", str(tmp_path / "cfg.json"))
    by_flag = run_train("--algo=sacc")
    assert by_file.returncode == by_flag.returncode == 2
    assert by_file.stderr == by_flag.stderr
    assert "did you mean 'sac'?" in by_flag.stderr


def test_a7_an_unknown_framework_lists_those_there_are():
    with pytest.raises(UnknownNameError, match=r"train_framework for algo 'a2c' 'jax'.*Known: pytorch"):
        Config(algo="a2c", train_framework="jax").check()


# ------------------------------------------------------------------------------------------------ addresses


@pytest.fixture
def plain_file(tmp_path):
    """Return a file that holds a class."""
    file = tmp_path / "own" / "my_algo.py"
    file.parent.mkdir()
    file.write_text(PLAIN_SAC)
    return file


def test_r1_1_r1_10_x1_x11_a_class_in_a_file_beside_the_config(plain_file, tables, monkeypatch, tmp_path):
    """A relative path is relative to the config file, then to the working directory; the full path is kept."""
    cfg = plain_file.parent / "cfg.json"
    cfg.write_text('{"algo": "my_algo.py:Plain"}')
    config = Config.load(cfg)
    assert config.algo == f"{plain_file}:Plain"
    load_extensions(config)
    assert implemented_combos[config.algo]["pytorch"].algo_class.__name__ == "Plain"
    monkeypatch.chdir(tmp_path)
    assert Config.load(None, {"algo": "own/my_algo.py:Plain"}).algo == f"{plain_file}:Plain"


def test_x11_home_is_expanded(plain_file, monkeypatch):
    monkeypatch.setenv("HOME", str(plain_file.parent))
    assert Config.load(None, {"algo": "~/my_algo.py:Plain"}).algo == f"{plain_file}:Plain"


def test_x11_an_unknown_class_lists_those_of_the_file(plain_file, tables):
    with pytest.raises(UnknownNameError, match=r"'Plan'; did you mean 'Plain'\?.*Known: Plain, SAC"):
        find_algo(f"{plain_file}:Plan")


def test_x11_files_of_one_name_stay_two_and_replace_no_module(tmp_path, tables):
    """Neither shadows the other, nor an installed module of that name."""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "json.py").write_text(f"{PLAIN_SAC}    place = {folder!r}\n")
        find_algo(f"{tmp_path / folder / 'json.py'}:Plain")
    places = [
        implemented_combos[f"{tmp_path / folder / 'json.py'}:Plain"]["pytorch"].algo_class.place
        for folder in ("one", "two")
    ]
    assert places == ["one", "two"]
    assert json.loads("1") == 1


def test_x17_a_received_config_needs_consent_for_its_class(plain_file):
    """An address in a run folder is refused with the flag that lets it in."""
    from armature.checks import refuse_foreign_imports

    config = Config(algo=f"{plain_file}:Plain")
    with pytest.raises(PluginError, match=r"--allow-import .*my_algo\.py:Plain"):
        refuse_foreign_imports(config, ())
    refuse_foreign_imports(config, [config.algo])


def test_x17_an_installed_entry_point_needs_none(install):
    from armature.checks import foreign_imports

    install("own_pack", PLAIN_SAC, {"own": "own_pack:Plain"})
    assert foreign_imports(Config(algo="own_pack:Plain")) == []


def test_r4_22_trainer_type_is_another_word_for_algo(tmp_path):
    (tmp_path / "cfg.json").write_text('{"trainer_type": "ppo"}')
    assert Config.load(tmp_path / "cfg.json").algo == "ppo"
    done = run_train("--trainer_type=ppo", "--dry-run")
    assert '"ppo"' in done.stdout
    done = run_train("--agent", "td3", "--dry-run")
    assert '"td3"' in done.stdout


# ------------------------------------------------------------------------------------------------ the table


def test_a5_a6_rows_in_the_form_of_a_list(tables):
    """[Class, (Policy,), {kwargs}] is the same row as a Combo, with or without a place for the environment."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.policies import ActorCriticPolicy

    implemented_combos["mine"] = {"pytorch": [PPO, (ActorCriticPolicy,), {"n_steps": 32}]}
    assert implemented_combos["mine"]["pytorch"] == Combo(
        PPO, ActorCriticPolicy, {"n_steps": 32}, source="this process"
    )
    implemented_combos["other"] = {"pytorch": [PPO, (ActorCriticPolicy, None), {}]}
    algo_class, policy, kwargs = implemented_combos["other"]["pytorch"]
    assert (algo_class, policy, kwargs) == (PPO, ActorCriticPolicy, {})
    implemented_combos["mine"]["own_framework"] = [PPO, ("MlpPolicy",), {}]
    assert set(implemented_combos["mine"]) == {"pytorch", "own_framework"}


@pytest.mark.parametrize(
    "row", [[1, 2], "PPO", ["stable_baselines3:PPO", "MlpPolicy", {}], ["stable_baselines3:PPO", ("MlpPolicy",), 3], 5]
)
def test_a5_a_row_of_another_form_is_refused(tables, row):
    with pytest.raises(PluginError, match=r"allowed: a Combo, or \[Class, \(Policy,\), \{kwargs\}\]"):
        implemented_combos["mine"] = {"pytorch": row}
    assert "mine" not in implemented_combos or not implemented_combos["mine"]


def test_a6_an_environment_in_a_row_is_explained(tables):
    with pytest.raises(PluginError, match=r"environment is made when training starts: write \(Policy,\)"):
        implemented_combos["mine"] = {"pytorch": ["stable_baselines3:PPO", ("MlpPolicy", object()), {}]}


def test_a5_there_is_one_table(tmp_path):
    """What a plugin registers is seen by the run that was started as a script."""
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        f"from armature import implemented_combos\n{PLAIN_SAC}\n"
        "implemented_combos['mine'] = {'pytorch': [Plain, ('MlpPolicy',), {'gamma': 0.9}]}\n"
    )
    done = run_train("--list-algos", f'--plugins=["{plugin}"]')
    assert done.returncode == 0, done.stderr
    mine = next(line for line in done.stdout.splitlines() if line.startswith("mine "))
    assert "Plain" in mine
    assert str(plugin) in mine


def test_x9_r4_2_a_class_is_checked_when_it_is_registered(tables):
    """All that is missing is listed by name."""

    class Half:
        def learn(self, total_timesteps, callback=None):
            return self

        def load(self, path):
            return self

    with pytest.raises(PluginError) as caught:
        register("half", "pytorch", Combo(Half))
    for text in ("Half in ", "no method predict(", "no method save(", "put @staticmethod or @classmethod above it"):
        assert text in str(caught.value)
    with pytest.raises(PluginError, match="no class"):
        register("half", "pytorch", Combo(lambda: None))


# ------------------------------------------------------------------------------------------------ stats writers


def test_e10_f5_x15_d33_a_stats_writer_gets_metrics_and_its_failure_ends_nothing(install, make_config, train, caplog):
    """Writers of installed packages get every row; one that fails is switched off."""
    install(
        "own_writer",
        """
        class Writer:
            rows = []
            def write(self, key_values, key_excluded, step=0):
                self.rows.append(step)
            def close(self):
                self.rows.append('closed')
        class Broken(Writer):
            def write(self, key_values, key_excluded, step=0):
                raise RuntimeError('disk on fire')
        def make(run, config):
            return Writer()
        def broken(run, config):
            return Broken()
        """,
        {"good": "own_writer:make", "bad": "own_writer:broken"},
        group="armature.stats_writers",
    )
    session = train(make_config(steps=300, eval_freq=0))
    assert session.model.num_timesteps >= 300
    import own_writer

    assert own_writer.Writer.rows[:2] == [100, 200]
    assert own_writer.Writer.rows[-1] == "closed"
    assert caplog.text.count("failed and is switched off") == 1
    assert "disk on fire" in caplog.text


# ------------------------------------------------------------------------------------------------ x10


def test_x10_e9_d22_two_runs_share_no_settings(make_config, train):
    """A flag of one run is not in the next one."""
    first = train(make_config("ppo", algo_kwargs={"n_steps": 16, "batch_size": 32}))
    second = train(make_config("ppo", algo_kwargs={"batch_size": 32}))
    assert first.model.n_steps == 16
    assert second.model.n_steps == 64
    load_plugins()
