"""The drawing of a network shows what is shared, what branches off, sizes, activation and the number of parameters."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gymnasium import spaces
from sb3_contrib import ARS, QRDQN, TQC, TRPO, CrossQ, RecurrentPPO
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.sac.policies import SACPolicy
from torch import nn

import armature.shared_lstm_policies
from armature.config import Config
from armature.describe import describe_network
from armature.drawing import draw_network
from armature.myalgos.fast_sac import FastSAC
from armature.myalgos.myalgo import REDQ
from armature.vec import SpacesOnly

ROOT = Path(armature.__file__).parent.parent
VECTOR, MOVE, CHOICE = spaces.Box(-1, 1, (10,)), spaces.Box(-1, 1, (3,)), spaces.Discrete(4)
IMAGE = spaces.Box(0, 255, (3, 36, 36), np.uint8)


def drawn(algorithm, policy="MlpPolicy", seen=VECTOR, actions=MOVE, kwargs=None, **policy_kwargs):
    return draw_network(
        algorithm(policy, SpacesOnly(seen, actions), policy_kwargs=policy_kwargs, device="cpu", **(kwargs or {}))
    )


@pytest.mark.parametrize(
    ("net_arch", "drawing"),
    [
        (
            [128, 128],
            """
observation (10) -> 128 -> 128 -+-> action (3)
                                +-> value
Tanh, 18,439 parameters, 17,920 of them shared""",
        ),
        (
            [128, {"vf": [256, 256]}],
            """
observation (10) -> 128 -+-> action (3)
                         +-> 256 -> 256 -> value
Tanh, 100,871 parameters, 1,408 of them shared""",
        ),
        (
            [{"vf": [64]}],
            """
observation (10) -+-> action (3)
                  +-> 64 -> value
Tanh, 805 parameters""",
        ),
    ],
)
def test_b20_b21_b24_b27_shared_layers_are_drawn(net_arch, drawing):
    assert drawn(PPO, "SharedMlpPolicy", net_arch=net_arch) == drawing.strip()


@pytest.mark.parametrize("algorithm", [PPO, A2C, TRPO])
def test_b26_b27_a_flat_list_is_seen_to_be_separate(algorithm):
    lines = drawn(algorithm, net_arch=[128, 128]).splitlines()
    assert lines[0] == "observation (10) -+-> 128 -> 128 -> action (3)"
    assert lines[1] == "                  +-> 128 -> 128 -> value"
    assert lines[2] == "Tanh, 36,359 parameters"


@pytest.mark.parametrize("algorithm", [SAC, TD3, DDPG, TQC, CrossQ, FastSAC, REDQ])
def test_b27_actor_and_critics_are_drawn(algorithm):
    lines = drawn(algorithm, kwargs={"buffer_size": 10}, net_arch={"pi": [16], "qf": [32, 24]}).splitlines()
    assert lines[0] == "observation (10) -+-> 16 -> action (3)"
    assert lines[1].strip().startswith("+-> 32 -> 24 -> value of the action")
    assert ("5 times" if algorithm is REDQ else "2 times" if algorithm is not DDPG else "action") in lines[1]
    assert ("targets" in lines[2]) == (algorithm is not CrossQ)


@pytest.mark.parametrize("algorithm", [DQN, QRDQN])
def test_b27_values_of_actions_are_drawn(algorithm):
    lines = drawn(algorithm, actions=CHOICE, kwargs={"buffer_size": 10}, net_arch=[16, 24]).splitlines()
    assert lines[0] == "observation (10) -> 16 -> 24 -> value of each action (one of 4)"


def test_b27_recurrent_networks_are_drawn():
    shared = drawn(
        RecurrentPPO, "SharedMlpLstmPolicy", net_arch=[8, "lstm", 16, {"vf": [5, 10], "pi": [10]}], n_lstm=64
    )
    assert shared.splitlines()[:2] == [
        "observation (10) -> 8 -> LSTM 64 -> 16 -+-> 10 -> action (3)",
        "                                        +-> 5 -> 10 -> value",
    ]
    separate = drawn(RecurrentPPO, "MlpLstmPolicy", net_arch=[24], lstm_hidden_size=16, n_lstm_layers=2)
    assert separate.splitlines()[0] == "observation (10) -+-> LSTM 16 x 2 -> 24 -> action (3)"


def test_b27_b40_images_and_parts_of_a_dict_are_drawn():
    parts = spaces.Dict({"camera": IMAGE, "joints": spaces.Box(-1, 1, (7,))})
    lines = drawn(PPO, "SharedMultiInputPolicy", parts, net_arch=[8]).splitlines()
    assert lines[0].startswith(
        "observation (camera (3 x 36 x 36 uint8), joints (7)) -> CombinedExtractor 263 -> 8 -+->"
    )
    lines = drawn(PPO, "CnnPolicy", IMAGE, share_features_extractor=False).splitlines()
    assert [line.count("NatureCNN 512") for line in lines] == [1, 1, 0]


@pytest.mark.parametrize("algo", ["ppo", "sac", "her", "td3", "dqn", "tqc", "ppo_lstm", "ars"])
def test_b27_describing_an_algorithm_draws_its_network(algo):
    first = describe_network(Config(algo=algo)).splitlines()[3]
    start = (
        "  observation (achieved_goal (3), desired_goal (3), observation (10))"
        if algo == "her"
        else "  observation (10)"
    )
    assert first.startswith(start)
    assert first.endswith("action (3)" if algo != "dqn" else "action (one of 3)")


def test_b27_the_command_line_draws_what_flags_make_of_it():
    command = [sys.executable, "train.py", "--describe-algo", "ppo", "--policy_kwargs.net_arch", '[8, {"vf": [4]}]']
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert "observation (10) -> 8 -+-> action (3)" in done.stdout, done.stderr


def test_a_linear_policy_is_drawn():
    assert drawn(ARS, "LinearPolicy").splitlines()[-1].endswith("30 parameters")


def test_a_critic_of_unknown_parts_is_named():
    class Judge(nn.Module):
        features_extractor = None

        def __init__(self, *args):
            super().__init__()
            self.opinion = nn.Linear(13, 1)

        def set_training_mode(self, mode):
            self.train(mode)

    class Judged(SACPolicy):
        def make_critic(self, features_extractor=None):
            return Judge()

    lines = drawn(SAC, Judged, kwargs={"buffer_size": 10}, net_arch=[16]).splitlines()
    assert lines[0] == "observation (10) -+-> 16 -> action (3)"
    assert lines[1] == "                  +-> Judge -> value of the action"


def test_a_policy_of_unknown_parts_is_named_and_counted():
    class Strange(ActorCriticPolicy):
        def _build_mlp_extractor(self):
            self.mlp_extractor = Ways(self.features_dim)

    class Ways(nn.Module):
        latent_dim_pi = latent_dim_vf = 10

        def __init__(self, size):
            super().__init__()
            self.way = nn.Linear(size, 10)

    lines = drawn(PPO, Strange).splitlines()
    assert lines[0] == "observation (10) -> Strange -> action (3)"
    assert lines[1] == f"Tanh, {110 + 33 + 3 + 11} parameters"
