"""Agents: what they are told and when, what is kept of them, and what is said of those that are wrong."""

import json
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

from armature import Agent, Combo, ConfigError, load_model, register, save_model
from armature.agent_model import AgentModel
from armature.argument_checks import check_arguments
from armature.errors import PluginError, RunError
from armature.hyperparameters import hyperparameters
from armature.making import make_model
from armature.models import load_pretrained, restore_model
from armature.runs import CsvTable
from armature.vec import make_vec_env

ROOT = Path(__file__).parent.parent


class Recorder:
    """Writes down every call. Derives from nothing, and has no constructor."""

    @staticmethod
    def get_default_parameters():
        return {"gain": 1.0}

    def note(self, *call):
        if not hasattr(self, "calls"):
            self.calls = []
        self.calls.append(call)

    def act(self, state, episode_num):
        self.note("act", np.copy(state), episode_num)
        return np.full(self.action_space.shape, self.parameters["gain"], np.float32)

    def memorize(self, last_ob, action, reward, done, ob):
        self.note("memorize", np.copy(last_ob), action, reward, done, np.copy(ob))

    def update(self, episode_num):
        self.note("update", episode_num)


class Scaled(Agent):
    """Acts towards the goal, the faster the longer it was trained.

    Args:
        gain: How strong an action is.
        label: A name, over
            two lines.
    """

    @staticmethod
    def get_default_parameters():
        return {"gain": 0.5, "repeats": 2, "label": "plain", "anything": None, "policy_class": None, "fast": False}

    def __init__(self, **parameters):
        super().__init__(**parameters)
        self.scale, self.seen, self.noise = np.zeros(1), 0, 0.0

    def act(self, state, episode_num, explore=True):
        return self.scale * self.parameters["gain"] * state[2:] + (self.rng.normal(0, 0.1, 2) if explore else 0)

    def memorize(self, last_ob, action, reward, done, ob):
        self.seen += 1

    def update(self, episode_num):
        self.scale = self.scale + 0.01

    def metrics(self, episode_num):
        return {"scale": float(self.scale[0]), "episode": episode_num}

    def get_state(self):
        return {"scale": self.scale, "seen": self.seen}

    def set_state(self, state):
        self.scale, self.seen = state["scale"], state["seen"]


class Clock(gymnasium.Env):
    """Observes the time and a mark of its own; even episodes end after 3 steps, odd ones are cut after 2."""

    observation_space = spaces.Box(-10, 1000, (2,), np.float32)
    action_space = spaces.Box(-1, 1, (1,), np.float32)

    def __init__(self, mark):
        self.mark, self.episode = mark, -1

    def reset(self, *, seed=None, options=None):
        self.time, self.episode = 0, self.episode + 1
        return self.observe(), {}

    def step(self, action):
        self.time += 1
        even = self.episode % 2 == 0
        return self.observe(), float(self.time), even and self.time == 3, not even and self.time == 2, {}

    def observe(self):
        return np.array([self.time, self.mark], np.float32)


def clocks(count=1):
    return DummyVecEnv([lambda mark=mark: Clock(100 * mark) for mark in range(count)])


@pytest.fixture
def agent_config(make_config, tables):
    """Return a function that registers an agent and makes a configuration of it for the toy environment."""

    def make(cls, **keys):
        register("mine", "pytorch", Combo(cls), replace=True)
        return make_config("mine", **keys)

    return make


def build(config):
    return make_model(*config_row(config), make_vec_env(config, "train", config.num_envs), config)


def config_row(config):
    from armature.combos import implemented_combos

    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return algo_class, policy, {**kwargs, **config.algo_kwargs}


# ---------------------------------------------------------------------------------------------- what it is told


def test_g17_g18_g19_g20_g21_an_agent_is_called_in_order_with_what_belongs_together():
    """Act, step, memorize, update; five arguments; true last observations; done in terminal states only."""
    model = AgentModel(Recorder, clocks(), seed=0)
    model.learn(6)
    calls = model.agent.calls
    assert [call[0] for call in calls] == ["act", "memorize", "update"] * 6
    assert [call[2] for call in calls[::3]] == [0, 0, 0, 1, 1, 2]
    assert [call[1] for call in calls[2::3]] == [0, 0, 0, 1, 1, 2]
    steps = [(call[1][0], call[3], call[4], call[5][0]) for call in calls[1::3]]
    assert steps == [
        (0, 1, False, 1),
        (1, 2, False, 2),
        (2, 3, True, 3),
        (0, 1, False, 1),
        (1, 2, False, 2),
        (0, 1, False, 1),
    ]
    assert model.agent.action_space == Clock.action_space
    assert model.agent.observation_space == Clock.observation_space


