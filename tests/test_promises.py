"""Promises to people who come from other systems: ML-Agents' keys, its defects, and what its users complain about."""

import ast
import json
import multiprocessing
import os
import random
import re
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from armature import schema, train
from armature.argument_checks import check_arguments
from armature.checkpoints import checkpoints, newest, read_json, verify
from armature.cli import parse_train_args
from armature.combos import Combo, combo_of, implemented_combos, register
from armature.config import Config
from armature.doors import definition_faults
from armature.errors import ConfigError, DivergedError, PluginError
from armature.hyperparameters import hyperparameters
from armature.making import make_model
from armature.models import load_model
from armature.plugins import load_plugins
from armature.registry import resolve
from armature.vec import SpacesOnly, make_env
from tests.conftest import TOY

ROOT = Path(__file__).parent.parent
PYTORCH = [algo for algo, rows in implemented_combos.items() if "pytorch" in rows]
QUICK = [
    *("--env_name=toy/PointFlat-v0", f'--plugins=["{TOY}"]', "--num_envs=2", "--steps=64", "--tensorboard=false"),
    *("--eval_episodes=2", "--final_eval_episodes=2", "--log_freq=32"),
]
SMALL_PPO = ["--algo=ppo", "--algo_kwargs.n_steps=16", "--algo_kwargs.batch_size=32", "--policy_kwargs.net_arch=[16]"]


# ------------------------------------------------------------------------------------------------ values


def kinds_of(key: schema.Key) -> set[str]:
    return {option.get("type", "") for option in key.schema.get("anyOf", [key.schema])}


@pytest.mark.parametrize(
    "name", [name for name, key in schema.keys(Config).items() if kinds_of(key) & {"boolean", "integer", "number"}]
)
@pytest.mark.parametrize("text", ["false", "1", "many"])
def test_e8_d18_text_is_neither_a_number_nor_true_or_false(name, text):
    with pytest.raises(ConfigError, match=f'{name} is "{text}"; allowed: '):
        Config.load(None, {name: text})


def test_d14_the_order_of_keys_never_matters(tmp_path):
    """Neither for what is loaded nor for what is said."""
    values = {"algo": "ppoo", "algo_kwargs": {"n_steps": 8}, "steps": "x", "zzz": 1}
    messages = set()
    for order in (values, dict(reversed(values.items()))):
        (tmp_path / "cfg.json").write_text(json.dumps(order))
        with pytest.raises(ConfigError) as caught:
            Config.load(tmp_path / "cfg.json")
        messages.add(frozenset(str(caught.value).splitlines()))
    assert len(messages) == 1


def test_d15_hyperparameters_without_an_algorithm_are_those_of_the_default(tmp_path):
    (tmp_path / "cfg.json").write_text('{"algo_kwargs": {"batch_size": 64}}')
    config = Config.load(tmp_path / "cfg.json")
    assert config.algo == Config().algo
    check_arguments(config)


@pytest.mark.parametrize("algo", PYTORCH)
def test_d21_defaults_of_one_algorithm_never_reach_another(algo, capsys):
    """A flag that names another algorithm takes that one's defaults, and nothing of the default's."""
    config = Config.load(None, {"algo": algo})
    check_arguments(config)
    assert config.algo_kwargs == {}
    row = implemented_combos[algo]["pytorch"]
    assert set(row.kwargs) - {"policy_kwargs"} <= set(hyperparameters(resolve(row.algo_class)))


def test_d23_every_key_is_a_flag():
    argv = [f"--{name}={schema.short(key.default)}" for name, key in schema.keys(Config).items()]
    argv = [word.replace('"', "") if "[" not in word else word for word in argv]
    flags = parse_train_args(argv).flags
    assert set(flags) == set(schema.keys(Config))
    assert Config.load(None, flags) == Config()
    assert parse_train_args(["--algo_kwargs.a.b=3"]).flags == {"algo_kwargs.a.b": 3}


# ------------------------------------------------------------------------------------------------ descriptions


