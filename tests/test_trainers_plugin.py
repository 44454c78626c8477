"""The example package, the reference page and the tutorial: trainers as others bring them."""

import ast
import inspect
import json
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import torch

import armature
from armature import train as train_script
from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.controllers import Random
from armature.describe import create_config, describe_algo
from armature.discovery import row_of
from armature.evaluation import evaluate
from armature.making import make_model
from armature.models import load_model, restore_model, save_model
from armature.trainers import base, off_policy, on_policy, optimizer, reward_signals, settings, trajectory
from armature.vec import make_vec_env
from tests import tutorials
from tests.toy_trainers import Off, On

ROOT = Path(armature.__file__).parent.parent
PACKAGE = ROOT / "examples/trainer_plugin"
PLUGIN = PACKAGE / "armature_trainer_plugin"
REFERENCE = ROOT / "docs/trainers.md"
TUTORIAL = ROOT / "docs/tutorials/trainer_plugin.md"
SMALL = {
    "plugin_a2c": {"buffer_size": 32, "batch_size": 32},
    "plugin_dqn": {"buffer_init_steps": 64, "batch_size": 32, "buffer_size": 2000},
    "toy_on": {"buffer_size": 40, "batch_size": 20, "reward_signals": {"extrinsic": {}, "rnd": {"strength": 0.1}}},
    "toy_off": {"buffer_init_steps": 64, "batch_size": 16, "buffer_size": 2000},
}


@pytest.fixture
def rows(tables, monkeypatch):
    """Bring the trainers of the package and of the tests into the table."""
    import importlib

    monkeypatch.syspath_prepend(str(PACKAGE))
    for name in ("a2c", "dqn"):
        module = importlib.import_module(f"armature_trainer_plugin.{name}")
        register(f"plugin_{name}", "pytorch", row_of(f"plugin_{name}", module.get_type_and_setting))
    register("toy_on", "pytorch", Combo(On))
    register("toy_off", "pytorch", Combo(Off, actions="box"))


@pytest.fixture
def small(make_config, rows):
    """Return a function that makes the configuration of a short training of a trainer."""

    def make(algo, **keys):
        return make_config(algo, **{"algo_kwargs": SMALL[algo], "policy_kwargs": {"net_arch": [16]}, **keys})

    return make


def built(config):
    """Return a fresh model, as train.py makes it."""
    row = implemented_combos[config.algo]["pytorch"]
    return make_model(
        row.algo_class, row.policy, {**row.kwargs, **config.algo_kwargs}, make_vec_env(config, "train", 2), config
    )


def weights(model):
    """Return all tensors that a model saves."""
    found = {}
    for name, state in model.get_parameters().items():
        parts = state["state"] if "param_groups" in state else {"": state}
        found |= {f"{name}/{i}/{key}": value for i, part in parts.items() for key, value in part.items()}
    return {name: value.clone() for name, value in found.items()}


# ---------------------------------------------------------------------------------------------- rows like any other


@pytest.mark.parametrize("algo", SMALL)
def test_r1_11_trainers_train_are_evaluated_and_replay(algo, small, train):
    config = small(algo, normalize=algo == "toy_off")
    session = train(config)
    assert session.evaluations.latest is not None
    assert (session.run / "best/model.zip").is_file()
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert loaded.step == session.model.num_timesteps == 300
    space = session.model.env.observation_space
    space.seed(0)
    for _ in range(50):
        seen = space.sample()
        ours, theirs = (
            session.model.policy.predict(seen, deterministic=True)[0],
            loaded.model.policy.predict(seen, deterministic=True)[0],
        )
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("algo", SMALL)
def test_r1_7_r1_11_r4_8_trainers_resume(algo, small, train):
    """Weights, moments, signals, counters and replay buffer are what they were, and the training goes on."""
    session = train(small(algo))
    checkpoint = session.checkpoints.save()
    fresh = built(small(algo))
    restore_model(fresh, checkpoint)
    before, after = weights(session.model), weights(fresh)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any("optimizer.adam" in name for name in before)
    assert fresh._n_updates == session.model._n_updates > 0
    assert fresh.num_timesteps == session.model.num_timesteps
    if hasattr(fresh, "replay_buffer"):
        assert fresh.replay_buffer.size() == session.model.replay_buffer.size() == 300
        assert np.array_equal(fresh.replay_buffer.rewards, session.model.replay_buffer.rewards)
    further = train(small(algo, steps=400), session.run, checkpoint)
    assert further.model.num_timesteps == 400
    assert further.model._n_updates > fresh._n_updates


@pytest.mark.parametrize("algo", ["plugin_a2c", "plugin_dqn"])
def test_trainers_take_dict_observations(algo, small, train):
    session = train(small(algo, env_name="toy/Point-v0", steps=150))
    assert session.model._n_updates > 0
    assert type(session.model.policy).__name__.startswith("MultiInput")