def test_g20_with_several_environments_the_order_holds_in_each():
    """All act, all are stepped, then one after the other memorizes and updates; each episode has its own number."""
    model = AgentModel(Recorder, clocks(2), seed=0)
    model.learn(12)
    calls = model.agent.calls
    assert [call[0] for call in calls[:6]] == ["act", "act", "memorize", "update", "memorize", "update"]
    assert [call[2] for call in calls if call[0] == "act"] == [0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 4, 5]
    for mark in (0, 100):
        times = [call[1][0] for call in calls if call[0] == "memorize" and call[1][1] == mark]
        assert times == [0, 1, 2, 0, 1, 0]
        assert all(call[5][1] == mark for call in calls if call[0] == "memorize" and call[1][1] == mark)


def test_g18_a_cut_is_told_to_those_who_ask():
    class Asking(Recorder):
        def memorize(self, last_ob, action, reward, done, ob, truncated):
            self.note("memorize", done, truncated)

    model = AgentModel(Asking, clocks(), seed=0)
    model.learn(6)
    ends = [call[1:] for call in model.agent.calls if call[0] == "memorize"]
    assert ends == [(False, False), (False, False), (True, False), (False, False), (False, True), (False, False)]


def test_g15_parameters_are_merged_in_every_agent():
    """In one that derives from Agent and passes them on, and in one that has no constructor at all."""
    model = AgentModel(Recorder, clocks(), parameters={"gain": 0.25})
    assert model.agent.parameters == {"gain": 0.25}
    assert AgentModel(Recorder, clocks()).agent.parameters == {"gain": 1.0}
    scaled = AgentModel(Scaled, clocks(), parameters={"label": "x"}).agent.parameters
    assert scaled == {**Scaled.get_default_parameters(), "label": "x"}


def test_g15_a_parameter_named_like_a_method_replaces_nothing():
    class Sly(Recorder):
        @staticmethod
        def get_default_parameters():
            return {"act": 3, "gain": 1.0}

    AgentModel(Sly, clocks(), parameters={"act": 4}).learn(2)


