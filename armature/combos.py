"""The table `implemented_combos[algo][train_framework]`: which class trains, with which policy and arguments.

A row is data. Classes are addresses, imported only when a row is chosen, so that listing the table costs nothing and
no row needs another row's package.

    from armature import Combo, implemented_combos, register
    register("myalgo", "pytorch", Combo("my_package.my_module:MyAlgo", kwargs={"learning_rate": 1e-3}))
    implemented_combos["myalgo"] = {"pytorch": [MyAlgo, (MyPolicy,), {"learning_rate": 1e-3}]}  # the same, as a list
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from armature.doors import check_definition, where
from armature.errors import ConfigError, PluginError
from armature.registry import Table, registrant


@dataclass(frozen=True)
class Combo:
    """One way to train. Unpacks as the triple `algo_class, policy, kwargs`; the rest says what is legal with it."""

    algo_class: type | str
    """The class, or its address `"package.module:Class"`."""
    policy: type | str | None = None
    """A policy name the class knows, a policy class or its address; None: chosen from the observation space."""
    kwargs: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Defaults of this row, as JSON values; the config's `algo_kwargs` win over them."""
    actions: Literal["any", "box", "discrete"] = "any"
    """The action spaces the class can handle; `discrete` rows see continuous actions through `DiscreteActions`."""
    hindsight: bool = False
    """Whether the class accepts a HerReplayBuffer."""
    dict_observations: bool = True
    """Whether the class accepts Dict observations."""
    recurrent: bool = False
    """Whether the class needs the Lstm form of a policy."""
    replay_buffer: Literal["default", "her"] = "default"
    """`her`: the row replays with hindsight even when the config does not ask for it."""
    overlaps: bool = False
    """Whether the class learns while environments in worker processes step, and wants a core for itself."""
    package: str | None = None
    """The distribution the class comes from, shown by `--list-algos`; None for a file of somebody's own."""
    install: str | None = None
    """What `pip install` needs to bring the package, if it is not part of the core installation."""
    source: str = ""
    """Who registered the row; empty until it is registered."""

    def __iter__(self) -> Iterator[Any]:
        """Unpack as `algo_class, policy, kwargs`."""
        return iter((self.algo_class, self.policy, self.kwargs))


class Frameworks(Table[Combo]):
    """The rows of one algorithm, by framework. A row is a `Combo` or `[Class, (Policy,), {kwargs}]`."""

    def __init__(self, algo: str) -> None:
        super().__init__(f"train_framework for algo {algo!r}")
        self.algo = algo

    def __setitem__(self, framework: str, row: Any) -> None:
        register(self.algo, framework, combo_of(row, f"implemented_combos[{self.algo!r}][{framework!r}]"))

    def place(self, framework: str, combo: Combo) -> None:
        """Add or replace a row without asking."""
        super().__setitem__(framework, combo)


class Combos(Table[Frameworks]):
    """The table. Assigning rows checks them as `register` does."""

    def __setitem__(self, algo: str, rows: Any) -> None:
        if not isinstance(rows, Mapping):
            raise PluginError(
                f"implemented_combos[{algo!r}] is set to {rows!r}; allowed: rows by framework, "
                '{"pytorch": [Class, (Policy,), {kwargs}]}.'
            )
        for framework, row in rows.items():
            register(algo, framework, combo_of(row, f"implemented_combos[{algo!r}][{framework!r}]"))

    def frameworks(self, algo: str) -> Frameworks:
        """Return the rows of an algorithm, none yet for a new one."""
        if algo not in self:
            super().__setitem__(algo, Frameworks(algo))
        return self[algo]


implemented_combos: Combos = Combos("algo", remedy="See them with: python train.py --list-algos")
"""`implemented_combos[algo][train_framework]` is a `Combo`. The one table of the whole program."""


def combo_of(row: Any, name: str) -> Combo:
    """Return a row that was written as `[Class, (Policy,), {kwargs}]` as a `Combo`; raise `PluginError` if it is none.

    Args:
        row: the row. Its second part may hold None or "env" in the place of the environment, which does not exist yet.
        name: what to call the row in an error.
    """
    if isinstance(row, Combo):
        return row
    form = f"{name} is {row!r}; allowed: a Combo, or [Class, (Policy,), {{kwargs}}]."
    if not isinstance(row, (list, tuple)) or len(row) != 3:
        raise PluginError(form)
    algo_class, policies, kwargs = row
    if not isinstance(policies, (list, tuple)) or len(policies) not in (1, 2) or not isinstance(kwargs, Mapping):
        raise PluginError(form)
    if len(policies) == 2 and policies[1] not in (None, "env"):
        raise PluginError(
            f"{name} holds {policies[1]!r} beside the policy. The environment is made when training starts: "
            "write (Policy,)."
        )
    return Combo(algo_class, policies[0], MappingProxyType(dict(kwargs)))


