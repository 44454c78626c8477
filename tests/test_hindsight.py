"""Hindsight: what is drawn how often, with which goals and rewards, beside SB3's own buffer."""

import copy
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import HerReplayBuffer
from stable_baselines3.common.envs import BitFlippingEnv
from stable_baselines3.common.vec_env import DummyVecEnv

from armature.checkpoints import write_folder
from armature.combos import implemented_combos
from armature.config import Config
from armature.errors import PluginError
from armature.hindsight import HindsightReplayBuffer
from armature.infos import InfoTable
from armature.making import make_model
from armature.plugins import load_plugins
from armature.replay import ReplayFiles
from armature.shm_vec_env import ShmVecEnv
from armature.vec import make_env, make_vec_env, normalized

ENVS, ROWS = 3, 40
KINDS = [HerReplayBuffer, HindsightReplayBuffer]
STRATEGIES = ["future", "final", "episode"]


class Numbered(gymnasium.Env):
    """Spaces and a reward for transitions that say which ones they are."""

    box = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    picture = spaces.Box(0, 255, (2, 2, 1), np.uint8)
    observation_space = spaces.Dict(observation=box, achieved_goal=box, desired_goal=box, picture=picture)
    action_space = spaces.Box(-1, 1, (4,), np.float32)

    def compute_reward(self, achieved_goal, desired_goal, info):
        """Tell every pair of goals from every other."""
        return achieved_goal[:, 0] / 1000 + desired_goal[:, 0]


def numbered_env():
    """Return the environments of the buffers below; they are never stepped."""
    return DummyVecEnv([Numbered] * ENVS)


def make_buffer(cls=HindsightReplayBuffer, **kwargs):
    """Return an empty buffer."""
    env = numbered_env()
    return cls(ENVS * ROWS, env.observation_space, env.action_space, env, device="cpu", n_envs=ENVS, **kwargs)


def transitions(steps, lengths=(1, 9), seed=0):
    """Yield what `add` takes: number `1 + step * ENVS + env` is achieved, minus the episode's number is desired."""
    rng = np.random.default_rng(seed)
    left, episode = rng.integers(*lengths, ENVS, endpoint=True), np.arange(ENVS)
    for step in range(steps):
        number = 1 + step * ENVS + np.arange(ENVS)
        left -= 1
        done = left == 0
        cut = done & (number % 2 == 0)
        before, after = ({"observation": twice(number + half), "desired_goal": twice(-episode)} for half in (0, 0.5))
        pictures = np.broadcast_to((number % 256).astype(np.uint8)[:, None, None, None], (ENVS, 2, 2, 1))
        before |= {"achieved_goal": twice(number - 1), "picture": pictures}
        after |= {"achieved_goal": twice(number), "picture": pictures + 1}
        infos = [
            {"TimeLimit.truncated": bool(flag), "place": {"x": float(n)}} for flag, n in zip(cut, number, strict=True)
        ]
        yield before, after, rng.uniform(-1, 1, (ENVS, 4)), number / 7.0, done, infos
        left = np.where(done, rng.integers(*lengths, ENVS, endpoint=True), left)
        episode = np.where(done, episode + ENVS, episode)


def twice(numbers):
    """Return numbers in two columns."""
    return np.stack([numbers, numbers], axis=1).astype(np.float32)


def filled(cls=HindsightReplayBuffer, steps=150, lengths=(1, 9), **kwargs):
    """Return a buffer that has been through some steps."""
    buffer = make_buffer(cls, **kwargs)
    for transition in transitions(steps, lengths):
        buffer.add(*copy.deepcopy(transition))
    return buffer


def fields(buffer):
    """Return every array that both kinds of buffer have."""
    found = {name: getattr(buffer, name) for name in ("actions", "rewards", "dones", "timeouts")}
    found |= {name: getattr(buffer, name) for name in ("ep_start", "ep_length", "_current_ep_start")}
    for group in ("observations", "next_observations"):
        found |= {f"{group}.{key}": array for key, array in getattr(buffer, group).items()}
    return found


def trained(config, env, steps):
    """Return the config's model after some steps."""
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    return make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config).learn(steps)


def draws(buffer, batches, size):
    """Return the transitions of relabelled samples and the goals that they got, by number, and those of real ones."""
    real, relabelled = [], []
    for _ in range(batches):
        batch = buffer.sample(size)
        numbers = batch.next_observations["achieved_goal"][:, 0].numpy().astype(int)
        own = size - int(buffer.her_ratio * size)
        real.append(numbers[:own])
        goals = batch.observations["desired_goal"][own:, 0].numpy().astype(int)
        relabelled.append(np.stack([numbers[own:], goals], axis=1))
    return np.concatenate(real), np.concatenate(relabelled)


