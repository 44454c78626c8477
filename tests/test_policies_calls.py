"""The tutorial on policies runs as printed, and its table of the old guide's calls holds."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import RecurrentPPO
from stable_baselines3 import PPO

import armature
from armature.registry import import_file
from armature.shared_lstm_policies import SharedMlpLstmPolicy
from armature.vec import SpacesOnly
from tests.tutorials import blocks, run_tutorial

PAGE = Path(armature.__file__).parent.parent / "docs" / "tutorials" / "custom_policy.md"
VECTOR, BOX = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,))
ACTIONS = [BOX, spaces.Discrete(4), spaces.MultiDiscrete([2, 3]), spaces.MultiBinary(3)]


@pytest.mark.slow
def test_b1_b27_b41_the_tutorial_runs_as_printed(tmp_path):
    """From an empty folder; the policy written from scratch trains, is saved and replayed; drawings are those shown."""
    printed = "\n".join(run_tutorial(PAGE, tmp_path))
    drawings = [block.code.rstrip() for block in blocks(PAGE) if block.language == "text" and "network" in block.code]
    assert len(drawings) == 3
    for drawing in drawings:
        assert drawing in printed
    assert all(name in printed for name in ("SharedMlpPolicy", "SharedMlpLstmPolicy", "FromScratch"))
    assert (tmp_path / "trained_models" / "from_scratch" / "final" / "model.zip").is_file()


@pytest.fixture
def calls(tmp_path):
    """The functions of the tutorial."""
    code = next(block.code for block in blocks(PAGE) if block.title == "old_calls.py")
    (tmp_path / "old_calls.py").write_text(code)
    return import_file(tmp_path / "old_calls.py")


def model_of(policy="MlpPolicy", actions=BOX, **policy_kwargs):
    algorithm = RecurrentPPO if policy == "MlpLstmPolicy" or policy is SharedMlpLstmPolicy else PPO
    return algorithm(policy, SpacesOnly(VECTOR, actions), seed=0, device="cpu", policy_kwargs=policy_kwargs)


def seen(n):
    VECTOR.seed(1)
    return np.stack([VECTOR.sample() for _ in range(n)])


@pytest.mark.parametrize("actions", ACTIONS, ids=lambda space: type(space).__name__)
def test_b42_b45_step_gives_action_value_state_and_negative_log_probability(calls, actions):
    model, obs = model_of(actions=actions), seen(5)
    taken, values, state, neglogp = calls.step(model, obs, deterministic=True)
    assert state is None
    assert np.array_equal(taken if actions is not BOX else taken.clip(-1, 1), model.predict(obs, deterministic=True)[0])
    with torch.no_grad():
        expected, log_prob, _ = model.policy.evaluate_actions(torch.as_tensor(obs), torch.as_tensor(taken))
    assert np.allclose(values, expected.flatten(), atol=1e-6)
    assert np.allclose(neglogp, -log_prob, atol=1e-5)


@pytest.mark.parametrize(
    ("policy", "policy_kwargs"),
    [("MlpLstmPolicy", {"lstm_hidden_size": 8}), (SharedMlpLstmPolicy, {"net_arch": [8, "lstm", {"vf": [5]}]})],
    ids=["contrib", "shared"],
)
def test_b42_b43_b44_with_memory_the_state_is_carried(calls, policy, policy_kwargs):
    model, obs = model_of(policy, **policy_kwargs), seen(3)
    state, theirs = calls.initial_state(model, 3), None
    for index in range(4):
        mask = np.array([index == 0, index == 2, False])
        mean, deviation = calls.proba_step(model, obs, state, mask)
        judged = calls.value(model, obs, state, mask)
        taken, values, state, neglogp = calls.step(model, obs, state, mask, deterministic=True)
        expected, theirs = model.predict(obs, theirs, mask, deterministic=True)
        assert np.allclose(taken.clip(-1, 1), expected, atol=1e-6)
        assert np.allclose(taken, mean, atol=1e-6)
        assert np.allclose(values, judged, atol=1e-6)
        assert np.allclose(neglogp, (np.log(deviation) + np.log(2 * np.pi) / 2).sum(axis=1), atol=1e-5)
        assert np.allclose(state.pi[0], theirs[0], atol=1e-6)
    assert judged.shape == (3,)


def test_b43_proba_step_gives_what_describes_the_distribution(calls):
    found = [calls.proba_step(model_of(actions=actions), seen(5)) for actions in ACTIONS]
    (mean, deviation), choice, choices, bits = found
    assert mean.shape == deviation.shape == (5, 3)
    assert (deviation > 0).all()
    assert np.allclose(choice.sum(axis=1), 1)
    assert [part.shape for part in choices] == [(5, 2), (5, 3)]
    assert all(np.allclose(part.sum(axis=1), 1) for part in choices)
    assert bits.shape == (5, 3)
    assert ((bits > 0) & (bits < 1)).all()


def test_b44_b45_one_observation_or_many_and_no_gradient(calls):
    model, obs = model_of(), seen(4)
    values = calls.value(model, obs)
    assert values.shape == (4,)
    assert np.allclose(calls.value(model, obs[1]), values[1], atol=1e-6)
    assert isinstance(values, np.ndarray)
    assert all(parameter.grad is None for parameter in model.policy.parameters())
    with pytest.raises(ValueError, match=r"\(7,\).*\(10,\)"):
        calls.value(model, np.zeros(7, np.float32))


def test_b8_any_registered_environment_is_taken():
    assert PPO("MlpPolicy", gymnasium.make("Pendulum-v1"), device="cpu").get_env().num_envs == 1