def test_r1_4_hyperparameters_are_listed_as_a_json_schema(capsys):
    """What check_algo_kwargs accepts is what the schema says."""
    assert train.main(["--describe-algo", "ppo", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["properties"]) == set(hyperparameters(PPO))
    assert found["additionalProperties"] is False
    assert found["required"] == []
    gamma = found["properties"]["gamma"]
    assert (gamma["type"], gamma["minimum"], gamma["maximum"], gamma["default"]) == ("number", 0, 1, 0.95)
    number, rate = found["properties"]["learning_rate"]["anyOf"]
    assert number["type"] == "number"
    assert rate["properties"]["schedule"] == {"enum": ["linear"]}
    assert {"type": "null"} in found["properties"]["target_kl"]["anyOf"]


# ------------------------------------------------------------------------------------------------ doors


def test_t3_a_whole_algorithm_in_one_short_file(tmp_path):
    """Without a base class, from zero to a trained run."""
    source = (ROOT / "tests/own_learners.py").read_text(encoding="utf-8")
    climber = next(node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    file = tmp_path / "climber.py"
    file.write_text("import json\nfrom pathlib import Path\nimport numpy as np\n" + ast.unparse(climber))
    assert len(file.read_text().splitlines()) <= 60
    assert train.main([*QUICK, "--algo", f"{file}:Climber", f"--logdir={tmp_path}", "--run_name=mine"]) == 0
    assert verify(tmp_path / "mine/final")["step"] >= 64


def test_r1_1_x1_a_plugin_in_the_config(tmp_path, tables):
    plugin = tmp_path / "plugin.py"
    plugin.write_text(
        "from stable_baselines3 import A2C\nfrom armature import Combo, register\n"
        "class Mine(A2C):\n    pass\nregister('mine_by_plugin', 'pytorch', Combo(Mine))\n"
    )
    names = json.dumps([TOY, str(plugin)])
    flags = [*QUICK, "--algo=mine_by_plugin", f"--plugins={names}", f"--logdir={tmp_path}", "--run_name=mine"]
    assert train.main(flags) == 0
    assert read_json(tmp_path / "mine/final/model.json")["algo"] == "mine_by_plugin"


def test_x1_d38_registered_in_this_process_and_made_with_keywords(tmp_path, tables):
    """Policy and environment come first, as in SB3; whatever else there is has its name."""
    seen = []

    class Mine(PPO):
        def __init__(self, policy, env, *args, **kwargs):
            seen.append((args, set(kwargs)))
            super().__init__(policy, env, *args, **kwargs)

    register("mine", "pytorch", Combo(Mine))
    flags = [*QUICK, "--algo=mine", "--algo_kwargs.n_steps=16", "--algo_kwargs.batch_size=32"]
    assert train.main([*flags, f"--logdir={tmp_path}", "--run_name=mine"]) == 0
    assert all(args == () for args, _ in seen)
    assert {"seed", "device", "verbose", "n_steps", "batch_size"} <= seen[0][1]


@pytest.mark.parametrize(
    "row", [row for rows in implemented_combos.values() for row in rows.values() if row.install is None], ids=str
)
def test_r4_4_our_own_rows_pass_the_check_of_plugins(row):
    """They stand in the same table, and ask for no exception."""
    assert list(definition_faults(resolve(row.algo_class))) == []
    assert combo_of([row.algo_class, (row.policy,), row.kwargs], "row").algo_class == row.algo_class


@pytest.mark.parametrize("address", ["evil_module:a-b", "evil_module:A ", "evil_module: A", "evil_module:A:B", "./e:A"])
def test_x13_x17_what_has_not_the_form_of_an_address_is_not_imported(address, tmp_path, monkeypatch):
    """Consent is asked for addresses by their form, so that nothing of another form may be imported."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported!')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="is no address"):
        resolve(address)


def test_x13_x17_an_environments_id_imports_nothing(tmp_path, monkeypatch):
    """Gymnasium would import what stands before a colon, and the id may be that of a received run folder."""
    (tmp_path / "evil_module.py").write_text("raise SystemExit('imported!')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match=r"'evil_module:Env-v0' is no id. Name the module .* in plugins"):
        make_env(Config(env_name="evil_module:Env-v0"), "replay", 0)


# ------------------------------------------------------------------------------------------------ kills and resume


def _train_quietly(argv: list[str]) -> None:
    """Run train.py in a forked process."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os._exit(train.main(argv))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_e2_d25_killed_at_twenty_moments_a_run_goes_on(tmp_path):
    """Each time from a sound checkpoint; configuration, statistics, buffer and tables are there from the start."""
    run, draw = tmp_path / "mine", random.Random(0)
    argv = [
        *QUICK,
        *("--algo=sac", "--normalize=true", "--checkpoint_freq=40", "--eval_freq=80", "--steps=1000000"),
        *("--algo_kwargs.buffer_size=500", "--algo_kwargs.learning_starts=20", "--algo_kwargs.batch_size=16"),
        *("--policy_kwargs.net_arch=[16]", f"--logdir={tmp_path}", "--run_name=mine", "--num_workers=0"),
    ]
    reached = [0]
    for _ in range(20):
        child = multiprocessing.get_context("fork").Process(target=_train_quietly, args=(argv,))
        child.start()
        while int((checkpoints(run) or [Path("0")])[-1].name) <= reached[-1]:
            assert child.is_alive()
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.2))
        child.kill()
        child.join()
        folder = newest(run)
        reached.append(int(folder.name))
        assert {"normalization.npz", "replay/000000000.npz", "state.json"} <= set(verify(folder)["files"])
        assert Config.load(run / "config.json").algo == "sac"
        assert json.loads((run / "run.json").read_text())["seed"] == 0
        argv = ["--resume", str(run), "--allow-import", TOY]
    assert reached == sorted(set(reached))
    assert train.main([*argv, f"--steps={reached[-1] + 40}"]) == 0
    steps = [int(line.split(",")[0]) for line in (run / "metrics.csv").read_text().splitlines()[1:]]
    assert steps == sorted(set(steps))


