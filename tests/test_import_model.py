"""Models that others trained with SB3: imported without unpickling, or refused with what would help."""

import io
import pickle
import subprocess
import sys
import zipfile

import gymnasium
import numpy as np
import pytest
from sb3_contrib import TQC
from stable_baselines3 import DQN, PPO, SAC
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from armature import import_model, trusted_pickle
from armature.import_model import guess_net_arch
from armature.models import load_model

SMALL = {"learning_starts": 16, "buffer_size": 100, "batch_size": 8}
FOREIGN = {
    "ppo": (PPO, "Pendulum-v1", {"n_steps": 32, "batch_size": 32}, {"pi": [8, 12], "vf": [10]}),
    "sac": (SAC, "Pendulum-v1", SMALL, [8, 12]),
    "tqc": (TQC, "Pendulum-v1", SMALL, {"pi": [8], "qf": [12, 6]}),
    "dqn": (DQN, "CartPole-v1", SMALL, [9, 7]),
}


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """Return a function that trains a model in plain SB3, once; it gives the model and its zip."""
    folder, made = tmp_path_factory.mktemp("foreign"), {}

    def train(algo):
        if algo not in made:
            cls, env, kwargs, net_arch = FOREIGN[algo]
            model = cls("MlpPolicy", env, policy_kwargs={"net_arch": net_arch}, seed=0, device="cpu", **kwargs)
            made[algo] = model.learn(32), folder / f"{algo}.zip"
            model.save(made[algo][1])
        return made[algo]

    return train


def flags_of(algo, tmp_path, **changed):
    _, env, _, net_arch = FOREIGN[algo]
    keys = {"algo": algo, "env_name": env, "policy_kwargs.net_arch": net_arch, **changed}
    return [f"--{name}={value}".replace("'", '"') for name, value in keys.items()] + [f"--logdir={tmp_path}"]


EVENTS = []
sys.addaudithook(lambda name, details: EVENTS.append(details) if name == "pickle.find_class" else None)


@pytest.mark.parametrize("algo", FOREIGN)
def test_foreign_models_act_as_they_did(algo, foreign, tmp_path, capsys):
    """And nothing is unpickled on the way, in importing and in loading."""
    model, file = foreign(algo)
    EVENTS.clear()
    assert import_model.main([str(file), *flags_of(algo, tmp_path, run_name="theirs")]) == 0
    loaded = load_model(tmp_path / "theirs")
    assert not EVENTS
    assert loaded.step == model.num_timesteps
    assert "pickled values were left alone: " in capsys.readouterr().out
    for _ in range(20):
        seen = model.observation_space.sample()
        assert np.array_equal(model.predict(seen, deterministic=True)[0], loaded.predict(seen)[0])


@pytest.mark.parametrize("algo", FOREIGN)
def test_networks_that_do_not_fit_are_told(algo, foreign, tmp_path, capsys):
    """The message holds the key that does it."""
    _, file = foreign(algo)
    flags = flags_of(algo, tmp_path, **{"policy_kwargs.net_arch": [64, 64]})
    assert import_model.main([str(file), *flags]) == 2
    told = str(FOREIGN[algo][3]).replace("'", '"')
    assert f'"policy_kwargs": {{"net_arch": {told}}}' in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_other_spaces_are_told(foreign, tmp_path, capsys):
    flags = flags_of("sac", tmp_path, env_name="MountainCarContinuous-v0")
    assert import_model.main([str(foreign("sac")[1]), *flags]) == 2
    assert "Its observation_space has the shape (3,), and that of the configuration (2,)." in capsys.readouterr().err


def test_another_algorithm_is_refused(foreign, tmp_path, capsys):
    assert import_model.main([str(foreign("ppo")[1]), *flags_of("sac", tmp_path)]) == 2
    assert "is of another model" in capsys.readouterr().err


class Payload:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return print, ("this must not be printed",)