def expected_goals(buffer, strategy):
    """Return the probability of each pair (transition, goal) of relabelled samples, by number."""
    valid = np.argwhere(buffer.ep_length > 0)
    achieved = buffer.next_observations["achieved_goal"][..., 0].astype(int)
    found = {}
    for row, env in valid:
        start, length = int(buffer.ep_start[row, env]), int(buffer.ep_length[row, env])
        present = (row - start) % buffer.buffer_size
        first = {"future": present, "final": length - 1, "episode": 0}[strategy]
        for step in range(first, length):
            goal = achieved[(start + step) % buffer.buffer_size, env]
            found[int(achieved[row, env]), int(goal)] = 1 / len(valid) / (length - first)
    return found


def assert_drawn_as(samples, probabilities):
    """Assert Pearson's chi-squared within five standard deviations, and that nothing else was drawn."""
    keys = list(probabilities)
    counts = dict.fromkeys(keys, 0)
    for sample in samples:
        counts[sample] += 1  # raises KeyError for what must not be drawn
    expected = np.array([probabilities[key] for key in keys]) * len(samples)
    assert expected.min() > 5
    statistic = float((((np.array([counts[key] for key in keys])) - expected) ** 2 / expected).sum())
    freedom = len(keys) - 1
    assert abs(statistic - freedom) < 5 * np.sqrt(2 * freedom)


# ---------------------------------------------------------------------------------------------- what is stored


@pytest.mark.parametrize("lengths", [(1, 9), (5, 5), (1, 30), (45, 95), (40, 40), (80, 80)])
def test_what_can_be_replayed_is_what_sb3_would_replay(lengths):
    """After every step, the ring overwritten several times, also by episodes that are longer than it."""
    theirs, ours = make_buffer(HerReplayBuffer), make_buffer()
    for transition in transitions(260, lengths):
        theirs.add(*copy.deepcopy(transition))
        ours.add(*copy.deepcopy(transition))
        for env in range(ENVS):
            stretch = (ours._current_ep_start[env] - 1 - np.arange(ours.replayable[env])) % ours.buffer_size
            assert sorted(stretch) == np.flatnonzero(theirs.ep_length[:, env] > 0).tolist()
    for name, array in fields(theirs).items():
        np.testing.assert_array_equal(fields(ours)[name], array, err_msg=name)
        assert fields(ours)[name].shape == array.shape


def test_an_empty_buffer_says_what_it_waits_for():
    buffer = make_buffer()
    with pytest.raises(RuntimeError, match="no episode has ended yet"):
        buffer.sample(8)


def test_episodes_that_are_cut_off_can_be_replayed():
    """As SB3 does to a buffer that is loaded for other environments."""
    buffer = filled(steps=5, lengths=(8, 8))
    with pytest.warns(UserWarning, match="will be truncated"):
        buffer.truncate_last_trajectory()
    assert_drawn_as([tuple(pair) for pair in draws(buffer, 20, 500)[1].tolist()], expected_goals(buffer, "future"))


# ---------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("cls", KINDS)
def test_transitions_and_goals_are_drawn_alike(cls, strategy):
    """SB3's buffer and ours against the same probabilities, counted out from what is stored."""
    buffer = filled(cls, goal_selection_strategy=strategy)
    np.random.seed(1)
    real, relabelled = draws(buffer, 100, 500)
    valid = buffer.next_observations["achieved_goal"][..., 0][buffer.ep_length > 0].astype(int)
    assert len(valid) < ENVS * ROWS  # some belong to episodes that have not ended, or have lost their beginning
    assert_drawn_as(real.tolist(), dict.fromkeys(valid.tolist(), 1 / len(valid)))
    assert_drawn_as([tuple(pair) for pair in relabelled.tolist()], expected_goals(buffer, strategy))


@pytest.mark.parametrize(("n_sampled_goal", "size", "own"), [(4, 10, 2), (4, 256, 52), (1, 7, 4), (0, 5, 5)])
def test_the_share_of_relabelled_transitions_is_sb3s(n_sampled_goal, size, own):
    for cls in KINDS:
        batch = filled(cls, n_sampled_goal=n_sampled_goal).sample(size)
        desired = batch.observations["desired_goal"][:, 0].numpy()
        assert (desired[:own] <= 0).all()  # episodes have numbers below zero
        assert (desired[own:] > 0).all()
        assert len(desired) == size


