"""Demonstrations: recorded, read with care, mixed into every batch, and refused where they do not fit."""

import json
import zipfile
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from armature import test as replay
from armature import train as training
from armature.argument_checks import check_arguments
from armature.checkpoints import read_json
from armature.combos import Combo, implemented_combos, register
from armature.controllers import Expert, Random
from armature.demonstrations import (
    DemonstrationBuffer,
    Recorder,
    read_demonstrations,
    save_demonstrations,
)
from armature.discrete import action_table
from armature.errors import ConfigError, RunError
from armature.evaluation import evaluate
from armature.making import make_model
from armature.models import load_model, restore_model, save_model
from armature.replay import ReplayFiles
from armature.vec import make_vec_env, normalized
from tests.tutorials import ROOT, run_tutorial

ABLE = ["sac", "td3", "ddpg", "dqn", "tqc", "crossq", "qrdqn", "myalgo", "fast_sac", "her"]
"""Rows that demonstrations are for."""


def record(config, path, episodes=6, controller=Expert):
    """Record episodes of a controller, as test.py does."""
    env = Recorder(make_vec_env(config, "demonstrations", 2))
    evaluate(controller(env), env, episodes)
    save_demonstrations(path, env.episodes[:episodes], env, config, "expert")
    env.close()
    return path


def chance(env):
    """Return a controller that draws actions."""
    return Random(env, 0)


def build(config):
    """Make a fresh model, as train.py does."""
    env = make_vec_env(config, "train", config.num_envs)
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    env = normalized(env) if config.normalize else env
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)


@pytest.fixture
def with_demos(make_config, tmp_path):
    """Return a function that makes a configuration with demonstrations that were recorded for it."""

    def make(algo="sac", fraction=0.25, **keys):
        path = record(make_config(algo, **keys), tmp_path / "demos.npz")
        return make_config(algo, demonstrations={"path": str(path), "fraction": fraction}, **keys)

    return make


# ---------------------------------------------------------------------------------------------- recording


def test_f10_the_expert_is_recorded_by_test_py(make_config, tmp_path, capsys):
    config = tmp_path / "config.json"
    make_config("sac").save(config)
    path = tmp_path / "demos.npz"
    flags = ["--control=expert", "--config", str(config), "--episodes=5", f"--save-demos={path}"]
    assert replay.main(flags) == 0
    assert f"5 episodes in {path}. Learn from them with: --demonstrations.path={path}" in capsys.readouterr().out
    found = read_demonstrations(path)
    assert len(found) == 5 * 20
    assert found.header["control"] == "expert"
    assert found.header["environment"]["env_name"] == "toy/PointFlat-v0"
    ends = np.arange(19, 100, 20)
    assert np.flatnonzero(found.arrays["truncated"]).tolist() == ends.tolist()
    assert not found.arrays["terminated"].any()
    assert found.arrays["success"][ends].all()
    inside = np.setdiff1d(np.arange(99), ends)
    np.testing.assert_array_equal(found.arrays["next_observation"][inside], found.arrays["observation"][inside + 1])
    # The last observation is the one before the reset.
    ended = found.arrays["next_observation"][ends]
    assert (np.linalg.norm(ended[:, 2:], axis=1) < 0.3).all()


def test_f10_a_trained_model_is_recorded_too(make_config, train, tmp_path, capsys):
    """Also one that normalises: the file holds what the environment gave."""
    config = make_config("sac", normalize=True, env_name="Pendulum-v1", plugins=[], final_eval_episodes=1)
    session = train(config)
    run = save_model(session.model, session.run / "final", config)
    path = tmp_path / "demos.npz"
    assert replay.main([f"--model={run}", "--episodes=1", f"--save-demos={path}"]) == 0
    found = read_demonstrations(path)
    assert len(found) == 200, "an environment that reports no success has all of its episodes kept"
    np.testing.assert_allclose(np.linalg.norm(found.arrays["observation"][:, :2], axis=1), 1, atol=1e-5)
    assert np.abs(found.arrays["action"]).max() > 1, "actions are the environment's, not scaled"