def test_the_seed_gives_every_agent_its_random_numbers():
    draws = [AgentModel(Recorder, clocks(), seed=seed).agent.rng.random() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


# ---------------------------------------------------------------------------------------------- actions


SPACES = [
    (spaces.Box(-1, 1, (2,)), [3.0, -0.5], [1.0, -0.5]),
    (spaces.Discrete(3), 2, 2),
    (spaces.MultiDiscrete([2, 3]), [1, 2], [1, 2]),
    (spaces.MultiBinary(2), np.array([True, False]), [1, 0]),
]
WRONG = [
    (spaces.Box(-1, 1, (2,)), [1.0], "actions of this environment are Box"),
    (spaces.Box(-1, 1, (2,)), [1.0, float("nan")], "NaN or infinity mean that it diverged"),
    (spaces.Box(-1, 1, (2,)), None, "returns None"),
    (spaces.Box(-1, 1, (2,)), [[1, 2], [3]], "actions of this environment are Box"),
    (spaces.Discrete(3), 3, "actions of this environment are Discrete"),
    (spaces.Discrete(3), 1.0, "returns 1.0"),
    (spaces.Discrete(3), [1], "one environment"),
    (spaces.MultiDiscrete([2, 3]), [2, 2], "MultiDiscrete"),
]


def model_of(action_space):
    class Still(Clock):
        pass

    Still.action_space = action_space
    return AgentModel(Recorder, DummyVecEnv([lambda: Still(0)]))


@pytest.mark.parametrize(("space", "action", "legal"), SPACES, ids=str)
def test_actions_become_what_the_environment_takes(space, action, legal):
    array = model_of(space).legal(action)
    assert array.dtype == space.dtype
    assert array.tolist() == legal


@pytest.mark.parametrize(("space", "action", "message"), WRONG, ids=str)
def test_a_wrong_action_is_named(space, action, message):
    with pytest.raises(PluginError, match=r"Recorder\.act returns") as error:
        model_of(space).legal(action)
    assert message in str(error.value)


@pytest.mark.parametrize("key", ["toy/Point-v0", "toy/PointFlat-v0"])
def test_observations_of_any_form_are_split(agent_config, key):
    """A dict stays a dict; a single observation gets a single action."""
    seen = []

    class Looking(Scaled):
        def act(self, state, episode_num, explore=True):
            seen.append(state)
            return np.zeros(2)

    model = build(agent_config(Looking, env_name=key))
    observation = model.env.reset()
    actions, state = model.predict(observation)
    assert actions.shape == (2, 2)
    assert state[0].tolist() == [0, 1]
    single = model.observation_space.sample()
    assert model.predict(single)[0].shape == (2,)
    for item in seen:
        assert model.observation_space.contains(item)


def test_evaluations_count_their_own_episodes():
    model = AgentModel(Recorder, clocks(2))
    observation = model.env.reset()
    _, state = model.predict(observation, None, np.ones(2, bool))
    _, state = model.predict(observation, state, np.array([False, True]))
    _, state = model.predict(observation, state, np.array([True, False]))
    assert [call[2] for call in model.agent.calls] == [0, 1, 0, 2, 3, 2]


# ---------------------------------------------------------------------------------------------- training


def test_g22_metrics_reach_the_table_and_a_nan_is_named(agent_config, train, caplog):
    class Measured(Scaled):
        def metrics(self, episode_num):
            return {"scale": self.scale[0], "loss": float("nan")}

    session = train(agent_config(Measured))
    rows = CsvTable(session.run / "metrics.csv").rows()
    assert 0 < float(rows[0]["agent/scale"]) < float(rows[-1]["agent/scale"])
    assert "agent/loss" not in rows[0]
    named = [record.getMessage() for record in caplog.records if "Measured.metrics" in record.getMessage()]
    assert len(named) == 1
    assert "'loss' as nan" in named[0]


def test_g24_an_evaluation_learns_nothing(agent_config, train):
    """Training calls memorize and update once a step, be there evaluations or none."""
    counts = {}
    for eval_freq in (0, 100):

        class Counting(Scaled):
            def update(self, episode_num):
                super().update(episode_num)
                counts[eval_freq] = counts.get(eval_freq, 0) + 1  # noqa: B023

        session = train(agent_config(Counting, eval_freq=eval_freq))
        assert session.model.agent.seen == counts[eval_freq] == 300
    assert counts == {0: 300, 100: 300}


def test_g24_evaluation_does_not_explore(agent_config):
    told = []

    class Told(Scaled):
        def act(self, state, episode_num, explore=True):
            told.append(explore)
            return np.zeros(2)

    model = build(agent_config(Told))
    observation = model.env.reset()
    model.predict(observation, deterministic=True)
    model.predict(observation, deterministic=False)
    model.learn(2)
    assert told == [False, False, True, True, True, True]


def test_g2_g3_g26_state_is_kept_through_saving_resuming_and_replay(agent_config, train):
    config = agent_config(Scaled, steps=200)
    session = train(config)
    state = session.model.agent.get_state()
    draws = session.model.agent.rng.random(3)

    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert loaded.model.agent.get_state() == state
    observation = np.array([[0.1, 0.2, 0.3, 0.4]], np.float32)
    assert np.array_equal(loaded.predict(observation)[0], session.model.predict(observation, deterministic=True)[0])

    longer = config.model_copy(update={"steps": 300})
    resumed = train(longer, session.run, session.checkpoints.save())
    assert (resumed.model.num_timesteps, resumed.model.agent.seen) == (300, 300)
    assert resumed.model.episode_nums.min() >= 10, "episodes are not numbered anew"

    again = build(config)
    restore_model(again, session.checkpoints.save())[1].put_into(again)
    assert np.array_equal(again.agent.rng.random(3), draws)

    fresh = build(config)
    load_pretrained(fresh, session.run / "final")
    assert fresh.agent.scale == state["scale"]
    assert (fresh.num_timesteps, fresh.episodes) == (0, 0)


def test_g3_the_same_configuration_repeats_the_run(agent_config, train):
    tables = [CsvTable(train(agent_config(Scaled)).run / "monitor.csv").rows() for _ in range(2)]
    assert tables[0] == tables[1]


class Writer(Recorder):
    """Saves a file of its own."""

    def save(self, path):
        np.savez(path, gain=self.parameters["gain"] + 1)

    def load(self, path):
        self.loaded = float(np.load(path)["gain"])


def test_g26_an_agent_may_save_a_file_of_its_own(agent_config, train):
    config = agent_config(Writer, steps=40, algo_kwargs={"gain": 0.5})
    session = train(config)
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    assert loaded.model.agent.loaded == 1.5


def test_g26_an_agent_that_keeps_nothing_is_told_so(agent_config, train, caplog):
    config = agent_config(Recorder, steps=40)
    session = train(config)
    assert "Recorder has neither get_state and set_state nor save and load" in caplog.text
    folder = save_model(session.model, session.run / "final", config)
    with pytest.raises(RunError, match="cannot be replayed or resumed"):
        load_model(folder, allow_import=config.plugins)


def test_g27_an_agent_may_take_its_policy_as_a_class(agent_config, tmp_path):
    """A parameter whose name ends in _class takes an address and arrives as the class."""
    (tmp_path / "parts.py").write_text("class Policy:\n    gain = 7\n", encoding="utf-8")
    config = agent_config(Scaled, algo_kwargs={"policy_class": f"{tmp_path / 'parts.py'}:Policy"})
    check_arguments(config)
    assert build(config).agent.parameters["policy_class"].gain == 7


# ---------------------------------------------------------------------------------------------- parameters


def test_g14_parameters_are_described():
    found = hyperparameters(Scaled)
    assert {name: item.type for name, item in found.items()} == {
        **{"gain": "float", "repeats": "int", "label": "str"},
        **{"anything": "any", "policy_class": "any", "fast": "bool"},
    }
    assert found["gain"].meaning == "How strong an action is."
    assert found["label"].meaning == "A name, over two lines."
    assert found["repeats"].default == 2


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"gian": 1.0}, r"algo_kwargs\.gian: unknown argument; did you mean 'gain'\?"),
        ({"gain": "high"}, r'algo_kwargs\.gain is "high"; allowed: float'),
        ({"repeats": 1.5}, r"algo_kwargs\.repeats is 1.5; allowed: int"),
        ({"repeats": True}, r"algo_kwargs\.repeats is true; allowed: int"),
        ({"fast": 1}, r"algo_kwargs\.fast is 1; allowed: bool"),
        ({"seed": 1}, 'algo_kwargs.seed is set by the key "seed"'),
    ],
)
def test_g16_a_wrong_parameter_is_an_error(agent_config, kwargs, message):
    with pytest.raises(ConfigError, match=message):
        check_arguments(agent_config(Scaled, algo_kwargs=kwargs))