def register(algo: str, framework: str, combo: Combo, *, replace: bool = False) -> None:
    """Add a row.

    Raises:
        PluginError: its class cannot train: the message lists what it lacks, by name.
        ConfigError: the place is taken by another row, and `replace` is not set.
    """
    if not isinstance(combo.algo_class, str):
        check_definition(combo.algo_class, algo)
    combo = dataclasses.replace(combo, source=combo.source or registrant.get())
    rows = implemented_combos.frameworks(algo)
    taken = rows.get(framework)
    if taken is not None and taken != combo and not replace:
        raise ConfigError(
            f"implemented_combos[{algo!r}][{framework!r}] is taken by {where(taken.algo_class)} (from {taken.source}); "
            f"{where(combo.algo_class)} (from {combo.source}) needs another name, or register(..., replace=True)."
        )
    rows.place(framework, combo)


def _register_rows() -> None:
    """Fill the table with the algorithms of Stable-Baselines3, sb3-contrib and SBX, and our default.

    The arguments are starting points for robot arms with episodes of about 50 control steps; what a class is not given
    here keeps the class's own default.
    """
    networks = {"policy_kwargs": {"net_arch": [128, 128]}}
    off_policy = {
        **{"learning_rate": 1e-3, "gamma": 0.95, "batch_size": 256, "buffer_size": 300_000, "learning_starts": 1000},
        "gradient_steps": 4,  # an update for four transitions of the usual sixteen environments
        **networks,
    }
    # Dense rewards are at most 1 a step: SB3's first entropy coefficient of 1 would drown them for ten thousand steps.
    entropy = {**off_policy, "ent_coef": "auto_0.02"}
    # Targets follow twice as fast as SB3's: with an update for four transitions they would lag behind.
    fast = {**entropy, "tau": 0.01, "policy_kwargs": {"net_arch": [128, 128], "layer_norm": True}}
    noisy = {**off_policy, "action_noise": {"type": "normal", "std": 0.1}}
    on_policy = {"gamma": 0.95}
    ppo = {**on_policy, "n_steps": 64, "batch_size": 256, "learning_rate": 1e-3}
    contrib, sbx = "sb3-contrib", "sbx-rl"

    def add(algo: str, framework: str, algo_class: str, kwargs: Mapping[str, Any], **columns: Any) -> None:
        columns = {"package": "stable-baselines3", "source": "armature", **columns}
        register(algo, framework, Combo(algo_class, kwargs=MappingProxyType(dict(kwargs)), **columns))

    add("ppo", "pytorch", "stable_baselines3:PPO", ppo)
    add("a2c", "pytorch", "stable_baselines3:A2C", {**on_policy, "n_steps": 8})
    add("sac", "pytorch", "stable_baselines3:SAC", entropy, actions="box", hindsight=True)
    # The default: known even where no plugin was loaded.
    ours = "armature.myalgos.fast_sac:FastSAC"
    add("fast_sac", "pytorch", ours, fast, actions="box", hindsight=True, overlaps=True, package="armature")
    add("her", "pytorch", "stable_baselines3:SAC", entropy, actions="box", hindsight=True, replay_buffer="her")
    add("td3", "pytorch", "stable_baselines3:TD3", noisy, actions="box", hindsight=True)
    add("ddpg", "pytorch", "stable_baselines3:DDPG", noisy, actions="box", hindsight=True)
    add("dqn", "pytorch", "stable_baselines3:DQN", off_policy, actions="discrete", hindsight=True)
    add("tqc", "pytorch", "sb3_contrib:TQC", entropy, actions="box", hindsight=True, package=contrib)
    add("crossq", "pytorch", "sb3_contrib:CrossQ", entropy, actions="box", dict_observations=False, package=contrib)
    add("qrdqn", "pytorch", "sb3_contrib:QRDQN", off_policy, actions="discrete", hindsight=True, package=contrib)
    add("trpo", "pytorch", "sb3_contrib:TRPO", {**on_policy, "n_steps": 64}, package=contrib)
    add("ars", "pytorch", "armature.myalgos.ars:ARS", {}, dict_observations=False, package=contrib)
    add("ppo_lstm", "pytorch", "sb3_contrib:RecurrentPPO", on_policy, recurrent=True, package=contrib)

    jax = {"package": sbx, "install": "sbx-rl"}
    add("ppo", "jax", "sbx:PPO", ppo, dict_observations=False, **jax)
    add("sac", "jax", "sbx:SAC", entropy, actions="box", hindsight=True, **jax)
    add("td3", "jax", "sbx:TD3", noisy, actions="box", hindsight=True, **jax)
    add("ddpg", "jax", "sbx:DDPG", noisy, actions="box", dict_observations=False, **jax)
    add("tqc", "jax", "sbx:TQC", entropy, actions="box", hindsight=True, **jax)
    add("crossq", "jax", "sbx:CrossQ", entropy, actions="box", hindsight=True, **jax)


_register_rows()