def test_goals_are_recorded_by_their_parts(make_config, tmp_path):
    found = read_demonstrations(record(make_config("her"), tmp_path / "demos.npz"))
    assert found.arrays["observation.desired_goal"].shape == (120, 2)
    assert found.arrays["next_observation.achieved_goal"].shape == (120, 2)


def test_failures_are_left_out(make_config, tmp_path):
    config = make_config("sac")
    env = Recorder(make_vec_env(config, "demonstrations", 2))
    evaluate(Expert(env), env, 4)
    for step in env.episodes[1]:
        step["success"] = False
    path = tmp_path / "demos.npz"
    assert save_demonstrations(path, env.episodes, env, config, "expert") == len(env.episodes) - 1
    assert read_demonstrations(path).header["episodes"] == len(env.episodes) - 1
    path.unlink()
    with pytest.raises(RunError, match=r"none of 1 episodes ended with success, so .*demos.npz is not written"):
        save_demonstrations(path, env.episodes[1:2], env, config, "expert")
    assert not path.exists()


def test_a_write_that_fails_leaves_the_old_file(make_config, tmp_path, monkeypatch):
    path = record(make_config("sac"), tmp_path / "demos.npz")
    before = path.read_bytes()

    def fail(file, **arrays):
        file.write(b"half a file")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        record(make_config("sac"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["demos.npz"]


def test_nobody_is_judged_by_what_it_was_shown(make_config):
    config = make_config("sac")
    shown, judged = (make_vec_env(config, stream, 1).reset() for stream in ("demonstrations", "replay"))
    assert not np.array_equal(shown, judged)


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--save-demos=demos.npy", "the name must end in .npz"),
        ("--save-demos=nowhere/demos.npz", "there is no folder nowhere"),
    ],
)
def test_names_that_cannot_be_written_are_refused_first(flag, words, capsys):
    assert replay.main(["--control=expert", "--config=reach.json", flag]) == 2
    assert words in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------- learning


def test_the_rows_that_can_are_those_with_a_replay_buffer(with_demos, make_config):
    config = make_config("ppo", demonstrations={"path": "demos.npz"})
    with pytest.raises(ConfigError, match="algo 'ppo' has no replay buffer") as caught:
        check_arguments(config)
    assert set(ABLE) <= set(str(caught.value).partition("These have: ")[2].rstrip(".").split(", "))


@pytest.mark.parametrize("algo", ABLE)
def test_r1_9_each_batch_holds_exactly_the_share(algo, with_demos, train):
    """With every row that can; the first three quarters are its own."""
    model = train(with_demos(algo)).model
    assert model._n_updates > 0
    demos, batch = model.replay_buffer.demonstrations, model.replay_buffer.sample(64)
    shown = [is_demonstrated(batch, row, demos) for row in range(64)]
    assert shown[48:] == [True] * 16
    assert not any(shown[:48])


def test_r1_9_a_trainer_learns_from_them_too(make_config, tmp_path, tables, train):
    """With no line of its own, like any class that is told its replay buffer."""
    from tests.toy_trainers import Off

    register("pulled", "pytorch", Combo(Off))
    keys = {"algo_kwargs": {"buffer_init_steps": 32, "buffer_size": 400}, "policy_kwargs": {}, "steps": 100}
    path = record(make_config("pulled", **keys), tmp_path / "demos.npz")
    config = make_config("pulled", demonstrations={"path": str(path), "fraction": 0.5}, **keys)
    check_arguments(config)
    buffer = train(config).model.replay_buffer
    batch = buffer.sample(10)
    assert [is_demonstrated(batch, row, buffer.demonstrations) for row in range(10)] == [False] * 5 + [True] * 5


def is_demonstrated(batch, row, demos):
    """Whether a row of a batch is a demonstration, by observation and action."""
    seen = batch.observations["observation"] if isinstance(batch.observations, dict) else batch.observations
    known = demos.observations["observation"] if isinstance(demos.observations, dict) else demos.observations
    same = (known[:, 0] == seen[row].numpy()).all(axis=1) & (demos.actions[:, 0] == batch.actions[row].numpy()).all(
        axis=1
    )
    return bool(same.any())