def test_what_is_pickled_is_not_looked_at(foreign, tmp_path, capsys):
    """Not even if nothing else stands there."""
    _, file = foreign("sac")
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(evil, "w") as new:
        for name in old.namelist():
            new.writestr(name, pickle.dumps(Payload()) if name == "data" else old.read(name))
    assert import_model.main([str(evil), *flags_of("sac", tmp_path, run_name="evil")]) == 0
    assert "must not" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [pickle.dumps(Payload()), pickle.dumps(Payload(), 0), b"", b"PK\x05\x06" + bytes(18), b"no zip"]
)
def test_other_files_are_refused(content, tmp_path, capsys):
    file = tmp_path / "file.pkl"
    file.write_bytes(content)
    assert import_model.main([str(file), *flags_of("sac", tmp_path)]) == 2
    printed = capsys.readouterr()
    assert "must not" not in printed.out
    assert len(printed.err.splitlines()) == 1


# ---------------------------------------------------------------------------------------------- statistics


@pytest.fixture(scope="module")
def normalised(tmp_path_factory):
    """Return a model that plain SB3 trained on normalised observations, its environment, zip and pickle."""
    folder = tmp_path_factory.mktemp("normalised")
    env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), norm_reward=False)
    net = {"net_arch": [8]}
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, policy_kwargs=net, device="cpu", seed=0).learn(64)
    env.obs_rms.var[0] = 1e-6  # less than the epsilon that our own normalisation adds
    model.save(folder / "model.zip")
    env.save(str(folder / "vecnormalize.pkl"))
    return model, env, folder


def normalised_flags(tmp_path, folder):
    flags = flags_of("ppo", tmp_path, **{"policy_kwargs.net_arch": [8], "normalize": "true", "run_name": "theirs"})
    return [str(folder / "model.zip"), *flags, f"--vec-normalize={folder / 'vecnormalize.pkl'}"]


def test_statistics_are_a_pickle_and_need_trust(normalised, tmp_path, capsys):
    assert import_model.main(normalised_flags(tmp_path, normalised[2])) == 2
    assert "If you trust whoever made it, add --trust" in capsys.readouterr().err


def test_statistics_are_converted(normalised, tmp_path):
    """In another process; here nothing is unpickled."""
    model, env, folder = normalised
    EVENTS.clear()
    assert import_model.main([*normalised_flags(tmp_path, folder), "--trust"]) == 0
    loaded = load_model(tmp_path / "theirs")
    assert not EVENTS
    rng = np.random.default_rng(0)
    for _ in range(20):
        seen = rng.normal(env.obs_rms.mean, np.sqrt(env.obs_rms.var)).astype(np.float32)
        expected = model.predict(env.normalize_obs(seen), deterministic=True)[0]
        np.testing.assert_allclose(loaded.predict(seen)[0], expected, atol=1e-6)


def test_a_payload_is_refused_with_trust_too(normalised, tmp_path, capsys):
    _, _, folder = normalised
    flags = [word for word in normalised_flags(tmp_path, folder) if "vec-normalize" not in word]
    evil = tmp_path / "evil.pkl"
    evil.write_bytes(pickle.dumps(Payload()))
    assert import_model.main([*flags, f"--vec-normalize={evil}", "--trust"]) == 2
    printed = capsys.readouterr()
    assert "it names builtins.print, which no statistics need" in printed.err
    assert "must not" not in printed.out
    assert not (tmp_path / "theirs").exists()


def test_a_pickle_that_takes_all_memory_is_refused(tmp_path):
    bomb = tmp_path / "bomb.pkl"
    bomb.write_bytes(pickle.dumps(np.zeros(1)).replace(b"K\x01\x85", b"\x8a\x06\x00\x00\x00\x00\x00\x01\x85", 1))
    command = [sys.executable, "-I", trusted_pickle.__file__, str(bomb), str(tmp_path / "out.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert not (tmp_path / "out.npz").exists()


def test_only_numbers_and_records_may_be_named():
    """No module as a whole, and nothing that runs other code."""
    given = set(map(id, trusted_pickle.ALLOWED.values()))
    assert id(print) not in given
    assert {module for module, _ in trusted_pickle.ALLOWED}.isdisjoint({"builtins", "os", "posix", "subprocess"})
    for name in ("builtins.eval", "os.system", "numpy.load", "collections.Counter", "torch.storage._load_from_bytes"):
        module, _, attribute = name.rpartition(".")
        data = f"c{module}\n{attribute}\n.".encode()
        with pytest.raises(pickle.UnpicklingError, match="no statistics need"):
            trusted_pickle._Unpickler(io.BytesIO(data)).load()


def test_networks_of_no_known_kind_are_not_guessed():
    assert guess_net_arch({"odd.weight": (3, 4)}) is None