def test_t8_how_to_go_on_past_the_end_is_told(tmp_path, capsys):
    flags = [*QUICK, *SMALL_PPO, f"--logdir={tmp_path}", "--run_name=mine"]
    assert train.main(flags) == 0
    resume = ["--resume", str(tmp_path / "mine"), "--allow-import", TOY]
    assert train.main(resume) == 2
    assert "Give it more with --steps=128" in capsys.readouterr().err
    assert train.main([*resume, "--steps=128"]) == 0
    assert verify(tmp_path / "mine/final")["step"] == 128


def test_t8_a_schedule_is_told_at_the_start(tmp_path, capsys):
    rate = '--algo_kwargs.learning_rate={"schedule": "linear", "start": 0.001, "end": 0.0}'
    assert train.main([*QUICK, *SMALL_PPO, rate, f"--logdir={tmp_path}", "--run_name=mine"]) == 0
    assert "learning_rate changes until step 64: another number of steps stretches it" in capsys.readouterr().out


def test_f14_memory_is_carried_in_a_replay(make_config, train):
    """A recurrent model acts on what it has seen, unless an episode begins."""
    session = train(make_config("ppo_lstm", steps=64))
    model = load_model(session.checkpoints.save(), allow_import=session.config.plugins)
    seen = np.full((1, 4), 0.5, np.float32)
    first, state = model.predict(seen, None, np.array([True]))
    second, _ = model.predict(seen, state, np.array([False]))
    anew, _ = model.predict(seen, state, np.array([True]))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, anew)


# ------------------------------------------------------------------------------------------------ divergence


class Poison(BaseCallback):
    """Makes a weight NaN after some steps, or reports a loss that is."""

    def __init__(self, step: int, loss: bool = False):
        super().__init__()
        self.step_, self.loss = step, loss

    def _on_step(self):
        if self.num_timesteps > self.step_:
            if self.loss:
                self.logger.record("train/own_loss", float("nan"))
            else:
                next(self.model.policy.parameters()).data[0] = float("nan")
        return True


def test_f19_t13_d29_weights_that_are_not_finite_are_not_saved(make_config, train):
    """The message names one; the last good checkpoint and the best model stay as they are."""
    first = train(make_config("td3", steps=100, checkpoint_freq=50))
    config = make_config("td3", steps=1000, checkpoint_freq=50, log_freq=0, eval_freq=0)
    with pytest.raises(DivergedError, match=r"the action of environment 0 is not finite at step.*learning_rate"):
        train(config, first.run, newest(first.run), extra=[Poison(120)])
    assert newest(first.run).name == "000000100"
    for folder in (*checkpoints(first.run), first.run / "best"):
        assert load_model(folder, allow_import=config.plugins).step <= 100