@pytest.mark.parametrize(("fraction", "shown"), [(0.0, 0), (0.1, 3), (0.5, 16), (1.0, 32)])
def test_r1_9_any_share(fraction, shown, with_demos, monkeypatch):
    buffer = build(with_demos(fraction=fraction)).replay_buffer
    buffer.pos = 5
    drawn = []
    original = buffer.demonstrations.sample
    monkeypatch.setattr(buffer.demonstrations, "sample", lambda n, env: drawn.append(n) or original(n, env))
    assert len(buffer.sample(32).rewards) == 32
    assert drawn == [shown]


def test_truncated_episodes_go_on_and_terminated_ones_end(with_demos):
    demos = build(with_demos(fraction=1.0)).replay_buffer.demonstrations
    assert demos.dones.sum() == demos.timeouts.sum() == 6
    assert not demos.sample(100).dones.any()


def test_demonstrations_are_normalised_as_observations_are(with_demos, train):
    model = train(with_demos(fraction=1.0, normalize=True)).model
    demos, env = model.replay_buffer.demonstrations, model.get_vec_normalize_env()
    batch = model.replay_buffer.sample(16, env)
    scaled = env.normalize_obs(demos.observations[:, 0])
    assert all((scaled == row.numpy()).all(axis=1).any() for row in batch.observations)
    assert not any((demos.observations[:, 0] == row.numpy()).all(axis=1).any() for row in batch.observations)


def test_actions_are_scaled_as_the_algorithm_keeps_its_own(make_config, tmp_path):
    """The torque of the pendulum is from -2 to 2."""
    keys = {"env_name": "Pendulum-v1", "plugins": []}
    path = record(make_config("sac", **keys), tmp_path / "demos.npz", 1, chance)
    model = build(make_config("sac", demonstrations={"path": str(path)}, **keys))
    kept = model.replay_buffer.demonstrations.actions[:, 0]
    np.testing.assert_allclose(kept * 2, read_demonstrations(path).arrays["action"], atol=1e-6)


def test_images_are_seen_as_the_model_sees_them(make_config, tmp_path):
    class Camera(gymnasium.Env):
        observation_space = spaces.Box(0, 255, (36, 40, 3), np.uint8)
        action_space = spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.left = 3
            return self.np_random.integers(0, 255, (36, 40, 3), np.uint8), {}

        def step(self, action):
            self.left -= 1
            return self.np_random.integers(0, 255, (36, 40, 3), np.uint8), 0.0, self.left == 0, False, {}

    env = Recorder(DummyVecEnv([Camera]))
    evaluate(chance(env), env, 2)
    path = tmp_path / "demos.npz"
    save_demonstrations(path, env.episodes, env, make_config("sac"), "random")
    space = VecTransposeImage.transpose_space(Camera.observation_space)
    buffer = DemonstrationBuffer(8, space, Camera.action_space, "cpu", demonstrations=str(path), fraction=1.0)
    np.testing.assert_array_equal(
        buffer.demonstrations.observations[:, 0], np.moveaxis(read_demonstrations(path).arrays["observation"], -1, 1)
    )
    assert buffer.sample(100).dones.mean() == pytest.approx(1 / 3, abs=0.2), "these episodes end by themselves"


def test_discrete_actions_are_recorded_as_numbers(with_demos):
    config = with_demos("dqn")
    demos = build(config).replay_buffer.demonstrations
    moves = action_table(spaces.Box(-1, 1, (2,), np.float32), config.action_levels)[demos.actions[:, 0, 0]]
    steps = demos.next_observations[:, 0, :2] - demos.observations[:, 0, :2]
    inside = (np.abs(demos.next_observations[:, 0, :2]) < 1).all(axis=1)
    np.testing.assert_allclose(steps[inside], 0.25 * moves[inside], atol=1e-5)


