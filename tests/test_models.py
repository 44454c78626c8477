"""Models: every row trains, is saved, and comes back the same; nothing is unpickled; what does not fit is refused."""

import io
import json
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces

import armature
from armature.checkpoints import read_json, write_folder, write_json
from armature.combos import Combo, implemented_combos, register
from armature.config import Config
from armature.errors import ConfigError, PluginError, RunError, UnknownNameError
from armature.making import make_model
from armature.models import Player, find_model, load_model, load_pretrained, restore_model, save_model
from armature.plugins import load_plugins
from armature.policies import choose_policy
from armature.state import space_from_json, space_to_json
from armature.vec import SpacesOnly, make_vec_env, normalized

ROOT = Path(armature.__file__).parent.parent
load_plugins()
ROWS = [(algo, framework) for algo, rows in implemented_combos.items() for framework in rows]
ROW_NAMES = ["-".join(row) for row in ROWS]
HINDSIGHT = [algo for algo, rows in implemented_combos.items() if rows["pytorch"].hindsight]


def build(config, env=None):
    """Make a fresh model, as train.py does."""
    env = env or make_vec_env(config, "train", config.num_envs)
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)


def same_actions(first, second, space, n=100):
    """Whether two models answer to the same observations with the same bits."""
    space.seed(0)
    observations = [space.sample() for _ in range(n)]
    return all(
        np.array_equal(first.predict(seen, deterministic=True)[0], second.predict(seen, deterministic=True)[0])
        for seen in observations
    )


def tensors(model):
    """Return every tensor that a model saves, by name."""
    found = {}
    for name, state in model.get_parameters().items():
        flat = state["state"] if "param_groups" in state else {"": state}
        found |= {f"{name}/{i}/{key}": value for i, values in flat.items() for key, value in values.items()}
    for name in model._get_torch_save_params()[1]:
        found[name] = getattr(model, name)
    return {name: value.detach().clone() for name, value in found.items() if isinstance(value, torch.Tensor)}


# ---------------------------------------------------------------------------------------------- every row


@pytest.mark.parametrize(("algo", "framework"), ROWS, ids=ROW_NAMES)
def test_x3_a2_every_row_trains_saves_and_reloads(algo, framework, make_config, train):
    if framework == "jax":
        pytest.importorskip("sbx")
    config = make_config(algo, train_framework=framework)
    session = train(config)
    folder = save_model(session.model, session.run / "final", config)
    loaded = load_model(folder, allow_import=config.plugins)
    assert loaded.step == session.model.num_timesteps >= 300
    assert type(loaded.model) is type(session.model)
    assert same_actions(session.model, loaded, session.model.env.observation_space)


@pytest.mark.parametrize(("algo", "framework"), ROWS, ids=ROW_NAMES)
def test_x3_f2_e5_t10_every_row_resumes(algo, framework, make_config, train):
    """Weights, optimizers, entropy coefficient, replay buffer and counters are what they were."""
    if framework == "jax":
        pytest.importorskip("sbx")
    config = make_config(algo, train_framework=framework)
    session = train(config)
    fresh = build(config)
    restore_model(fresh, session.checkpoints.save())
    assert fresh.num_timesteps == session.model.num_timesteps
    assert fresh._n_updates == session.model._n_updates > 0
    before, after = tensors(session.model), tensors(fresh)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    if framework == "jax":
        from armature.weights import jax_arrays

        arrays = jax_arrays(fresh)
        assert all(np.array_equal(value, arrays[name]) for name, value in jax_arrays(session.model).items())
    if algo == "ars":
        assert torch.equal(session.model.weights, fresh.weights)
    if getattr(fresh, "replay_buffer", None) is not None:
        assert fresh.replay_buffer.size() == session.model.replay_buffer.size() > 100


@pytest.mark.parametrize("algo", HINDSIGHT)
def test_hindsight_with_every_row_that_can(algo, make_config, train):
    config = make_config(algo, replay_buffer="her")
    session = train(config)
    assert type(session.model.replay_buffer).__name__ == "HindsightReplayBuffer"
    loaded = load_model(session.checkpoints.save(), allow_import=config.plugins)
    assert same_actions(session.model, loaded, session.model.env.observation_space, n=10)