def test_f19_a_loss_that_is_not_finite_ends_the_training(make_config, train):
    with pytest.raises(DivergedError, match=r"train/own_loss is nan at \d+ steps"):
        train(make_config("sac", steps=1000), extra=[Poison(50, loss=True)])


def test_f19_nan_is_told_where_it_comes_up(tmp_path, capsys, monkeypatch):
    """Before torch refuses the distribution that NaN weights would make."""
    before = PPO.train

    def diverge(self):
        before(self)
        next(self.policy.parameters()).data[0] = float("inf")

    monkeypatch.setattr(PPO, "train", diverge)
    flags = [*QUICK, *SMALL_PPO, "--eval_freq=0", "--log_freq=0", f"--logdir={tmp_path}", "--run_name=mine"]
    assert train.main(flags) == 1
    assert re.search(r"error: training has diverged: the gradient of policy\S* is not finite", capsys.readouterr().err)
    assert not (tmp_path / "mine/final").exists()


def test_d29_t17_what_fails_after_training_loses_nothing(tmp_path, monkeypatch):
    """Drawing, filming and the last evaluation come when the model is saved."""

    def broken(run):
        raise RuntimeError("no fonts")

    monkeypatch.setattr("armature.plots.plot_learning_curve", broken)
    with pytest.raises(RuntimeError, match="no fonts"):
        train.main([*QUICK, *SMALL_PPO, f"--logdir={tmp_path}", "--run_name=mine"])
    assert verify(tmp_path / "mine/final")["step"] == 64
    assert newest(tmp_path / "mine").name == "000000064"
    assert load_model(tmp_path / "mine", allow_import=[TOY]).step == 64


# ------------------------------------------------------------------------------------------------ the project


def test_d35_requirements_are_ranges():
    """No exact version is demanded: an installer would go years back to satisfy it."""
    setup = (ROOT / "setup.py").read_text(encoding="utf-8")
    block = setup[setup.index("install_requires") : setup.index("classifiers")]
    found = re.findall(r'"([\w.-]+(?:\[\w+\])?)([<>=!~][^"]*)"', block)
    assert len(found) > 10
    assert [name for name, versions in found if not versions.startswith(">=") or "==" in versions] == []
    assert 'python_requires=">=3.10"' in setup


def test_d36_nothing_leaves_the_machine(tmp_path, monkeypatch):
    """A run connects to nothing, and nothing that could is imported by us."""

    def refuse(*args):
        raise AssertionError(f"connects to {args[1:]}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert train.main([*QUICK, *SMALL_PPO, f"--logdir={tmp_path}", "--run_name=mine"]) == 0
    for folder in ("armature", "envs", "myalgos"):
        for file in (ROOT / folder).rglob("*.py"):
            nodes = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
            names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
            names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
            assert not {"urllib.request", "http.client", "requests", "httpx"} & names, file


def test_d37_every_generator_is_seeded():
    """Python's own, NumPy's and torch's, by whatever algorithm is made."""
    load_plugins()
    env = SpacesOnly(spaces.Box(-1, 1, (4,)), spaces.Box(-1, 1, (2,)))
    draws = []
    for _ in range(2):
        make_model(PPO, "MlpPolicy", {"n_steps": 16, "batch_size": 16}, env, Config(algo="ppo", seed=5))
        draws.append((random.random(), float(np.random.rand()), float(torch.rand(1))))
    assert draws[0] == draws[1]


def slugs(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_r1_17_links_of_every_page_lead_somewhere():
    """Files and headings; addresses of other sites are not asked."""
    broken = []
    pages = [
        *ROOT.glob("*.md"),
        *(page for folder in ("docs", "configs", "examples") for page in (ROOT / folder).rglob("*.md")),
    ]
    for page in pages:
        text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            if "://" in link or link.startswith("mailto:"):
                continue
            if not target.exists() or (anchor and anchor not in slugs(target)):
                broken.append(f"{page.relative_to(ROOT)}: {link}")
    assert broken == []