def test_samples_hold_what_was_stored_and_rewards_for_their_goals():
    buffer = filled()
    batch = buffer.sample(400)
    assert [part.shape for part in (batch.actions, batch.rewards, batch.dones)] == [(400, 4), (400, 1), (400, 1)]
    number = batch.next_observations["achieved_goal"][:, 0].numpy().astype(int)
    where = [tuple(np.argwhere(buffer.next_observations["achieved_goal"][..., 0] == one)[0]) for one in number]
    rows, envs = np.array(where).T
    for key in ("observation", "achieved_goal", "picture"):
        np.testing.assert_array_equal(batch.observations[key], buffer.observations[key][rows, envs])
        np.testing.assert_array_equal(batch.next_observations[key], buffer.next_observations[key][rows, envs])
        assert batch.observations[key].dtype == torch.as_tensor(buffer.observations[key]).dtype
    np.testing.assert_array_equal(batch.actions, buffer.actions[rows, envs])
    dones = buffer.dones[rows, envs] * (1 - buffer.timeouts[rows, envs])
    np.testing.assert_array_equal(batch.dones[:, 0], dones)
    assert 0 < dones.sum() < buffer.dones[rows, envs].sum()
    goals = batch.observations["desired_goal"]
    assert torch.equal(goals, batch.next_observations["desired_goal"])
    np.testing.assert_array_equal(batch.rewards[:80, 0], buffer.rewards[rows, envs][:80])
    rewards = Numbered().compute_reward(batch.next_observations["achieved_goal"].numpy(), goals.numpy(), {})
    np.testing.assert_array_equal(batch.rewards[80:, 0], rewards[80:])


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("shape", [(1,), (3,), (7,), (2, 3)])
def test_goals_of_any_shape_are_those_of_the_same_episode(shape, strategy):
    """Every number of a goal tells its step and its place in the goal."""
    box = spaces.Box(-np.inf, np.inf, shape, np.float32)

    class Shaped(Numbered):
        observation_space = spaces.Dict(observation=Numbered.box, achieved_goal=box, desired_goal=box)

        def compute_reward(self, achieved_goal, desired_goal, info):
            """Return how much later the new goal was achieved."""
            return (desired_goal - achieved_goal).reshape(len(achieved_goal), -1)[:, -1]

    def goals(numbers):
        return (numbers[:, None] + np.arange(np.prod(shape)) / 1024).reshape(-1, *shape)

    env = DummyVecEnv([Shaped] * ENVS)
    buffer = HindsightReplayBuffer(
        ENVS * ROWS,
        env.observation_space,
        env.action_space,
        env,
        device="cpu",
        n_envs=ENVS,
        goal_selection_strategy=strategy,
    )
    for step in range(130):
        number = 100.0 * np.arange(ENVS) + step % 100
        before, after = ({"observation": twice(number), "desired_goal": goals(-1 - number)} for _ in range(2))
        before["achieved_goal"], after["achieved_goal"] = goals(number - 1), goals(number)
        done = np.full(ENVS, step % 5 == 4)
        buffer.add(before, after, np.zeros((ENVS, 4)), np.zeros(ENVS), done, [{}] * ENVS)
    batch = buffer.sample(500)
    number = batch.observations["observation"][100:, 0].numpy()
    desired = batch.observations["desired_goal"][100:].numpy()
    later = batch.rewards[100:, 0].numpy()
    np.testing.assert_array_equal(desired, goals(number + later).astype(np.float32))
    first = {"future": 0, "final": 4 - number % 5, "episode": -(number % 5)}[strategy]
    last = 4 - number % 5
    assert ((first <= later) & (later <= last)).all()
    assert {*later} == {*range(-4 if strategy == "episode" else 0, 5)}


def test_drawing_changes_nothing_that_is_stored():
    buffer = filled()
    before = copy.deepcopy(fields(buffer))
    batch = buffer.sample(100)
    for part in (*batch.observations.values(), *batch.next_observations.values(), batch.actions, batch.rewards):
        part.zero_()
    for name, array in fields(buffer).items():
        np.testing.assert_array_equal(array, before[name])


def test_normalisation_is_of_the_new_goals():
    buffer = filled()
    env = normalized(numbered_env())
    for statistics in env.obs_rms.values():
        statistics.mean, statistics.var = statistics.mean + 50, statistics.var * 900
    state = np.random.get_state()
    raw = buffer.sample(200)
    np.random.set_state(state)
    shown = buffer.sample(200, env)
    for group in ("observations", "next_observations"):
        wanted = env.normalize_obs({key: part.numpy() for key, part in getattr(raw, group).items()})
        for key, part in getattr(shown, group).items():
            np.testing.assert_array_equal(part, wanted[key])
    assert not torch.equal(raw.observations["desired_goal"], shown.observations["desired_goal"])
    assert torch.equal(raw.rewards, shown.rewards)