def test_normalisation_travels_with_the_model(make_config, train):
    """A loaded model takes observations as they are."""
    config = make_config("sac", normalize=True)
    session = train(config)
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    space = make_vec_env(config, "replay", 1).observation_space
    assert same_actions(Player(session.model), loaded, space)
    assert not same_actions(session.model, loaded, space)
    fresh = build(config, normalized(make_vec_env(config, "train", 2)))
    restore_model(fresh, session.checkpoints.save())
    np.testing.assert_array_equal(fresh.env.obs_rms.mean, session.model.env.obs_rms.mean)
    assert fresh.env.obs_rms.count == session.model.env.obs_rms.count


def test_normalisation_of_goals_travels_too(make_config, train):
    config = make_config("her", normalize=True)
    session = train(config)
    loaded = load_model(session.checkpoints.save(), allow_import=config.plugins)
    assert same_actions(Player(session.model), loaded, make_vec_env(config, "replay", 1).observation_space, n=10)


# ---------------------------------------------------------------------------------------------- making


def test_hindsight_waits_for_the_first_episodes(make_config):
    config = make_config("her", num_envs=4, algo_kwargs={"learning_starts": 10, "buffer_size": 1000})
    assert build(config).learning_starts == 4 * 20


def test_hindsight_needs_goals(make_config):
    with pytest.raises(ConfigError, match="hindsight needs observations with the keys"):
        build(make_config("sac", replay_buffer="her", env_name="toy/PointFlat-v0"))


def test_dense_rewards_are_relabelled_from_infos(make_config):
    """The terms of a dense reward need more than the goals."""
    for reward, copied in (("dense", True), ("sparse", False)):
        model = build(Config(algo="her", reward=reward, num_envs=1, algo_kwargs={"buffer_size": 100}))
        assert model.replay_buffer.copy_info_dict is copied
        model.env.close()


def test_policies_by_name_address_and_mistake(make_config):
    address = "stable_baselines3.common.policies:ActorCriticPolicy"
    assert type(build(make_config(policy=address)).policy).__name__ == "ActorCriticPolicy"
    with pytest.raises(UnknownNameError, match="did you mean 'MlpPolicy'"):
        build(make_config(policy="MlpPolice"))


def test_arguments_of_the_run_go_only_to_classes_that_take_them(make_config, tables):
    class Plain:
        """Takes nothing that it did not ask for."""

        def __init__(self, policy, env, seed):
            self.seed = seed

        def learn(self, total_timesteps, callback):
            return self

        def predict(self, observation, deterministic):
            return None

        def save(self, path):
            pass

        @classmethod
        def load(cls, path):
            return cls(None, None, 0)

    register("plain", "pytorch", Combo(Plain, policy="any"))
    assert build(make_config("plain", algo_kwargs={}, policy_kwargs={}, seed=5)).algorithm.seed == 5


@pytest.mark.parametrize(
    ("space", "combo", "policy"),
    [
        (spaces.Box(-1, 1, (3,)), Combo("x:Y"), "MlpPolicy"),
        (spaces.Discrete(3), Combo("x:Y"), "MlpPolicy"),
        (spaces.Box(0, 255, (64, 64, 3), np.uint8), Combo("x:Y"), "CnnPolicy"),
        (spaces.Box(0, 1, (64, 64, 3), np.float32), Combo("x:Y"), "MlpPolicy"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (3,))}), Combo("x:Y"), "MultiInputPolicy"),
        (spaces.Box(-1, 1, (3,)), Combo("x:Y", recurrent=True), "MlpLstmPolicy"),
        (spaces.Dict({"a": spaces.Box(-1, 1, (3,))}), Combo("x:Y", recurrent=True), "MultiInputLstmPolicy"),
    ],
)
def test_the_policy_fits_the_observations(space, combo, policy):
    assert choose_policy(space, combo) == policy


def test_dict_observations_are_refused_where_they_cannot_be():
    with pytest.raises(ConfigError, match="accepts no dict observations"):
        choose_policy(spaces.Dict({"a": spaces.Discrete(2)}), Combo("x:Y", dict_observations=False))


# ---------------------------------------------------------------------------------------------- finding


@pytest.fixture
def trained(make_config, train):
    """A short SAC run with best, final and checkpoints."""
    config = make_config("sac")
    session = train(config)
    config.save(session.run / "config.json")
    save_model(session.model, session.run / "final", config)
    return session


def test_a_run_means_its_best_then_final_then_newest(trained):
    run = trained.run
    assert find_model(run) == run / "best"
    assert find_model(run / "checkpoints" / "000000200") == run / "checkpoints" / "000000200"
    assert find_model(None, run.parent) == run / "best"
    shutil.rmtree(run / "best")
    assert find_model(run) == run / "final"
    shutil.rmtree(run / "final")
    assert find_model(run).name == "000000300"


