import json
import subprocess
import sys
from pathlib import Path

import pytest

import armature
from armature import jsonc, schema
from armature.checks import refuse_foreign_imports
from armature.cli import Parser, exit_with_status, parse_train_args
from armature.combos import Combo, implemented_combos, register
from armature.config import Config, find, shipped_configs
from armature.errors import ConfigError, PluginError, RunInUseError
from armature.plugins import load_plugins

CONFIGS = Path(armature.__path__[-1]) / "configs"


@pytest.fixture
def file(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "config.json"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def in_a_new_process(code: str) -> subprocess.CompletedProcess[str]:
    """Run code and print, last of all, the modules it has loaded."""
    report = "import atexit, sys; atexit.register(lambda: print('loaded:', *sys.modules))"
    command = [sys.executable, "-c", f"{report}\n{code}"]
    return subprocess.run(command, cwd=CONFIGS.parent, capture_output=True, text=True, check=True)


def loaded(done: subprocess.CompletedProcess[str]) -> set[str]:
    return set(done.stdout.rpartition("loaded:")[2].split())


# ------------------------------------------------------------------------------------------------ reading


def test_comments_and_trailing_commas_are_read(file):
    """Files are JSON with // and # comments and commas after the last item; strings may hold what looks like one."""
    text = '// first\n{"seed": 3, # why\n "logdir": "a//b#c", "algo_kwargs": {"net": [1, 2,],}, // last\n}\n'
    config = Config.load(file(text))
    assert (config.seed, config.logdir, config.algo_kwargs) == (3, "a//b#c", {"net": [1, 2]})


def test_a_byte_order_mark_is_skipped(file):
    """Windows editors put one in front."""
    assert Config.load(file(b'\xef\xbb\xbf{"seed": 3}')).seed == 3


def test_the_schema_key_is_ignored(file):
    """Editors read it; we do not."""
    config = Config.load(file('{"$schema": "schema.json", "seed": 3}'))
    assert config == Config(seed=3)
    assert "$schema" not in config.origins


@pytest.mark.parametrize(
    ("text", "line", "column", "what"),
    [
        ('{\n  "seed": 1\n  "algo": "ppo"\n}', 3, 3, "comma"),
        ('{"seed" 1}', 1, 9, "colon"),
        ('{"seed": 1', 1, 10, "too early"),
        ('{"seed": NaN}', 1, 10, "NaN"),
        ('{"seed": -Infinity}', 1, 10, "Infinity"),
        ('{"normalize": True}', 1, 15, "true"),
        ("{'seed': 1}", 1, 2, "double quotes"),
        ('{"a": 1, /* no */ "b": 2}', 1, 10, "Comments"),
        ('{\n"logdir": "open\n}', 2, 11, "not closed"),
        ('{"seed": 01}', 1, 10, "no JSON number"),
        ('{"logdir": "\\x"}', 1, 12, "no JSON string"),
        ('{"seed": 1,\n "algo_kwargs": {"a": 1, "a": 2}}', 2, 26, "second time"),
        ("", 1, 1, "too early"),
    ],
)
def test_t6_broken_json_is_placed(text, line, column, what):
    """An error in the text says line, column and remedy."""
    with pytest.raises(ConfigError, match=rf"here, line {line}, column {column}: .*{what}"):
        jsonc.parse(text, "here")


def test_a_long_list_is_read_quickly():
    """Reading takes time and memory in proportion to the file, unlike commentjson.loads."""
    numbers = list(range(20_000))
    assert jsonc.parse(json.dumps(numbers), "here") == numbers


def test_find_looks_beside_the_package(tmp_path, monkeypatch):
    """A shipped configuration is found by its name from any folder; a file of that name comes first."""
    monkeypatch.chdir(tmp_path)
    assert find("schema.json") == CONFIGS / "schema.json"
    (tmp_path / "schema.json").write_text("{}")
    assert find("schema.json") == Path("schema.json")


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_can_run(name):
    """Every configuration in configs/ loads and passes the checks."""
    config = Config.load(name)
    load_plugins(config.plugins)
    config.check()


# ------------------------------------------------------------------------------------------------ precedence


def test_flags_win_over_file_over_defaults(file):
    """Defaults < file < flags, key by key, also within objects."""
    path = file(
        '{"seed": 3, "algo": "ppo", "algo_kwargs": {"gamma": 0.9, "n_steps": 8}, "observation": {"form": "goal"}}'
    )
    flags = {"algo": "a2c", "algo_kwargs.gamma": 0.8, "observation.parts": ["joints"]}
    config = Config.load(path, flags)
    assert (config.seed, config.algo, config.steps) == (3, "a2c", Config().steps)
    assert config.algo_kwargs == {"gamma": 0.8, "n_steps": 8}
    assert (config.observation.form, config.observation.parts) == ("goal", ["joints"])
    origins = {name: origin for name, origin in config.origins.items() if origin != "default"}
    assert origins == {
        "seed": "file",
        "algo": "flag",
        "algo_kwargs.gamma": "flag",
        "algo_kwargs.n_steps": "file",
        "observation.form": "file",
        "observation.parts": "flag",
    }


def test_a_whole_object_given_as_a_flag_replaces_the_files(file):
    """--algo_kwargs={} empties it; dotted flags beside it come on top, in any order."""
    path = file('{"algo_kwargs": {"gamma": 0.9}}')
    assert Config.load(path, {"algo_kwargs": {}}).algo_kwargs == {}
    config = Config.load(path, {"algo_kwargs.tau": 1, "algo_kwargs": {"n_steps": 8}})
    assert config.algo_kwargs == {"n_steps": 8, "tau": 1}


def test_a_flag_equal_to_the_default_counts_as_given(file):
    """Whether a key was given does not depend on its value."""
    config = Config.load(file('{"robot": "panda"}'), {"steps": Config().steps})
    assert config.given("robot")
    assert config.given("steps")
    assert not config.given("seed")
    assert Config.load(flags={"observation.form": "auto"}).given("observation")
    assert Config(seed=0).given("seed")


def test_a_saved_config_repeats_the_run(tmp_path):
    """What is saved is complete, plain JSON, and loads as the same configuration."""
    config = Config.load(
        flags={"algo": "tqc", "policy_kwargs.net_arch": [64, 64], "observation.form": "flat", "seed": 7}
    )
    config.save(tmp_path / "saved.json")
    assert set(json.loads((tmp_path / "saved.json").read_text())) == set(Config.model_fields)
    assert Config.load(tmp_path / "saved.json") == config


@pytest.mark.parametrize("env_name", ["Pendulum-v1", "armature/PandaPush-v1"])
def test_a_saved_config_leaves_out_what_its_environment_does_not_read(tmp_path, env_name):
    """Robot keys of another environment, and those that a shorthand fixes, are not in effect and not given."""
    config = Config(env_name=env_name)
    config.save(tmp_path / "saved.json")
    loaded = Config.load(tmp_path / "saved.json")
    assert loaded == config
    assert not loaded.given("task_type")
    load_plugins()
    loaded.check()


# ------------------------------------------------------------------------------------------------ values


def test_whole_numbers_serve_as_numbers():
    """JSON has one kind of number: 1 is fine where 1.0 is meant."""
    assert Config(action_levels=[-1, 0, 1], reward_weights={"goal": 2}).action_levels == [-1.0, 0.0, 1.0]


def test_a_config_cannot_be_changed():
    """The run that is recorded is the run that happens."""
    with pytest.raises(Exception, match="frozen"):
        Config().seed = 1


def test_every_problem_is_told_at_once(file):
    """One message, one line a problem, each with the key as it was given."""
    with pytest.raises(ConfigError) as caught:
        Config.load(file('{"steps": "many", "observation": {"form": "round"}}'), {"num_envs": 0})
    head, *lines = str(caught.value).splitlines()
    assert head == "3 problems:"
    assert [line.split(" is ")[0].rpartition(": ")[2].strip() for line in lines] == [
        "observation.form",
        "--num_envs",
        "steps",
    ]


def test_every_key_has_a_section_and_a_sentence():
    """Help, table and schema are made of them."""
    for key in schema.keys(Config).values():
        assert key.meaning.endswith(".")
        assert key.section in ("run", "environment", "algorithm", "training", "evaluation", "output")


def test_generated_files_are_fresh():
    """configs/schema.json and the table in configs/README.md follow from Config: python -m armature.config."""
    assert (CONFIGS / "schema.json").read_text(encoding="utf-8") == schema.json_schema(Config)
    readme = (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert readme == schema.with_table(readme, Config)


def test_the_readmes_example_loads(file):
    """The example in configs/README.md is a configuration that passes the checks."""
    example = (CONFIGS / "README.md").read_text(encoding="utf-8").partition("```json\n")[2].partition("```")[0]
    load_plugins()
    Config.load(file(example)).check()


# ------------------------------------------------------------------------------------------------ checks


def test_the_default_run_passes_and_stays_light():
    """Checks load neither torch nor PyBullet."""
    done = in_a_new_process("from armature import Config, load_plugins; load_plugins(); Config().check()")
    assert not loaded(done) & {"torch", "pybullet", "stable_baselines3"}


def test_hindsight_is_listed_from_the_table(monkeypatch):
    """The methods that can replay with hindsight include a plugin's."""
    monkeypatch.setitem(implemented_combos, "mine", {"pytorch": Combo("stable_baselines3:SAC", hindsight=True)})
    load_plugins()
    with pytest.raises(ConfigError, match=r"These can: .*sac.*mine"):
        Config(algo="ppo", replay_buffer="her").check()


def test_a_missing_class_is_told_before_anything_is_imported(tables, tmp_path):
    """Rows name modules and files; both are looked for."""
    for address in ("no_such_module:Algo", f"{tmp_path}/gone.py:Algo"):
        register("mine", "pytorch", Combo(address, source="somebody"), replace=True)
        with pytest.raises(PluginError, match=r"from somebody.*is not there"):
            Config(algo="mine").check()


def test_a_run_folders_config_imports_nothing_without_consent():
    """Modules and addresses in a stranger's configuration are refused, all at once, with the flags that allow them."""
    config = Config(plugins=["evil"], policy="x.py:P", policy_kwargs={"features_extractor_class": "os:system"})
    with pytest.raises(PluginError) as caught:
        refuse_foreign_imports(config, ())
    for name in ("evil", "x.py:P", "os:system"):
        assert f"--allow-import {name}" in str(caught.value)
    refuse_foreign_imports(config, ("evil", "x.py:P", "os:system"))


def test_parts_of_networks_need_no_consent():
    """Layers, activation functions and optimizers of torch are harmless; names from tables are no imports."""
    kwargs = {"activation_fn": "torch.nn:ReLU", "optimizer_class": "torch.optim:AdamW"}
    refuse_foreign_imports(Config(policy="MlpPolicy", policy_kwargs=kwargs, device="cuda:0"), ())
    with pytest.raises(PluginError):
        refuse_foreign_imports(Config(policy_kwargs={"activation_fn": "torch.nn.utils:clip_grad_norm_"}), ())


# ------------------------------------------------------------------------------------------------ command line


def test_flags_are_read_as_json_or_text():
    """What parses as JSON is JSON, except for keys that take text."""
    args = parse_train_args(
        [
            *(
                "--config",
                "c.json",
                "--seed=3",
                "--normalize=true",
                "--run_name=3",
                "--policy=null",
                "--plugins",
                '["a"]',
            ),
            *("--algo_kwargs.learning_rate", "1e-3", "--algo_kwargs.ent_coef=auto", "--reward_weights.goal=-2"),
            *("--policy_kwargs.net_arch=[64, 64]", "--policy_kwargs.net_arch.pi=null"),
        ]
    )
    assert args.config_path == "c.json"
    assert args.flags == {
        "seed": 3,
        "normalize": True,
        "run_name": "3",
        "policy": None,
        "plugins": ["a"],
        "algo_kwargs.learning_rate": 1e-3,
        "algo_kwargs.ent_coef": "auto",
        "policy_kwargs.net_arch": [64, 64],
        "policy_kwargs.net_arch.pi": None,
        "reward_weights.goal": -2,
    }


def test_flags_that_are_no_keys():
    """They stand apart from the configuration's keys."""
    args = parse_train_args(["--list-algos", "--json", "--dry-run", "--allow-import", "a", "--allow-import=b:C"])
    assert args.list_algos
    assert args.json
    assert args.dry_run
    assert list(args.allow_import) == ["a", "b:C"]
    assert args.flags == {}
    assert parse_train_args(["--resume", "runs/x", "--seed=1"]).resume == "runs/x"


def test_help_is_grouped_and_light():
    """--help lists every key under its section and imports nothing heavy."""
    done = in_a_new_process("from armature.cli import parse_train_args; parse_train_args(['--help'])")
    assert not loaded(done) & {"torch", "pybullet", "stable_baselines3", "gymnasium", "numpy", "lark"}
    for name, key in schema.keys(Config).items():
        assert f"--{name} " in done.stdout
        assert f"\n{key.section}:\n" in done.stdout


def test_errors_end_with_their_status(capsys):
    """A main returns 0 or its error's status, with one message; other exceptions keep their traceback."""

    @exit_with_status
    def main(argv=None):
        if argv:
            raise argv[0]

    assert main() == 0
    assert main([ConfigError("bad seed")]) == 2
    assert main([RunInUseError("busy")]) == 3
    assert capsys.readouterr().err == "error: bad seed\nerror: busy\n"
    with pytest.raises(ZeroDivisionError):
        main([ZeroDivisionError()])


def test_a_reader_that_goes_away_is_no_traceback():
    """`train.py --help | head -1` ends quietly."""
    code = (
        "from armature.cli import exit_with_status\n"
        "@exit_with_status\n"
        "def main(argv=None):\n    for _ in range(100_000): print('line')\n"
        "raise SystemExit(main())"
    )
    command = f'{sys.executable} -c "$CODE" | head -1'
    done = subprocess.run(
        ["bash", "-c", command], cwd=CONFIGS.parent, env={"CODE": code, "PATH": "/usr/bin:/bin"}, capture_output=True
    )
    assert done.stderr == b""


def test_other_parsers_explain_unknown_flags():
    """test.py uses the same parser."""
    parser = Parser(prog="test.py")
    parser.add_argument("--episodes", type=int)
    assert parser.parse_args(["--episodes=3"]).episodes == 3
    with pytest.raises(ConfigError, match="unknown flag --episode; did you mean '--episodes'"):
        parser.parse_args(["--episode=3"])
    with pytest.raises(ConfigError, match="invalid int value"):
        parser.parse_args(["--episodes=x"])
