"""Loops: the default one's limits, and what an own loop can do."""

import time

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from armature import Agent, BaseLoop, Combo, ConfigError, DefaultLoop, load_model, register
from armature.agent_model import AgentModel
from armature.argument_checks import check_arguments
from armature.checks import foreign_imports
from armature.config import Config
from armature.describe import create_config
from armature.errors import PluginError, RunError
from armature.runs import CsvTable


class Counter(Agent):
    """Counts its calls."""

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.counts = {"act": 0, "memorize": 0, "update": 0}

    def act(self, state, episode_num, explore=True):
        self.counts["act"] += explore
        return np.zeros(2)

    def memorize(self, last_ob, action, reward, done, ob):
        self.counts["memorize"] += 1
        self.last_action = action

    def update(self, episode_num):
        self.counts["update"] += 1

    def get_state(self):
        return {"counts": self.counts}

    def set_state(self, state):
        self.counts = state["counts"]


class StopAfter(BaseCallback):
    """Asks the training to stop after a number of calls."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def _on_step(self):
        return self.n_calls < self.calls


LOOP = '''
from armature import BaseLoop


class Rounds(BaseLoop):
    """Collects, then updates, then evaluates."""

    @staticmethod
    def get_default_parameters():
        return {"round_steps": 40, "updates": 3}

    def train(self, total_steps):
        while self.running and self.steps < total_steps:
            for _ in range(self.parameters["round_steps"] // self.env.num_envs):
                self.step(update=False)
            for _ in range(self.parameters["updates"]):
                self.model.update(int(self.episode_nums[0]))
            self.evaluate()
        self.checkpoint()
        self.film("last.gif")
'''


@pytest.fixture
def loop_config(make_config, tables, tmp_path):
    """Return a function that makes a configuration of the counting agent and a loop."""
    (tmp_path / "my_loop.py").write_text(LOOP, encoding="utf-8")
    register("mine", "pytorch", Combo(Counter))

    def make(own=False, **keys):
        loop = {"loop": f"{tmp_path / 'my_loop.py'}:Rounds"} if own else {}
        return make_config("mine", **{**loop, **keys})

    return make


# ---------------------------------------------------------------------------------------------- the default loop


def test_g1_no_loop_of_ones_own_is_needed(loop_config, train):
    session = train(loop_config())
    assert session.model.agent.counts == {"act": 300, "memorize": 300, "update": 300}
    assert session.evaluations.latest is not None


def test_random_episodes_are_memorised_and_not_counted(loop_config, train):
    """Three episodes of 20 steps before 300 steps of training; the agent neither acts nor updates in them."""
    session = train(loop_config(loop_kwargs={"random_episodes": 3}))
    assert session.model.num_timesteps in (300, 301)
    counts = session.model.agent.counts
    assert counts["act"] == counts["update"] == session.model.num_timesteps
    assert counts["memorize"] == counts["update"] + 60


def test_random_episodes_are_random(loop_config, train):
    session = train(loop_config(loop_kwargs={"random_episodes": 1000}, steps=1, num_envs=2), extra=[StopAfter(5)])
    assert session.model.num_timesteps == 0
    assert np.abs(session.model.agent.last_action).min() > 0


def test_random_episodes_are_not_repeated_after_a_resume(loop_config, train):
    config = loop_config(loop_kwargs={"random_episodes": 2}, steps=100)
    session = train(config)
    resumed = train(config.model_copy(update={"steps": 200}), session.run, session.checkpoints.save())
    counts = resumed.model.agent.counts
    assert (counts["act"], counts["memorize"]) == (200, 240)


def test_episodes_can_be_limited_over_all_sessions(loop_config, train):
    config = loop_config(loop_kwargs={"max_episodes": 4}, log_freq=1000)
    session = train(config)
    assert (session.model.num_timesteps, session.model.episodes) == (80, 4)
    assert len(CsvTable(session.run / "metrics.csv").rows()) == 1, "the last line is written as after the last step"
    resumed = train(config, session.run, session.checkpoints.save())
    assert (resumed.model.num_timesteps, resumed.model.episodes) == (80, 4)


def test_time_can_be_limited(loop_config, train):
    config = loop_config(loop_kwargs={"max_seconds": 0.2}, steps=10**9, eval_freq=0, checkpoint_freq=0, log_freq=0)
    started = time.monotonic()
    session = train(config)
    assert time.monotonic() - started < 20
    assert 0 < session.model.num_timesteps < 10**9


def test_a_loop_may_add_to_the_default_one(loop_config, train):
    """Its own parameters may be anything."""
    config = loop_config(loop=f"{__file__}:Greeting", loop_kwargs={"max_episodes": 2})
    check_arguments(config)
    session = train(config)
    assert session.model.episodes == 2
    assert session.model.loop.said == "hello"


def test_checkpoints_can_come_by_the_clock(loop_config, train):
    config = loop_config(loop_kwargs={"checkpoint_seconds": 1e-6}, steps=6, checkpoint_freq=0)
    session = train(config)
    assert sorted(path.name for path in (session.run / "checkpoints").iterdir()) == [
        "000000002",
        "000000004",
        "000000006",
    ]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_episode": 3}, r"loop_kwargs\.max_episode: unknown argument; did you mean 'max_episodes'\?"),
        ({"max_episodes": 1.5}, r"loop_kwargs\.max_episodes is 1.5; allowed: int"),
        ({"max_seconds": "1"}, r'loop_kwargs\.max_seconds is "1"; allowed: float'),
    ],
)
def test_g11_a_wrong_parameter_of_the_loop_is_an_error(loop_config, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        check_arguments(loop_config(loop_kwargs=kwargs))


def test_a_negative_limit_is_an_error(loop_config, train):
    with pytest.raises(ConfigError, match=r"max_seconds.*Allowed: numbers of at least 0"):
        train(loop_config(loop_kwargs={"max_seconds": -1.0}))


# ---------------------------------------------------------------------------------------------- own loops


def test_g11_g25_an_own_loop_has_the_services_of_the_run(loop_config, train):
    """Run folder, metrics, evaluations, checkpoints, a film and the best model, from a file and its parameters."""
    config = loop_config(own=True, loop_kwargs={"updates": 2}, steps=80, eval_freq=0, checkpoint_freq=0)
    check_arguments(config)
    session = train(config)
    assert session.model.agent.counts == {"act": 80, "memorize": 80, "update": 4}
    assert len(CsvTable(session.run / "evaluations.csv").rows()) == 2
    assert [path.name for path in (session.run / "checkpoints").iterdir()] == ["000000080"]
    assert (session.run / "videos/last.gif").stat().st_size > 100
    loaded = load_model(session.run / "best", allow_import=foreign_imports(config))
    assert type(loaded.model.loop).__name__ == "Rounds"


def test_g7_the_parameters_of_an_own_loop_are_written_into_a_configuration(loop_config):
    text = create_config(loop_config(own=True, loop_kwargs={"updates": 5}))
    assert '"round_steps": 40' in text
    assert '"updates": 5' in text


def test_a_loop_stands_among_the_imports_that_need_consent(loop_config):
    config = loop_config(own=True)
    assert config.loop in foreign_imports(config)


class Greeting(DefaultLoop):
    """Says something first."""

    @staticmethod
    def get_default_parameters():
        return {**DefaultLoop.get_default_parameters(), "greeting": "hello", "shift": -1}

    def train(self, total_steps):
        self.said = self.parameters["greeting"]
        super().train(total_steps)


class Idle(BaseLoop):
    """Has no train."""


@pytest.mark.parametrize(
    ("name", "message"),
    [("Idle", r"Idle has no method train\(total_steps\)"), ("Counter", "must be a class that derives from")],
)
def test_a_class_that_is_no_loop_is_named(loop_config, name, message):
    with pytest.raises(PluginError, match=message):
        check_arguments(loop_config(loop=f"{__file__}:{name}"))


@pytest.mark.parametrize("keys", [{"loop": "a.b:C"}, {"loop_kwargs": {"max_episodes": 2}}])
def test_a_loop_is_for_agents_only(keys):
    with pytest.raises(ConfigError, match="loop and loop_kwargs are for agents only, and algo 'fast_sac' is none"):
        check_arguments(Config(**keys))


def test_services_need_the_runs_callbacks(make_config):
    """Outside train.py there is no run folder to save to."""
    make_config()

    class Saving(BaseLoop):
        def train(self, total_steps):
            self.checkpoint()

    env = DummyVecEnv([lambda: gymnasium.make("toy/PointFlat-v0")])
    with pytest.raises(RunError, match="Saving needs a CheckpointCallback"):
        AgentModel(Counter, env, loop=Saving).learn(2)