def test_an_environment_with_other_types_of_numbers():
    """SB3's test environment: bits that are flipped one at a time."""
    env = DummyVecEnv([lambda: BitFlippingEnv(n_bits=5, continuous=False)] * 2)
    buffer = HindsightReplayBuffer(200, env.observation_space, env.action_space, env, device="cpu", n_envs=2)
    seen = env.reset()
    rng = np.random.default_rng(0)
    for _ in range(130):
        actions = rng.integers(0, 5, 2)
        after, rewards, dones, infos = env.step(actions)
        ends = [info.get("terminal_observation") for info in infos]
        last = {key: part.copy() for key, part in after.items()}
        for index, end in enumerate(ends):
            for key in end or ():
                last[key][index] = end[key]
        buffer.add(seen, last, actions, rewards, dones, infos)
        seen = after
    batch = buffer.sample(100)
    assert batch.actions.dtype == torch.int64
    assert set(batch.actions.flatten().tolist()) <= set(range(5))
    reached = (batch.next_observations["achieved_goal"] == batch.observations["desired_goal"]).all(dim=1)
    assert torch.equal(batch.rewards[:, 0], reached.float() - 1)
    assert reached[20:].float().mean() > reached[:20].float().mean()


def test_a_reward_of_single_goals_only_is_refused():
    class Single(Numbered):
        def compute_reward(self, achieved_goal, desired_goal, info):
            """Ignore that there are many."""
            return 0.0

    buffer = filled()
    buffer.env = DummyVecEnv([Single])
    with pytest.raises(PluginError, match=r"returned \(\) for 8 goals; hindsight needs one that takes goals of shape"):
        buffer.sample(10)


# ---------------------------------------------------------------------------------------------- infos


def test_numbers_that_stand_in_every_info_are_kept():
    table = InfoTable(4, 2)
    table[0] = [{"a": 1, "b": {"c": np.zeros(3), "d": True}, "text": "x", "rare": 1.0, "size": 1}] * 2
    table[1] = [{"a": 0.5, "b": {"c": np.arange(3), "d": False}, "late": 2, "size": [1, 2]}] * 2
    assert set(table.columns) == {("a",), ("b", "c"), ("b", "d")}
    infos = table[np.array([1, 0, 1]), np.array([0, 1, 1])]
    assert [info["a"] for info in infos] == [0.5, 1.0, 0.5]
    assert infos[1]["b"]["c"].tolist() == [0, 0, 0]
    assert infos[0]["b"]["d"] == np.False_
    assert len(infos[1:]) == 2
    gathered = infos.gather("b")
    assert gathered["c"].tolist() == [[0, 1, 2], [0, 0, 0], [0, 1, 2]]
    assert gathered["d"].tolist() == [False, True, False]


def test_infos_belong_to_their_transitions():
    """An environment that looks into them one by one sees dicts."""

    class Placed(Numbered):
        def compute_reward(self, achieved_goal, desired_goal, info):
            """Return what stands in the infos."""
            return np.array([row["place"]["x"] for row in info])

    buffer = filled(copy_info_dict=True)
    buffer.env = DummyVecEnv([Placed])
    batch = buffer.sample(50)
    assert torch.equal(batch.rewards[10:, 0], batch.next_observations["achieved_goal"][10:, 0])


def test_dense_rewards_of_many_transitions_at_once():
    """From columns the same bits as from dicts."""
    load_plugins()
    config = Config(algo="her", task_type="pick_and_place", reward="dense", max_episode_steps=6)
    config = config.model_copy(update={"algo_kwargs": {"buffer_size": 60, "learning_starts": 100}})
    env = make_vec_env(config, "train", 1)
    model = trained(config, env, steps=20)
    buffer = model.replay_buffer
    rows, envs = np.arange(18), np.zeros(18, int)
    achieved, desired = (buffer.next_observations[key][rows, envs] for key in ("achieved_goal", "desired_goal"))
    compute = env.get_attr("compute_reward")[0]
    rewards = compute(achieved, desired, buffer.infos[rows, envs])
    np.testing.assert_array_equal(rewards, compute(achieved, desired, list(buffer.infos[rows, envs])))
    np.testing.assert_array_equal(rewards.astype(np.float32), buffer.rewards[rows, envs])
    batch = buffer.sample(50)
    assert (batch.rewards[10:].mean() > batch.rewards[:10].mean()).item()
    env.close()