def test_r1_11_both_learn(small, train):
    """On an environment where that takes seconds."""
    for algo, steps, rate in (("plugin_a2c", 4000, 0.01), ("plugin_dqn", 2500, 0.003)):
        config = small(algo, steps=steps, eval_freq=0, num_envs=4, algo_kwargs={**SMALL[algo], "learning_rate": rate})
        before = train(small(algo, steps=40, eval_freq=0)).evaluations.evaluate()
        after = train(config).evaluations.evaluate()
        assert before.success_rate < 0.5 < 0.9 <= after.success_rate, algo


def test_d34_dqn_explores_by_its_settings_and_replays_the_best_action(small):
    config = small("plugin_dqn", algo_kwargs={**SMALL["plugin_dqn"], "exploration_fraction": 0.5})
    model = built(config)
    assert model.action_space.n == 2 * 4 + 1
    shares = []
    for remaining in (1.0, 0.75, 0.5, 0.0):
        model._current_progress_remaining = remaining
        shares.append(model.epsilon)
    assert shares == pytest.approx([1.0, 0.525, 0.05, 0.05])
    model.num_timesteps, model._current_progress_remaining = 1000, 0.0
    seen = np.stack([model.observation_space.sample() for _ in range(2)])
    best = model.policy.q_net(torch.as_tensor(seen)).argmax(dim=1).numpy()
    assert np.array_equal(model.predict(seen, deterministic=True)[0], best)
    taken = np.array([model.act(seen).action for _ in range(400)])
    assert 0.9 < (taken == best).mean() < 1.0


@pytest.mark.parametrize("algo", ["toy_off", "plugin_dqn"])
def test_r1_9_demonstrations_are_a_share_of_every_batch(algo, small, train, tmp_path):
    demonstrations = pytest.importorskip("armature.demonstrations")
    config, path = small(algo), tmp_path / "demos.npz"
    env = demonstrations.Recorder(make_vec_env(config, "train", 2))
    evaluate(Random(env, 0), env, 60)  # some of them end near the goal
    demonstrations.save_demonstrations(path, env.episodes, env, config, "chance")
    session = train(small(algo, demonstrations={"path": str(path), "fraction": 0.25}))
    shown = session.model.replay_buffer.demonstrations
    batch = session.model.sample(16)
    known = {tuple(row) for row in shown.observations[:, 0].tolist()}
    assert [tuple(row) in known for row in batch["obs"].tolist()] == [False] * 12 + [True] * 4
    fresh = built(small(algo, demonstrations={"path": str(path), "fraction": 0.25}))
    restore_model(fresh, session.checkpoints.save())
    assert fresh.replay_buffer.size() == session.model.replay_buffer.size()


# ---------------------------------------------------------------------------------------------- settings in texts


def test_r1_4_settings_stand_in_every_text(rows, tmp_path):
    text = describe_algo("plugin_a2c")
    assert "ent_coef: float, default 0.0" in text
    assert "Weight of the policy's entropy" in text
    text = create_config(Config(algo="plugin_dqn"))
    assert re.search(r"// float: Share of random actions at the start\.\n\s+\"exploration_initial_eps\": 1\.0", text)
    (tmp_path / "c.json").write_text(text)
    assert Config.load(tmp_path / "c.json").algo_kwargs["tau"] == 0.01


def test_r1_4_a_wrong_setting_ends_train_py_with_one_message(rows, tmp_path, capsys):
    assert train_script.main(["--algo=plugin_a2c", "--algo_kwargs.ent_coeff=1", f"--logdir={tmp_path / 'runs'}"]) == 2
    assert "algo_kwargs.ent_coeff: unknown argument; did you mean 'ent_coef'?" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("file", sorted(PLUGIN.rglob("*.json")), ids=lambda path: path.stem)
def test_r1_13_the_configurations_of_the_package_train(file, rows, tmp_path, capsys):
    flags = ["--steps=1100", "--num_envs=4", "--eval_freq=0", "--final_eval_episodes=2", "--checkpoint_freq=0"]
    flags += [f"--logdir={tmp_path}", "--run_name=x", "--tensorboard=false"]
    assert train_script.main(["--config", str(file), *flags]) == 0
    model = json.loads((tmp_path / "x/final/model.json").read_text())
    assert model["algo"] == f"plugin_{file.parent.name}"
    assert model["counters"]["_n_updates"] > 0


# ---------------------------------------------------------------------------------------------- the API, from outside


def test_r1_2_the_example_imports_public_names_only():
    files = list(PLUGIN.rglob("*.py"))
    assert len(files) >= 8
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not any(alias.name.split(".")[0] == "armature" for alias in node.names), file
            elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "armature":
                assert node.module == "armature", file
                assert {alias.name for alias in node.names} <= set(armature.__all__), file


def test_r1_14_d9_the_metadata_of_the_package_imports_nothing():
    assert not (PACKAGE / "setup.py").exists()
    text = (PACKAGE / "pyproject.toml").read_text()
    assert "dynamic" not in text
    assert re.findall(r"^requires = (.*)$", text, re.M) == ['["setuptools>=61"]']


API = [
    *(base.Trainer, base.Decision, on_policy.OnPolicyTrainer, off_policy.OffPolicyTrainer, optimizer.Optimizer),
    *(reward_signals.RewardSignal, trajectory.Trajectory),
    *(settings.TrainerSettings, settings.OnPolicySettings, settings.OffPolicySettings, settings.RewardSignalSettings),
]