def test_an_experts_share_teaches(with_demos):
    """From demonstrations alone the critic learns what the expert's actions are worth."""
    config = with_demos(
        fraction=1.0, algo_kwargs={"buffer_size": 100, "batch_size": 64, "gamma": 0.0, "learning_rate": 3e-3}
    )
    model = build(config)
    model.replay_buffer.pos = 1
    model._setup_learn(1)
    model.train(300, 64)
    batch = model.replay_buffer.demonstrations.sample(200)
    with torch.no_grad():
        values = model.critic(batch.observations, batch.actions)[0]
    assert torch.corrcoef(torch.stack([values.ravel(), batch.rewards.ravel()]))[0, 1] > 0.8


# ---------------------------------------------------------------------------------------------- what does not fit


def test_d32_t21_other_observations_are_refused_before_training(make_config, tmp_path, capsys):
    path = record(make_config("her"), tmp_path / "demos.npz")
    logdir = tmp_path / "new"
    flags = ["--env_name=toy/PointFlat-v0", f"--plugins={json.dumps(make_config('sac').plugins)}", f"--logdir={logdir}"]
    assert training.main([*flags, f"--demonstrations.path={path}"]) == 2
    message = capsys.readouterr().err
    assert f"{path} was recorded with another observation space: Dict(" in message
    assert "this configuration makes Box(-2.0, 2.0, (4,), float32)" in message
    assert "Traceback" not in message
    assert not logdir.exists()


def test_d32_t21_other_actions_are_refused(make_config, tmp_path):
    path = record(make_config("sac"), tmp_path / "demos.npz")
    with pytest.raises(ConfigError, match=r"another action space: Box.*this configuration makes Discrete\(9\)"):
        build(make_config("dqn", demonstrations={"path": str(path)}))


def test_the_same_number_must_mean_the_same_action(make_config, tmp_path):
    path = record(make_config("dqn"), tmp_path / "demos.npz")
    with pytest.raises(ConfigError, match="the same number means another action"):
        build(make_config("dqn", action_levels=[-1.0, -0.5, 0.5, 1.0], demonstrations={"path": str(path)}))


def test_another_environment_with_the_same_spaces_is_worth_a_warning(with_demos, make_config, caplog):
    demonstrations = with_demos().demonstrations.model_dump()
    build(make_config("sac", env_kwargs={"dense": False}, demonstrations=demonstrations))
    assert "was recorded with another env_kwargs" in caplog.text


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"n_steps": 3}, "n-step returns"),
        ({"replay_buffer_class": "stable_baselines3.common.buffers:NStepReplayBuffer"}, "NStepReplayBuffer"),
    ],
)
def test_other_buffers_are_refused(kwargs, words, make_config):
    with pytest.raises(ConfigError, match=words):
        build(make_config("sac", algo_kwargs=kwargs, demonstrations={"path": "demos.npz"}))


def rewritten(path, change):
    """Write a file anew with other arrays."""
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **change(arrays))


def with_header(**values):
    """Return a change of the header."""

    def change(arrays):
        header = {**json.loads(arrays["header"].tobytes()), **values}
        return {**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)}

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: {**arrays, "reward": arrays["reward"] * np.nan}, "reward holds NaN or infinity"),
        (lambda arrays: {**arrays, "action": arrays["action"][:-1]}, r"action is \(119, 2\) float32.*needs \(120, 2\)"),
        (lambda arrays: {name: arrays[name] for name in arrays if name != "success"}, "damaged"),
        (lambda arrays: {**arrays, "more": np.zeros(3)}, "more.npy"),
        (
            lambda arrays: {name: arrays[name] for name in arrays if name != "header"},
            r"demos.npz:? ?\w* is (damaged|refused)|header of",
        ),
        (
            lambda arrays: {**arrays, "header": np.array([None], object)},
            r"demos.npz:? ?\w* is (damaged|refused)|header of",
        ),
        (
            lambda arrays: {**arrays, "header": np.zeros(3, np.uint8)},
            r"demos.npz:? ?\w* is (damaged|refused)|header of",
        ),
        (with_header(format=2), "has format 2, and this version of Armature reads 1"),
        (with_header(observation_space={"type": "Spiral"}), "describes no transitions"),
        (with_header(transitions=10**30), "describes no transitions"),
        (with_header(transitions="many"), "describes no transitions"),
        (with_header(transitions=0), "needs"),
        (with_header(environment=3), "describes no transitions"),
    ],
)
def test_damaged_files_are_refused_with_one_message(change, words, make_config, tmp_path):
    path = record(make_config("sac"), tmp_path / "demos.npz")
    rewritten(path, change)
    with pytest.raises(RunError, match=words) as caught:
        read_demonstrations(path)
    assert str(path) in str(caught.value)