def test_a_damaged_model_is_passed_over_with_a_word(trained, caplog):
    run = trained.run
    for name, following in (("best", run / "final"), ("final", run / "checkpoints" / "000000300")):
        with (run / name / "model.zip").open("r+b") as file:
            file.write(b"broken")
        assert find_model(run) == following
        assert f"skipping {name}: {run / name} is damaged: the content of model.zip" in caplog.text
        with pytest.raises(RunError, match="damaged"):
            load_model(run / name)  # who asks for this one gets no other


def test_no_model_is_an_error_that_helps(tmp_path):
    with pytest.raises(RunError, match=r"python train\.py"):
        find_model(None, tmp_path)
    with pytest.raises(RunError, match="no run folder"):
        load_model(tmp_path / "nothing")


def test_code_that_only_a_folder_names_is_not_imported(trained):
    with pytest.raises(PluginError, match="--allow-import"):
        load_model(trained.run)


# ---------------------------------------------------------------------------------------------- hostile files


AUDITED = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
from armature.combos import implemented_combos
from armature.making import make_model
from armature.models import load_model, restore_model
from armature.plugins import load_plugins
from armature.registry import resolve
from armature.vec import make_vec_env
load_plugins([sys.argv[3]])
resolve("sb3_contrib:ARS")
events, original, unsafe = [], torch.load, []
def load(*args, **kwargs):
    if kwargs.get("weights_only") is not True:
        unsafe.append(kwargs)
    return original(*args, **kwargs)
