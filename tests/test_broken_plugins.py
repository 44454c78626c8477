"""Broken algorithms, agents, trainers and policies: each is answered by one message with class, fault and remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from armature.config import Config
from armature.errors import ArmatureError
from armature.plugin_check import check_plugin
from armature.plugins import load_extensions
from armature.train import train

TOYS = str(Path(__file__).with_name("toy_envs.py"))

ALGORITHM = """
import json
from pathlib import Path
import numpy as np

class Thing:
    def __init__(self, policy, env, size: int = 2, seed: int = 0):
        self.env, self.weights = env, np.full(2, 0.5)

    def learn(self, total_timesteps, callback):
        self.env.reset()
        for _ in range(total_timesteps // self.env.num_envs):
            self.env.step(np.zeros((self.env.num_envs, 2), np.float32))
            callback.on_step()

    def predict(self, observation, deterministic=True):
        return np.tile(self.weights, (len(observation), 1)).astype(np.float32)

    def save(self, path):
        Path(path).write_text(json.dumps(self.weights.tolist()))

    @classmethod
    def load(cls, path, env=None):
        made = cls(None, env)
        made.weights = np.array(json.loads(Path(path).read_text()))
        return made
"""

AGENT = """
import numpy as np
from armature import Agent

class Thing(Agent):
    @staticmethod
    def get_default_parameters():
        return {"size": 2}

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.weights = np.full(2, 0.5)

    def act(self, state, episode_num):
        return self.weights

    def memorize(self, last_ob, action, reward, done, ob):
        self.reward = reward

    def update(self, episode_num):
        self.weights = self.weights * 0.99

    def get_state(self):
        return {"weights": self.weights}

    def set_state(self, state):
        self.weights = state["weights"]
"""

TRAINER = """
import torch
from armature import OnPolicySettings, OnPolicyTrainer, Optimizer

class ThingSettings(OnPolicySettings):
    buffer_size: int = 64
    pull: float = 0.1

class ThingOptimizer(Optimizer):
    def __init__(self, policy, settings):
        super().__init__(policy, settings)
        self.adam = torch.optim.Adam(policy.parameters(), settings.learning_rate)

    def update(self, batch, num_sequences):
        values, log_prob, _ = self.policy.evaluate_actions(batch["obs"], batch["action"])
        loss = (values.flatten() - batch["returns"]).pow(2).mean()
        self.step(self.adam, loss)
        return {"Losses/Loss": loss.item()}

class Thing(OnPolicyTrainer):
    settings_class = ThingSettings

    @staticmethod
    def get_trainer_name():
        return "thing"

    def create_optimizer(self):
        return ThingOptimizer(self.policy, self.settings)
"""

POLICY = """
import torch
from stable_baselines3 import A2C
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.sac.policies import SACPolicy

class Thing(A2C):
    pass

class MyPolicy(ActorCriticPolicy):
    pass

class MyExtractor(BaseFeaturesExtractor):
    def __init__(self, observation_space, features_dim: int = 8):
        super().__init__(observation_space, features_dim)
        self.layer = torch.nn.Linear(4, 8)

    def forward(self, observations):
        return self.layer(observations)
"""


def without(code: str, method: str) -> str:
    """Return a class's code without one of its methods."""
    head, *methods = code.split("\n    def ")
    kept = [text for text in methods if not text.startswith(f"{method}(")]
    assert len(kept) < len(methods)
    return "\n    def ".join([head, *kept])


def mended(code: str, old: str, new: str) -> str:
    """Return code with one place changed."""
    assert code.count(old) == 1, old
    return code.replace(old, new)


BROKEN = {
    # ---------------------------------------------------------------------------------------- at import
    "a syntax error": (ALGORITHM + "\nclass", {}, ["own.py", "failed to load", "SyntaxError"]),
    "an exception at import": (ALGORITHM + "\n1 / 0\n", {}, ["own.py", "failed to load", "ZeroDivisionError"]),
    "a package that is missing": ("import no_such_package\n" + ALGORITHM, {}, ["own.py", "no_such_package"]),
    "no such class": (mended(ALGORITHM, "class Thing", "class Think"), {}, ["'Thing'", "did you mean 'Think'"]),
    "an instance for a class": (ALGORITHM + "\nThing = Thing(None, None)\n", {}, ["Thing", "stands for", "a class"]),
    "a number for a class": ("Thing = 3", {}, ["stands for 3", "allowed: a class"]),
    "a taken name": (
        ALGORITHM + "\nfrom armature import Combo, register\nregister('ppo', 'pytorch', Combo(Thing))\n",
        {},
        ["'ppo'", "stable_baselines3:PPO", "own.py", "replace=True"],
    ),
    "a row of the wrong form": (
        ALGORITHM + "\nfrom armature import implemented_combos\nimplemented_combos['x'] = {'pytorch': [Thing]}\n",
        {},
        ["implemented_combos['x']['pytorch']", "[Class, (Policy,), {kwargs}]"],
    ),
    # ---------------------------------------------------------------------------------------- algorithms
    "no learn": (without(ALGORITHM, "learn"), {}, ["Thing", "no method learn(total_timesteps=..., callback=...)"]),
    "no predict": (without(ALGORITHM, "predict"), {}, ["Thing", "no method predict("]),
    "no save": (without(ALGORITHM, "save"), {}, ["Thing", "no method save(path)"]),
    "load of an instance": (mended(ALGORITHM, "    @classmethod\n", ""), {}, ["Thing", "load", "@classmethod"]),
    "learn without a callback": (
        mended(ALGORITHM, "total_timesteps, callback", "total_timesteps"),
        {},
        ["Thing", "learn(self, total_timesteps)", "callback"],
    ),
    "predict without deterministic": (
        mended(ALGORITHM, ", deterministic=True", ""),
        {},
        ["Thing", "predict(self, observation)", "deterministic"],
    ),
    "a constructor without an environment": (
        "from stable_baselines3 import PPO\nclass Thing(PPO):\n    def __init__(self, policy):\n        pass\n",
        {},
        ["Thing", "__init__(self, policy)", "(policy=..., env=...)"],
    ),
    "an exception at construction": (
        mended(ALGORITHM, "np.full(2, 0.5)", "np.full(2, nothing)"),
        {},
        ["Thing", "NameError", "own.py", "--check-plugin"],
    ),
    "an exception while learning": (
        mended(ALGORITHM, "self.env.reset()", "raise OSError('no more')"),
        {},
        ["Thing", "OSError: no more", "own.py", "--check-plugin"],
    ),
    "actions of the wrong shape": (
        mended(ALGORITHM, "return np.tile(self.weights, (len(observation), 1)).astype(np.float32)", "return [0.5]"),
        {},
        ["Thing", "predict", "(1,)", "Box"],
    ),
    "a save that writes nothing": (
        mended(ALGORITHM, "Path(path).write_text(json.dumps(self.weights.tolist()))", "pass"),
        {},
        ["Thing", "save(path) wrote no file"],
    ),
    "a save that loses state": (
        mended(ALGORITHM, "np.array(json.loads(Path(path).read_text()))", "np.zeros(2)"),
        {},
        ["Thing", "acts differently", "get_state()"],
    ),
    "a load that returns nothing": (
        mended(ALGORITHM, "        return made\n", ""),
        {},
        ["Thing", "load(path) returned None"],
    ),
    "an unknown argument": (ALGORITHM, {"algo_kwargs": {"sise": 3}}, ["algo_kwargs.sise", "did you mean 'size'"]),
    "an argument of the wrong type": (
        ALGORITHM,
        {"algo_kwargs": {"size": "big"}},
        ["algo_kwargs.size", "allowed: int"],
    ),
    # ---------------------------------------------------------------------------------------- agents
    "an agent without update": (without(AGENT, "update").replace("(Agent)", ""), {}, ["Thing", "update(episode_num)"]),
    "an agent without act": (without(AGENT, "act").replace("(Agent)", ""), {}, ["Thing", "act(state, episode_num)"]),
    "parameters of an instance": (
        mended(AGENT, "    @staticmethod\n", ""),
        {},
        ["Thing", "get_default_parameters", "@staticmethod"],
    ),
    "parameters that are no dict": (
        mended(AGENT, '{"size": 2}', "[2]"),
        {},
        ["Thing.get_default_parameters", "return a dict"],
    ),
    "act without the episode": (
        mended(AGENT, "act(self, state, episode_num)", "act(self, state)"),
        {},
        ["Thing", "act(self, state)", "act(state, episode_num)"],
    ),
    "memorize with six arguments": (
        mended(AGENT, "reward, done, ob)", "reward, done, ob, info)"),
        {},
        ["Thing", "memorize", "'info'"],
    ),
    "an action of the wrong shape": (
        mended(AGENT, "return self.weights\n", "return self.weights[:1]\n"),
        {},
        ["Thing.act", "Box"],
    ),
    "an action that is no number": (
        mended(AGENT, "return self.weights\n", "return None\n"),
        {},
        ["Thing.act returns None", "Box"],
    ),
    "an action that is NaN": (
        mended(AGENT, "self.weights * 0.99", "self.weights * np.nan"),
        {},
        ["Thing.act", "nan", "diverged"],
    ),
    "an exception in an agent's constructor": (
        mended(AGENT, "np.full(2, 0.5)", "np.full(2, nothing)"),
        {},
        ["Thing", "NameError", "--check-plugin"],
    ),
    "an exception in update": (
        mended(AGENT, "self.weights * 0.99", "self.weights[7]"),
        {},
        ["Thing", "IndexError", "in update", "--check-plugin"],
    ),
    "metrics that are text": (
        AGENT + '\n    def metrics(self, episode_num):\n        return "fine"\n',
        {},
        ["Thing.metrics", "return a dict of numbers by name"],
    ),
    "half a pair": (without(AGENT, "set_state"), {}, ["Thing", "get_state and set_state"]),
    "an agent that loses state": (
        mended(AGENT, 'state["weights"]', "np.zeros(2)"),
        {},
        ["Thing.set_state loses state", "weights"],
    ),
    "state that cannot be kept": (
        mended(AGENT, '{"weights": self.weights}', '{"weights": {1, 2}}'),
        {},
        ["Thing.get_state", "'weights'"],
    ),
    "an unknown parameter": (AGENT, {"algo_kwargs": {"sise": 3}}, ["algo_kwargs.sise", "did you mean 'size'"]),
    "parameters that are replaced": (
        mended(AGENT, "super().__init__(**parameters)", "self.parameters = {}"),
        {},
        ["Thing", "super().__init__(**parameters)"],
    ),
    "a loop that is none": (AGENT, {"loop": "collections:OrderedDict"}, ["OrderedDict", "armature.BaseLoop"]),
    "an unknown parameter of the loop": (
        AGENT,
        {"loop_kwargs": {"max_episode": 3}},
        ["max_episode", "did you mean 'max_episodes'"],
    ),
    # ---------------------------------------------------------------------------------------- trainers
    "a trainer without an optimizer": (
        without(TRAINER, "create_optimizer"),
        {},
        ["Thing", "abstract", "create_optimizer"],
    ),
    "a trainer without a name": (
        mended(TRAINER, '    @staticmethod\n    def get_trainer_name():\n        return "thing"\n', ""),
        {},
        ["Thing", "abstract", "get_trainer_name"],
    ),
    "a hook with another signature": (
        TRAINER + "\n    def _process_trajectory(self):\n        pass\n",
        {},
        ["Thing", "_process_trajectory(self)", "_process_trajectory(trajectory)"],
    ),
    "settings that are no settings": (
        mended(TRAINER, "settings_class = ThingSettings", "settings_class = dict"),
        {},
        ["Thing", "settings_class is <class 'dict'>", "OnPolicySettings"],
    ),
    "a default out of range": (
        mended(TRAINER, "pull: float = 0.1", "gamma: float = 5.0"),
        {},
        ["ThingSettings", "gamma", "allowed"],
    ),
    "an optimizer that is none": (
        mended(TRAINER, "return ThingOptimizer(self.policy, self.settings)", "return None"),
        {},
        ["Thing", "create_optimizer", "None"],
    ),
    "an update that returns nothing": (
        mended(TRAINER, 'return {"Losses/Loss": loss.item()}', "return None"),
        {},
        ["ThingOptimizer.update returned None", "numbers by name"],
    ),
    "a loss that is NaN": (
        mended(TRAINER, '{"Losses/Loss": loss.item()}', '{"Losses/Loss": float("nan")}'),
        {},
        ["ThingOptimizer.update returned nan for 'Losses/Loss'", "smaller learning_rate", "normalise observations"],
    ),
    "an exception in a trainer's update": (
        mended(TRAINER, "self.step(self.adam, loss)", "loss.backwards()"),
        {},
        ["Thing", "AttributeError", "own.py", "--check-plugin"],
    ),
    "an unknown setting": (TRAINER, {"algo_kwargs": {"pul": 1.0}}, ["algo_kwargs.pul", "did you mean 'pull'"]),
    "text for a setting": (TRAINER, {"algo_kwargs": {"pull": "hard"}}, ["algo_kwargs.pull", "allowed"]),
    # ---------------------------------------------------------------------------------------- policies
    "a policy that is none": (POLICY, {"policy": "{own}:torch"}, ["torch", "is no policy"]),
    "a policy of another algorithm": (
        POLICY,
        {"policy": "{own}:SACPolicy"},
        ["SACPolicy", "does not fit Thing", "MlpPolicy"],
    ),
    "a policy that is not there": (POLICY, {"policy": "{own}:MyPolici"}, ["'MyPolici'", "did you mean 'MyPolicy'"]),
    "an exception in a policy": (
        mended(
            POLICY,
            "class MyPolicy(ActorCriticPolicy):\n    pass",
            "class MyPolicy(ActorCriticPolicy):\n    def __init__(self, *args, **kwargs):\n        raise OSError('pi')",
        ),
        {"policy": "{own}:MyPolicy"},
        ["Thing", "OSError", "own.py", "--check-plugin"],
    ),
    "an extractor that puts out something else": (
        POLICY,
        {
            "policy_kwargs": {
                "features_extractor_class": "{own}:MyExtractor",
                "features_extractor_kwargs": {"features_dim": 5},
            }
        },
        ["MyExtractor", "features_dim", "(1, 8)"],
    ),
    "layers of text": (
        POLICY,
        {"policy_kwargs": {"net_arch": ["big"]}},
        ["policy_kwargs.net_arch.0", "size of a layer"],
    ),
    "a policy name that is taken": (
        POLICY + "\nfrom armature import register_policy\nregister_policy('MlpPolicy', MyPolicy)\n",
        {},
        ["MyPolicy", "'MlpPolicy'", "another name"],
    ),
}


def inserted(value, own: str):
    """Return a value with the plugin's path in the place of `{own}`."""
    if isinstance(value, dict):
        return {name: inserted(item, own) for name, item in value.items()}
    return value.replace("{own}", own) if isinstance(value, str) else value


@pytest.mark.parametrize("name", BROKEN)
def test_broken_plugins_are_answered_by_one_message(name, tmp_path, tables):
    code, keys, words = BROKEN[name]
    own = tmp_path / "own.py"
    own.write_text(code)
    settings = {"algo": f"{own}:Thing", "env_name": "toy/PointFlat-v0", "plugins": [TOYS], "steps": 200}
    *passed, last = check_plugin(Config(**settings, **inserted(keys, str(own))))
    assert all(step.ok for step in passed)
    assert not last.ok, f"nothing was found: {last}"
    missing = [word for word in words if word not in last.text]
    assert not missing, f"{missing} not in: {last.text}"


@pytest.mark.parametrize("code", [ALGORITHM, AGENT, TRAINER, POLICY], ids=["algorithm", "agent", "trainer", "policy"])
def test_what_is_broken_there_is_sound_here(code, tmp_path, tables):
    """The messages above are about what was broken."""
    own = tmp_path / "own.py"
    own.write_text(code)
    config = Config(algo=f"{own}:Thing", env_name="toy/PointFlat-v0", plugins=[TOYS], steps=200)
    assert all(step.ok for step in check_plugin(config)), [step.text for step in check_plugin(config)]


def test_train_py_answers_a_failing_update_with_one_message(make_config, tables, tmp_path):
    """The exception's own traceback, and what to do."""
    own = tmp_path / "own.py"
    own.write_text(BROKEN["an exception in update"][0])
    config = make_config(f"{own}:Thing", algo_kwargs={}, policy_kwargs={})
    load_extensions(config)
    with pytest.raises(ArmatureError, match=r"Thing(.|\n)*IndexError(.|\n)*--check-plugin"):
        train(config)
