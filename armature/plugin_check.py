"""Tries somebody's algorithm out, from its import to its resume, and says of each step whether it works.

    for step in check_plugin(Config(algo="my_algo.py:MyAlgo")):
        print(step)

Nothing is written but to a temporary folder.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from armature.checks import foreign_imports, installed_row
from armature.combos import implemented_combos
from armature.config import Config
from armature.doors import check_definition, door, where
from armature.errors import ArmatureError, PluginError
from armature.plugins import load_extensions, plugin_faults
from armature.registry import resolve

if TYPE_CHECKING:
    import numpy as np

STEPS = 300
"""Environment steps of the tiny training, unless the configuration gives others."""
_ENVS = 2
_OFF_POLICY = {"learning_starts": 50, "buffer_init_steps": 50, "batch_size": 50, "buffer_size": 1000}
_ON_POLICY = {"n_steps": 50, "batch_size": 50, "time_horizon": 50}
"""Values of common hyperparameters with which something is learned within so few steps."""


class Step(NamedTuple):
    """What became of a step of the check."""

    name: str
    ok: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.ok else 'FAIL'}  {self.name:<12}  {self.text}"


def check_plugin(config: Config) -> Iterator[Step]:
    """Yield the steps of trying out `config.algo`; the first that fails is the last."""
    with tempfile.TemporaryDirectory() as folder, _Trial(config, Path(folder)).prepared() as trial:
        for name, step in trial.steps.items():
            try:
                with plugin_faults(trial.config):
                    text = step()
            except ArmatureError as error:
                yield Step(name, False, str(error))
                return
            yield Step(name, True, text)


class _Trial:
    """The steps, in order; each returns what there is to say of it, or raises."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.folder = config, folder
        self.model: Any = None
        self.closing: list[Callable[[], None]] = []
        self.steps: dict[str, Callable[[], str]] = {
            "import": self.import_,
            "definition": self.define,
            "settings": self.settle,
            "train": self.train,
            "save, load": self.reload,
            "resume": self.resume,
        }

    @contextmanager
    def prepared(self) -> Iterator[_Trial]:
        """Close the environments at the end."""
        try:
            yield self
        finally:
            for close in self.closing:
                close()

    def import_(self) -> str:
        """Import what the configuration names; say where the class is from."""
        load_extensions(self.config)
        row = installed_row(self.config.algo, self.config.train_framework)
        self.cls = resolve(row.algo_class)
        return f"{where(self.cls)} (from {row.source})"

    def define(self) -> str:
        """Look whether the class has all that one of its kind needs; say of which kind it is."""
        check_definition(self.cls, self.config.algo)
        return f"it is used as: {door(self.cls)}"

    def settle(self) -> str:
        """Check its own defaults and the given values, then shrink what is not given to a tiny run; say its names."""
        from armature.argument_checks import check_algo_kwargs, check_arguments
        from armature.hyperparameters import hyperparameters

        known = hyperparameters(self.cls)
        common = _OFF_POLICY if {"learning_starts", "buffer_init_steps"} & set(known) else _ON_POLICY
        given = self.config.given("algo_kwargs")
        small = {name: value for name, value in common.items() if name in known and not given}
        defaults = {name: item.default for name, item in known.items() if item.default is not inspect.Parameter.empty}
        plain = {name: value for name, value in defaults.items() if isinstance(value, (bool, int, float, str))}
        check_algo_kwargs(self.cls, plain)
        check_arguments(self.config)
        changes: dict[str, Any] = {"algo_kwargs": {**self.config.algo_kwargs, **small}}
        changes |= {} if self.config.given("num_envs") else {"num_envs": _ENVS}
        changes |= {} if self.config.given("steps") else {"steps": STEPS}
        self.config = self.config.model_copy(update=changes)
        self.config.check()
        return f"{len(known)} hyperparameters: {', '.join(known) or 'none'}"

    def train(self) -> str:
        """Make a model and let it learn; say how far it got, and whether it called its callback."""
        from stable_baselines3.common.callbacks import BaseCallback

        class Count(BaseCallback):
            def _on_step(self) -> bool:
                return True

        self.model, count = self._fresh(), Count()
        self.model.learn(self.config.steps, count, log_interval=None, reset_num_timesteps=False)
        if not count.n_calls:
            return f"learned for {self.config.steps} steps; it never calls callback.on_step(), so nothing shows"
        return f"learned for {self.model.num_timesteps} steps, {count.n_calls} of the callback"

    def reload(self) -> str:
        """Save the model as at the end of a run, load it, and look whether both act alike."""
        from armature.models import load_model, save_model

        save_model(self.model, self.folder / "final", self.config)
        loaded = load_model(self.folder / "final", allow_import=foreign_imports(self.config))
        self._same_actions(loaded.model, "a saved and loaded model")
        return "it acts as before"

    def resume(self) -> str:
        """Bring a fresh model to a checkpoint, look whether both act alike, and let it learn on."""
        from armature.models import restore_model, save_checkpoint
        from armature.replay import ReplayFiles

        folder = save_checkpoint(self.model, self.folder / "checkpoint", self.config, {}, ReplayFiles())
        model = self._fresh()
        restore_model(model, folder)
        self._same_actions(model, "a resumed model")
        model.learn(self.config.steps, None, log_interval=None, reset_num_timesteps=False)
        return f"it acts as before, and learned on to {model.num_timesteps} steps"

    def _fresh(self) -> Any:
        """Return an untrained model with environments of its own."""
        from armature.making import make_model
        from armature.vec import make_vec_env, normalized

        env = make_vec_env(self.config, "train", self.config.num_envs)
        self.closing.append(env.close)
        env = normalized(env) if self.config.normalize else env
        algo_class, policy, kwargs = implemented_combos[self.config.algo][self.config.train_framework]
        return make_model(algo_class, policy, {**kwargs, **self.config.algo_kwargs}, env, self.config)

    def _same_actions(self, other: Any, what: str) -> None:
        """Raise `PluginError` unless two models choose the same actions."""
        import numpy as np

        observations = self._observations()
        mine, theirs = (np.asarray(self._actions(model, observations)) for model in (self.model, other))
        if mine.shape != theirs.shape or not np.array_equal(mine, theirs):
            raise PluginError(
                f"{what} of {where(self.cls)} acts differently: {theirs.tolist()} in place of {mine.tolist()}. What "
                "actions depend on must be in networks, in what get_state() returns, or in the file that save() writes."
            )

    def _observations(self) -> list[Any]:
        """Return the first observations of a few episodes."""
        from armature.vec import make_vec_env

        env = make_vec_env(self.config, "replay", 1)
        self.closing.append(env.close)
        return [env.reset() for _ in range(5)]

    def _actions(self, model: Any, observations: list[Any]) -> list[np.ndarray]:
        from armature.models import Player

        return [Player(model).predict(observation, deterministic=True)[0] for observation in observations]