def test_g16_right_parameters_are_none(agent_config):
    check_arguments(agent_config(Scaled, algo_kwargs={"gain": 1, "anything": [1, {"a": 2}], "fast": True}))


@pytest.mark.parametrize("keys", [{"policy": "MlpPolicy"}, {"policy_kwargs": {"net_arch": [8]}}])
def test_an_agent_has_no_policy(agent_config, keys):
    with pytest.raises(ConfigError, match="policy and policy_kwargs mean nothing to Scaled"):
        check_arguments(agent_config(Scaled, **keys))


# ---------------------------------------------------------------------------------------------- faults


class Forgetful(Scaled):
    """Passes no parameters on."""

    def __init__(self, **parameters):
        super().__init__()


class Saver(Recorder):
    """Saves and cannot load."""

    def save(self, path):
        pass


class Getter(Recorder):
    """Gives a state and cannot take it back."""

    def get_state(self):
        return {}


MADE = [
    (Forgetful, "super().__init__(**parameters)"),
    (Saver, "has one of save and load. Give it both, or neither."),
    (Getter, "has one of get_state and set_state"),
]


@pytest.mark.parametrize(("cls", "message"), MADE, ids=lambda item: getattr(item, "__name__", ""))
def test_a_fault_in_construction_names_the_class(cls, message):
    with pytest.raises(PluginError, match=f"agent {cls.__name__}") as error:
        AgentModel(cls, clocks(), parameters={"gain": 0.75})
    assert message in str(error.value)


class Wordy(Scaled):
    """Measures in words."""

    def metrics(self, episode_num):
        return {"mood": "good"}


class Lone(Scaled):
    """Measures one thing without a name."""

    def metrics(self, episode_num):
        return 3.0


class Broken(Scaled):
    """Acts for another robot."""

    def act(self, state, episode_num, explore=True):
        return np.zeros(5)


DRIVEN = [
    (Wordy, r"Wordy\.metrics gives", "return a dict of numbers by name"),
    (Lone, r"Lone\.metrics gives", "return a dict of numbers by name"),
    (Broken, r"Broken\.act returns", "Box(-1.0, 1.0, (2,), float32)"),
]


@pytest.mark.parametrize(("cls", "start", "message"), DRIVEN, ids=lambda item: getattr(item, "__name__", ""))
def test_a_fault_in_training_names_class_and_method(agent_config, train, cls, start, message):
    with pytest.raises(PluginError, match=start) as error:
        train(agent_config(cls))
    assert message in str(error.value)


class Listing(Scaled):
    """Has a state without names."""

    def get_state(self):
        return [self.scale]


class Keeping(Scaled):
    """Has a state whose keys JSON turns into text."""

    def get_state(self):
        return {"when": {1: 2}}


class Objects(Scaled):
    """Has a state that would have to be pickled."""

    def get_state(self):
        return {"scale": np.array([None])}