torch.load = load
sys.addaudithook(lambda name, details: events.append(details) if name == "pickle.find_class" else None)
loaded = load_model(sys.argv[2], allow_import=[sys.argv[3]])
config = loaded.config
algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
env = make_vec_env(config, "train", config.num_envs)
restore_model(make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config), loaded.folder)
print(len(events), len(unsafe), loaded.step)
"""


@pytest.mark.parametrize("algo", ["ppo", "sac", "her"])
def test_x13_loading_unpickles_nothing(algo, make_config, train):
    """Counted by an audit hook in a fresh process; a payload in the file's pickled part is never looked at."""
    config = make_config(algo)
    folder = train(config).checkpoints.save()
    (canary := folder.parent / "canary").unlink(missing_ok=True)

    class Payload:
        def __reduce__(self):
            return Path.touch, (canary,)

    poison(folder, {"data": pickle.dumps(Payload())})
    command = [sys.executable, "-c", AUDITED, str(ROOT), str(folder), config.plugins[0]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["0", "0", str(read_json(folder / "manifest.json")["step"])], done.stderr
    assert not canary.exists()


def poison(folder, members, compression=zipfile.ZIP_STORED, twice=()):
    """Change members of a model.zip and make the folder whole again, as somebody hostile would."""
    with zipfile.ZipFile(folder / "model.zip") as archive:
        content = {name: archive.read(name) for name in archive.namelist()} | members
    copied = folder.with_name("copy")
    shutil.copytree(folder, copied)

    def write(draft):
        shutil.copytree(copied, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        with zipfile.ZipFile(draft / "model.zip", "w", compression) as archive:
            for name, data in [*content.items(), *((name, content[name]) for name in twice)]:
                archive.writestr(name, data)

    write_folder(folder, read_json(folder / "manifest.json")["step"], write)
    shutil.rmtree(copied)


def saved(data):
    """Return what torch.save writes."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    return buffer.getvalue()


class Evil:
    """Does something when it is unpickled."""

    def __reduce__(self):
        return print, ("this must not be printed",)


def with_weight(model, change):
    """Return a policy's state with one tensor changed."""
    state = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    name = next(iter(state))
    changed = change(state[name])
    return saved({**state, name: changed} if changed is not None else dict(list(state.items())[1:]))


HOSTILE = {
    "NaN": lambda model: {"policy.pth": with_weight(model, lambda tensor: tensor * float("nan"))},
    "shape": lambda model: {"policy.pth": with_weight(model, lambda tensor: tensor[:1])},
    "dtype": lambda model: {"policy.pth": with_weight(model, lambda tensor: tensor.double())},
    "missing": lambda model: {"policy.pth": with_weight(model, lambda tensor: None)},
    "no tensor": lambda model: {"policy.pth": with_weight(model, lambda tensor: "text")},
    "no dict": lambda model: {"policy.pth": saved([1, 2])},
    "extra": lambda model: {"policy.pth": saved({**model.policy.state_dict(), "more": torch.zeros(1)})},
    "pickle": lambda model: {"policy.pth": saved(Evil())},
    "garbage": lambda model: {"policy.pth": b"not a file of torch"},
    "large": lambda model: {"policy.pth": saved({"x": torch.zeros(3_000_000)})},
    "unknown member": lambda model: {"../../etc/evil.pth": saved({})},
    "variable": lambda model: {"pytorch_variables.pth": saved({"log_ent_coef": torch.zeros(2)})},
    "other variable": lambda model: {"pytorch_variables.pth": saved({"num_timesteps": torch.zeros(1)})},
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_d27_files_that_do_not_fit_are_refused(kind, trained, capsys):
    """And the model that they were meant for keeps its weights."""
    folder = trained.run / "final"
    poison(folder, HOSTILE[kind](trained.model))
    fresh = build(trained.config)
    before = tensors(fresh)
    with pytest.raises(RunError):
        load_pretrained(fresh, folder)
    assert all(torch.equal(value, tensors(fresh)[name]) for name, value in before.items())
    assert "must not be printed" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("how", [{"compression": zipfile.ZIP_DEFLATED}, {"twice": ["policy.pth"]}])
def test_archives_of_another_kind_are_refused(how, trained):
    poison(trained.run / "final", {}, **how)
    with pytest.raises(RunError, match="refused"):
        load_model(trained.run / "final", allow_import=trained.config.plugins)


@pytest.mark.parametrize("change", [lambda moment: moment * float("inf"), lambda moment: moment[:1]])
def test_moments_that_do_not_fit_are_refused(change, trained):
    folder = trained.checkpoints.save()
    state = trained.model.actor.optimizer.state_dict()
    state["state"][0]["exp_avg"] = change(state["state"][0]["exp_avg"] + 1)
    poison(folder, {"actor.optimizer.pth": saved(state)})
    with pytest.raises(RunError, match="exp_avg of parameter 0"):
        restore_model(build(trained.config), folder)


def test_settings_of_an_optimizer_come_from_the_config(trained):
    folder = trained.checkpoints.save()
    state = trained.model.actor.optimizer.state_dict()
    state["param_groups"][0]["betas"] = (0.0, 0.0)
    poison(folder, {"actor.optimizer.pth": saved(state)})
    fresh = build(trained.config)
    restore_model(fresh, folder)
    assert fresh.actor.optimizer.param_groups[0]["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"observation_space": {"type": "Box"}}, "describes a space wrongly"),
        ({"observation_space": {"type": "Spiral"}}, "unknown kind"),
        ({"config": {"algoo": "sac"}}, "does not understand"),
        ({"counters": None}, "no description of a model"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(change, message, trained):
    folder = trained.run / "final"
    copied = shutil.copytree(folder, trained.run / "copy")

    def write(draft):
        shutil.copytree(copied, draft, dirs_exist_ok=True, ignore=shutil.ignore_patterns("manifest.json"))
        write_json(draft / "model.json", {**read_json(folder / "model.json"), **change})

    write_folder(folder, 1, write)
    with pytest.raises(RunError, match=message):
        load_model(folder, allow_import=trained.config.plugins)


# ---------------------------------------------------------------------------------------------- resuming


def test_a_resumed_run_draws_on(trained):
    """Random generators go on where they were, not where the seed begins."""
    folder = trained.checkpoints.save()
    fresh = build(trained.config)
    drawn = []
    for _ in range(2):
        restore_model(fresh, folder)[1].put_into(fresh)
        drawn.append((np.random.rand(), torch.rand(1).item(), fresh.action_space.sample().tolist()))
    assert drawn[0] == drawn[1]
    build(trained.config)  # seeds them again
    assert np.random.rand() != drawn[0][0]


def test_infos_of_hindsight_come_back(make_config, train):
    """Those numbers in them that a reward could need, nested ones too."""
    kwargs = {"buffer_size": 400, "learning_starts": 64, "replay_buffer_kwargs": {"copy_info_dict": True}}
    config = make_config("her", algo_kwargs=kwargs, steps=300)
    session = train(config)
    fresh = build(config)
    restore_model(fresh, session.checkpoints.save())
    old, new = session.model.replay_buffer, fresh.replay_buffer
    where = np.array([7, 19]), np.array([1, 0])
    assert list(new.infos[where]) == list(old.infos[where])
    assert new.infos[where][0]["facts"]["distance"] > 0
    assert new.infos.columns.keys() == old.infos.columns.keys()
    assert "terminal_observation" not in new.infos[where][1]
    fresh.replay_buffer.sample(32)


def test_an_unfinished_episode_of_hindsight_goes_on(make_config, train):
    config = make_config("her", steps=250)
    session = train(config)
    fresh = build(config)
    restore_model(fresh, session.checkpoints.save())
    buffer = fresh.replay_buffer
    assert buffer.pos == 125
    assert buffer._current_ep_start.tolist() == [120, 120]
    assert buffer.ep_length[119:125].tolist() == [[20, 20], *[[0, 0]] * 5]


def test_a_full_buffer_comes_back(make_config, train):
    config = make_config("sac", algo_kwargs={"buffer_size": 100, "learning_starts": 32, "batch_size": 16})
    session = train(config)
    fresh = build(config)
    restore_model(fresh, session.checkpoints.save())
    old, new = session.model.replay_buffer, fresh.replay_buffer
    assert old.full
    assert (new.pos, new.full) == (old.pos, old.full)
    np.testing.assert_array_equal(new.observations, old.observations)


def test_without_its_buffer_a_run_collects_before_it_learns(make_config, train, caplog):
    config = make_config("sac", save_replay_buffer=False)
    session = train(config)
    fresh = build(config)
    restore_model(fresh, session.checkpoints.save())
    assert fresh.learning_starts == 300 + 64
    assert "no replay buffer" in caplog.text


def test_with_another_number_of_environments_episodes_and_replay_begin_anew(trained, caplog):
    """Which the command line has to allow."""
    fresh = build(trained.config.model_copy(update={"num_envs": 1}))
    restore_model(fresh, trained.checkpoints.save())
    assert "episodes begin anew" in caplog.text
    assert fresh.replay_buffer.size() == 0
    assert fresh.num_timesteps == trained.model.num_timesteps


def test_other_spaces_are_refused(trained, make_config):
    with pytest.raises(RunError, match="another observation space"):
        load_pretrained(build(make_config("sac", env_name="Pendulum-v1", plugins=[])), trained.run)


def test_normalisation_must_agree(trained, make_config):
    config = make_config("sac", normalize=True)
    model = build(config, normalized(make_vec_env(config, "train", 2)))
    with pytest.raises(RunError, match="normalize is false"):
        load_pretrained(model, trained.run)


def test_a_pretrained_model_starts_at_step_zero(trained):
    model = build(trained.config)
    load_pretrained(model, trained.run / "final")
    assert same_actions(model, trained.model, model.env.observation_space, n=10)
    assert torch.equal(model.log_ent_coef, trained.model.log_ent_coef)
    assert model.num_timesteps == 0
    assert not model.actor.optimizer.state_dict()["state"]


def test_state_of_an_algorithms_own_is_kept(make_config, train, tables):
    from stable_baselines3 import PPO

    class Counting(PPO):
        """Has a state that no library knows of."""

        memory = np.zeros(3)
        note = ""

        def get_state(self):
            """Return arrays and JSON."""
            return {"memory": self.memory, "note": self.note}

        def set_state(self, state):
            """Take them back."""
            self.memory, self.note = state["memory"], state["note"]

    register("counting", "pytorch", Combo(Counting))
    config = make_config("counting", algo_kwargs={"n_steps": 32, "batch_size": 32}, steps=64)
    session = train(config)
    session.model.memory, session.model.note = np.arange(3.0), "seen"
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert loaded.model.note == "seen"
    np.testing.assert_array_equal(loaded.model.memory, [0, 1, 2])


# ---------------------------------------------------------------------------------------------- spaces


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (3,), np.float32),
        spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
        spaces.Box(np.array([-np.inf, 0.1], np.float32), np.array([1, np.inf], np.float32)),
        spaces.Box(0, 255, (4, 4, 3), np.uint8),
        spaces.Discrete(5, start=-1),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary(4),
        spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Box(0, 1, (1,))}),
    ],
    ids=str,
)
def test_spaces_survive_json(space):
    again = space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False)))
    assert again == space
    if isinstance(space, spaces.Dict):
        assert list(again) == list(space)


def test_environments_of_spaces_only_cannot_be_stepped():
    env = SpacesOnly(spaces.Discrete(2), spaces.Discrete(2), num_envs=3)
    with pytest.raises(NotImplementedError, match="make_vec_env"):
        env.reset()