@pytest.mark.parametrize("cls", API, ids=lambda cls: cls.__name__)
def test_r1_5_r1_17_every_public_or_abstract_member_is_documented(cls):
    page = REFERENCE.read_text()
    assert cls.__doc__
    hooks = {name for name in vars(base.Trainer) if name in getattr(base.Trainer, "__abstractmethods__", ())}
    for name, member in vars(cls).items():
        if name.startswith("_") and name not in hooks:
            continue
        function = member.__func__ if isinstance(member, (staticmethod, classmethod)) else member
        function = function.fget if isinstance(function, property) else function
        if inspect.isfunction(function):
            assert function.__doc__, f"{cls.__name__}.{name} has no docstring"
            assert re.search(rf"`(\w+\(.*\), )?{name}[`(]", page), f"{name} is not in docs/trainers.md"
    fields = getattr(cls, "model_fields", None) or getattr(cls, "__dataclass_fields__", {})
    for name, field in fields.items():
        assert re.search(rf"`{name}`|\b{name}\b", page), f"{name} is not in docs/trainers.md"
        assert not hasattr(field, "description") or field.description, f"{cls.__name__}.{name} has no meaning"


def test_r1_5_the_defaults_in_the_reference_are_those_of_the_classes():
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]+) \|", REFERENCE.read_text().partition("<!-- settings")[2], re.M)
    rows = rows[: rows.index(("tau", "0.005")) + 1]
    names = [*settings.TrainerSettings.model_fields]
    own = [name for name in settings.OnPolicySettings.model_fields if name not in names]
    off = [name for name in settings.OffPolicySettings.model_fields if name not in names]
    assert [name for name, _ in rows] == [*names, *own, *off]
    classes = [settings.TrainerSettings] * len(names) + [settings.OnPolicySettings] * len(own)
    for (name, text), cls in zip(rows, [*classes, *[settings.OffPolicySettings] * len(off)], strict=True):
        assert json.loads(text.strip("` ").replace(",0", "0")) == cls.model_fields[name].default, name


def test_r1_2_the_reference_names_the_version_of_its_api():
    assert f"Armature {'.'.join(armature.__version__.split('.')[:2])}" in REFERENCE.read_text()


def test_r1_17_links_lead_somewhere():
    for page in (REFERENCE, TUTORIAL, PACKAGE / "README.md"):
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page}: {link}"


# ---------------------------------------------------------------------------------------------- installed


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Return the Python of an environment of its own, which sees this one's packages."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    packages = next(folder.glob("lib/python*/site-packages"))
    (packages / "parent.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder / "bin/python"


@pytest.fixture
def in_venv(python, monkeypatch):
    """Run tutorials in that environment; builds take their tools from this one, since tests may have no network."""
    monkeypatch.setattr(tutorials.sys, "executable", str(python))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's spelling of "switch isolation off"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.slow
def test_r1_3_r1_10_r1_12_r1_15_r1_16_r4_18_r4_23_installing_brings_names_and_uninstalling_takes_them(
    in_venv, tmp_path
):
    """The commands of the package's page, as printed, with a small number of steps."""
    assert not entry_points(group="armature.algos", name="plugin_a2c")
    commands = [line.strip() for line in (PACKAGE / "README.md").read_text().splitlines() if line.startswith("    ")]
    small = " --steps=1100 --num_envs=4 --eval_freq=0 --final_eval_episodes=2 --tensorboard=false"
    commands = [line + (small if "train.py" in line else "") for line in commands]
    commands = [line + (" --episodes=2" if "test.py" in line else "") for line in commands]
    listing = "python train.py --list-algos"
    page = ["pip install", *commands[1:], listing, "pip uninstall -q -y armature-trainer-plugin", listing]
    page[0] = commands[0].replace("pip", "python -m pip", 1)
    page[-2] = page[-2].replace("pip", "python -m pip", 1)
    text = "".join(f"```bash\n{line}\n```\n" for line in page)
    (tmp_path / "page.md").write_text(text)
    (tmp_path / "work").mkdir()
    outputs = tutorials.run_tutorial(tmp_path / "page.md", tmp_path / "work")
    assert "algorithm  plugin_a2c (A2CTrainer, pytorch)" in outputs[1]
    assert "2 episodes of model control" in outputs[2]
    assert "plugin_dqn" in outputs[3]
    assert {"plugin_a2c", "plugin_dqn"} <= set(outputs[4].split())
    assert not {"plugin_a2c", "plugin_dqn"} & set(outputs[-1].split())


@pytest.mark.slow
def test_r4_5_x16_the_tutorial_runs_as_printed(in_venv, tmp_path):
    code = [block for block in tutorials.blocks(TUTORIAL) if block.title and block.title.endswith((".py", ".toml"))]
    assert sum(len(block.code.splitlines()) for block in code) <= 120
    outputs = "\n".join(tutorials.run_tutorial(TUTORIAL, tmp_path))
    assert "my_ppo" in outputs
    assert "clip_range: float, default 0.3" in outputs
    assert "FAIL" not in outputs