class Losing(Scaled):
    """Takes back half of its state."""

    def set_state(self, state):
        self.scale = state["scale"]


class Nowhere(Writer):
    """Saves beside the path."""

    def save(self, path):
        np.save(path, np.zeros(3))


KEPT = [
    (Listing, "returns list; return a dict by name"),
    (Keeping, "holds 'when' of type dict, which is not the same after saving"),
    (Objects, "holds 'scale' of type ndarray"),
    (Losing, "set_state loses state: after it get_state gives another seen"),
    (Nowhere, "numpy.save adds .npy"),
]


@pytest.mark.parametrize(("cls", "message"), KEPT, ids=lambda item: getattr(item, "__name__", ""))
def test_a_fault_in_saving_names_class_and_remedy(agent_config, tmp_path, cls, message):
    config = agent_config(cls)
    model = build(config)
    model.learn(4)
    with pytest.raises(PluginError, match=cls.__name__) as error:
        load_model(save_model(model, tmp_path / "final", config), allow_import=config.plugins)
    assert message in str(error.value)


def test_missing_methods_are_listed(tables):
    class Half:
        @staticmethod
        def get_default_parameters():
            return {}

        def act(self, state):
            return 0

        def memorize(self, last_ob, action, reward, done, ob):
            pass

    with pytest.raises(PluginError, match=r"Half.* cannot be used as an agent") as error:
        register("half", "pytorch", Combo(Half))
    assert "it has no method update(episode_num)" in str(error.value)
    assert "act(self, state) cannot be called as act(state, episode_num)" in str(error.value)


def test_defaults_that_are_no_dict_are_named(agent_config):
    class Listed(Scaled):
        @staticmethod
        def get_default_parameters():
            return ["gain"]

    with pytest.raises(PluginError, match=r"Listed\.get_default_parameters returns"):
        check_arguments(agent_config(Listed))


# ---------------------------------------------------------------------------------------------- what is shipped


def test_g2_an_agents_module_needs_numpy_alone():
    code = "import sys; from armature import Agent\nfrom armature.registry import resolve\n"
    code += "resolve('examples/cem_agent.py:CemAgent')\n"
    code += "print(sorted({'torch', 'stable_baselines3', 'pybullet', 'gymnasium'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_g5_agent_base_and_loops_are_small_enough_to_read():
    lines = sum(len((ROOT / "armature" / name).read_text().splitlines()) for name in ("agents.py", "loops.py"))
    assert lines <= 200


def test_g8_a_random_agent_is_shipped(make_config, train):
    """It trains, and a replay goes on with the same actions."""
    config = make_config("random")
    session = train(config)
    loaded = load_model(save_model(session.model, session.run / "final", config), allow_import=config.plugins)
    actions, again = (model.predict(np.zeros((3, 4), np.float32))[0] for model in (session.model, loaded))
    assert np.array_equal(actions, again)
    assert np.unique(actions).size == actions.size
    assert np.abs(actions).max() <= 1


@pytest.mark.parametrize(
    "keys", [{"env_name": "CartPole-v1"}, {"normalize": True}, {"env_name": "toy/Point-v0", "num_envs": 3}], ids=str
)
def test_agents_train_with_any_actions_and_observations(make_config, train, keys):
    """Discrete actions, normalised observations, dicts."""
    config = make_config("random", steps=100, **keys)
    session = train(config)
    assert session.model.num_timesteps in (100, 102)
    loaded = load_model(session.run / "best", allow_import=config.plugins)
    assert loaded.predict(session.model.env.reset())[0].shape[0] == config.num_envs


def test_the_cross_entropy_agent_learns_the_toy_environment(make_config, train):
    """In a few seconds, and what is saved acts as what was trained."""
    from armature.plugins import load_extensions

    address = f"{ROOT / 'examples/cem_agent.py'}:CemAgent"
    config = make_config(
        address,
        steps=16_000,
        eval_freq=16_000,
        eval_episodes=50,
        checkpoint_freq=0,
        policy_kwargs={},
        algo_kwargs={"population": 16, "elites": 8},
    )
    load_extensions(config)
    check_arguments(config)
    session = train(config)
    assert session.evaluations.latest.success_rate >= 0.6
    loaded = load_model(session.run / "best", allow_import=[*config.plugins, address])
    observation = np.array([[0.5, 0.5, -0.2, 0.3]], np.float32)
    assert np.array_equal(loaded.predict(observation)[0], session.model.predict(observation, deterministic=True)[0])
    assert "CemAgent" in json.loads((loaded.folder / "model.json").read_text())["policy"]