def test_files_that_are_none_are_refused(tmp_path, make_config):
    path = tmp_path / "demos.npz"
    with pytest.raises(ConfigError, match=r"there is no such file. Record one with: python test.py --control expert"):
        read_demonstrations(path)
    path.write_text("no zip")
    with pytest.raises(RunError, match=r"demos.npz:? ?\w* is (damaged|refused)|header of"):
        read_demonstrations(path)
    whole = record(make_config("sac"), path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"demos.npz:? ?\w* is (damaged|refused)|header of"):
        read_demonstrations(path)


def test_numbers_that_are_no_actions_are_refused(make_config, tmp_path):
    path = record(make_config("dqn"), tmp_path / "demos.npz")
    rewritten(path, lambda arrays: {**arrays, "action": arrays["action"] + 9})
    with pytest.raises(RunError, match=r"action holds what is no action of Discrete\(9\)"):
        read_demonstrations(path)


def test_a_share_is_a_share(make_config):
    with pytest.raises(ConfigError, match=r"fraction is 1.5; allowed: a number from 0 to 1"):
        make_config("sac", demonstrations={"path": "demos.npz", "fraction": 1.5})


# ---------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("algo", ["sac", "her"])
def test_resuming_reads_the_file_again(algo, with_demos, train, caplog):
    config = with_demos(algo)
    session = train(config)
    checkpoint = session.checkpoints.save()
    fresh = build(config)
    restore_model(fresh, checkpoint)
    old, new = session.model.replay_buffer, fresh.replay_buffer
    assert new.size() == old.size()
    np.testing.assert_array_equal(new.demonstrations.rewards, old.demonstrations.rewards)
    assert not caplog.records
    going_on = config.model_copy(update={"steps": 400})
    assert train(going_on, session.run, checkpoint).model.num_timesteps == 400


def test_demonstrations_are_not_saved_with_the_buffer(with_demos, make_config, tmp_path):
    with_one, without = build(with_demos()), build(make_config("sac"))
    for name, model in (("one", with_one), ("two", without)):
        (tmp_path / name).mkdir()
        ReplayFiles().save(model, tmp_path / name, None)
    one, two = ({file.name for file in (tmp_path / name / "replay").iterdir()} for name in ("one", "two"))
    assert one == two


def test_other_demonstrations_than_before_are_worth_a_warning(with_demos, make_config, train, caplog):
    config = with_demos()
    checkpoint = train(config).checkpoints.save()
    assert (
        read_json(checkpoint / "model.json")["demonstrations"]
        == read_demonstrations(config.demonstrations.path).fingerprint
    )
    record(make_config("sac"), Path(config.demonstrations.path), episodes=3)
    restore_model(build(config), checkpoint)
    assert "holds other demonstrations than when" in caplog.text


def test_a_replay_needs_no_demonstrations(with_demos, train, tmp_path):
    config = with_demos()
    session = train(config)
    folder = save_model(session.model, session.run / "final", config)
    (tmp_path / "demos.npz").unlink()
    loaded = load_model(folder, allow_import=config.plugins)
    assert loaded.config.demonstrations == config.demonstrations
    with zipfile.ZipFile(folder / "model.zip") as archive:
        assert archive.getinfo("data").file_size < 100_000


@pytest.mark.slow
def test_x16_f10_the_tutorial_runs_as_printed(tmp_path):
    outputs = run_tutorial(ROOT / "docs/tutorials/demonstrations.md", tmp_path)
    assert "10 episodes in demos.npz. Learn from them with: --demonstrations.path=demos.npz" in outputs[0]
    assert "200 of 200 steps" in outputs[1]