# ---------------------------------------------------------------------------------------------- kept and shared


@pytest.mark.parametrize("steps", [0, 25, 150])
def test_a_saved_buffer_goes_on_as_the_one_that_was_saved(steps, tmp_path):
    old, new = filled(steps=steps, copy_info_dict=True), make_buffer(copy_info_dict=True)
    files = ReplayFiles()
    files.save(SimpleNamespace(replay_buffer=old, num_timesteps=steps), tmp_path, None)
    files.load(SimpleNamespace(replay_buffer=new, num_timesteps=steps), tmp_path)
    for transition in transitions(70, seed=1):
        for buffer in (old, new):
            buffer.add(*copy.deepcopy(transition))
    assert same_batches(old, new)
    assert new.infos.columns.keys() == old.infos.columns.keys() == {("TimeLimit.truncated",), ("place", "x")}
    assert new.replayable.tolist() == old.replayable.tolist() == (new.ep_length > 0).sum(axis=0).tolist()


def test_checkpoints_that_share_files_hold_what_is_stored(tmp_path, monkeypatch):
    """Also where short episodes begin to overwrite a long one, which is then forgotten as a whole."""
    monkeypatch.setattr("armature.replay.BLOCK_BYTES", 1)
    buffer, files, step = make_buffer(copy_info_dict=True), ReplayFiles(), 0
    shared = 0
    for transition in [*transitions(45, (30, 30)), *transitions(150, (1, 2), seed=1), *transitions(60, (9, 9))]:
        buffer.add(*copy.deepcopy(transition))
        step += 1
        if step % 3:
            continue
        model, target = SimpleNamespace(replay_buffer=buffer, num_timesteps=step * ENVS), tmp_path / str(step)
        earlier = files.earlier()
        write_folder(
            target, step, lambda draft, model=model, earlier=earlier: files.save(model, draft, earlier), earlier
        )
        files.saved(model, target)
        shared += len(earlier.linked) if earlier else 0
        fresh = make_buffer(copy_info_dict=True)
        ReplayFiles().load(SimpleNamespace(replay_buffer=fresh, num_timesteps=step * ENVS), target)
        for name, array in fields(buffer).items():
            np.testing.assert_array_equal(fields(fresh)[name], array, err_msg=f"{name} at step {step}")
    assert shared > 100


def test_a_copy_goes_on_alone():
    """As SB3 pickles buffers: its arrays are parts of one block again."""
    old = filled()
    new = copy.deepcopy(old)
    new.set_env(old.env)
    assert same_batches(old, new)
    for transition in transitions(30, seed=1):
        new.add(*transition)
    assert new.pos != old.pos
    assert not same_batches(old, new)
    np.testing.assert_array_equal(old.actions, filled().actions)


def same_batches(first, second):
    """Whether two buffers draw the same from the same random state."""
    state = np.random.get_state()
    found = []
    for buffer in (first, second):
        np.random.set_state(state)
        found.append(buffer.sample(64))
    one, two = ([*b.observations.values(), *b.next_observations.values(), b.actions, b.rewards, b.dones] for b in found)
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_workers_are_not_asked_for_rewards(make_config, monkeypatch):
    """The weights are those of a training without workers."""

    def refuse(self, name, *args, **kwargs):
        raise AssertionError(name)

    monkeypatch.setattr(ShmVecEnv, "env_method", refuse)
    threads, weights = torch.get_num_threads(), []
    for workers in (0, 2):
        config = make_config("her", num_workers=workers)
        env = make_vec_env(config, "train", 2)
        assert isinstance(env.unwrapped, ShmVecEnv) is (workers > 0)
        model = trained(config, env, steps=100)
        assert model._n_updates > 10
        weights.append(model.policy.state_dict())
        env.close()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert torch.get_num_threads() == threads


def test_the_twin_is_made_when_asked_for_and_closed_with_the_others(make_config):
    closed = []

    class Twin(gymnasium.Wrapper):
        def close(self):
            """Take note."""
            closed.append(self)

    config = make_config("her")
    makers = [lambda: make_env(config, "train", 0)]
    env = make_vec_env(make_config("her", num_workers=1), "train", 1)
    base = env.unwrapped
    base._make_twin = lambda: Twin(makers[0]())
    assert "twin" not in vars(base)
    assert base.twin is base.twin
    env.close()
    assert closed == [base.twin]
