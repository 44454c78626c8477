"""Trainer: steps environments, cuts trajectories, calls the hooks, reports, and is saved like an SB3 algorithm.

The hooks, in the order in which they are called:

    create_policy, create_optimizer                 once
    act                                             at each step of all environments
    _process_trajectory                             for each trajectory, with its rewards and value estimates in place
    _is_ready_update                                after each step
    _update_policy                                  when that is true, with all trajectories closed and processed
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import GymEnv, MaybeCallback

from armature.errors import DivergedError, PluginError, UnknownNameError
from armature.nested import each
from armature.trainers.buffer import Batch
from armature.trainers.optimizer import Optimizer, Saved, saved_attributes
from armature.trainers.reward_signals import RewardSignals
from armature.trainers.settings import TrainerSettings, checked
from armature.trainers.trajectory import Collector, Observations, Step, Trajectory

SelfTrainer = TypeVar("SelfTrainer", bound="Trainer")

_IN_ZIP = {
    *("observation_space", "action_space", "n_envs", "policy_class", "policy_kwargs", "settings", "seed", "verbose"),
    *(
        "learning_rate",
        "num_timesteps",
        "_total_timesteps",
        "_episode_num",
        "_n_updates",
        "_current_progress_remaining",
    ),
}
"""Attributes that SB3's own `save` writes besides weights, so that its `load` can build the trainer again."""
_POLICY_NAMES = ("MlpPolicy", "CnnPolicy", "MultiInputPolicy")


@dataclass(frozen=True)
class Decision:
    """What a policy does in each environment."""

    action: np.ndarray
    """Shape (n_envs, *action)."""
    log_prob: np.ndarray | None = None
    """Float32 (n_envs,)."""


class Trainer(BaseAlgorithm):
    """Collects trajectories with a policy and has it updated; the base of `OnPolicyTrainer` and `OffPolicyTrainer`.

    Args:
        policy: the name of a policy, or its class; `create_policy` makes one of it.
        env: the environments.
        policy_kwargs: further arguments of the policy.
        seed: of all random generators.
        device: where networks live.
        verbose: as in SB3.
        settings: hyperparameters, the fields of `settings_class`, as JSON values.
    """

    settings_class: ClassVar[type[TrainerSettings]] = TrainerSettings
    """The hyperparameters."""
    actions: ClassVar[Literal["any", "box", "discrete"]] = "any"
    """The actions that the trainer can handle; `discrete` ones see continuous actions as a list of moves."""

    def __init__(
        self,
        policy: str | type[BasePolicy],
        env: GymEnv | None,
        *,
        policy_kwargs: dict[str, Any] | None = None,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        verbose: int = 0,
        _init_setup_model: bool = True,
        **settings: Any,
    ) -> None:
        self.settings: Any = checked(self.settings_class, settings)
        super().__init__(
            policy,
            env,
            learning_rate=self.settings.learning_rate,
            policy_kwargs=policy_kwargs,
            seed=seed,
            device=device,
            verbose=verbose,
            support_multi_env=True,
        )
        if _init_setup_model:
            self._setup_model()

    # ------------------------------------------------------------------------------------------ hooks

    @staticmethod
    @abstractmethod
    def get_trainer_name() -> str:
        """Return the name that a configuration chooses this trainer by; an entry point must have the same."""

    def create_policy(self, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> BasePolicy:
        """Return the policy: an SB3 policy or anything derived from its `BasePolicy`, which is a torch module.

        This one makes `self.policy_class`, which the key `policy` chooses, with `self.policy_kwargs`.
        """
        return self.policy_class(observation_space, action_space, self.lr_schedule, **self.policy_kwargs)

    @abstractmethod
    def create_optimizer(self) -> Optimizer:
        """Return the optimizer of `self.policy`."""

    @abstractmethod
    def act(self, observations: Observations) -> Decision:
        """Return what to do next while training, one action an environment; exploration belongs here."""

    @abstractmethod
    def _process_trajectory(self, trajectory: Trajectory) -> None:
        """Make targets of a trajectory and append it to the update buffer. There is no parent's work to call."""

    @abstractmethod
    def _append_to_update_buffer(self, trajectory: Trajectory) -> None:
        """Keep a trajectory for the update."""

    @abstractmethod
    def _is_ready_update(self) -> bool:
        """Return whether it is time for `_update_policy`."""

    @abstractmethod
    def _update_policy(self) -> None:
        """Learn from the update buffer: call `self.update_once` for each batch."""

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed training needs besides weights: a flat dict of numpy arrays and JSON values."""
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from what `get_state` returned."""

    def get_modules(self) -> dict[str, Saved]:
        """Return what is saved as weights, by its path from here: what this object, its optimizer and signals hold."""
        found = saved_attributes(self)
        owners: list[tuple[str, Any]] = [("optimizer", self.optimizer)]
        owners += [(f"reward_signals.{name}", signal) for name, signal in self.reward_signals.items()]
        for path, owner in owners:
            for name, saved in owner.get_modules().items():
                if id(getattr(owner, name, None)) != id(saved):
                    raise PluginError(f"{type(owner).__name__}.get_modules: {name!r} is no attribute of that object.")
                found[f"{path}.{name}"] = saved
        # The optimizer knows the policy and perhaps parts of it, which are saved with the policy.
        parts = {id(module) for module in self.policy.modules()} | {id(item) for item in self.policy.parameters()}
        return {name: item for name, item in found.items() if name == "policy" or id(item) not in parts}

    # ------------------------------------------------------------------------------------------ for hooks to use

    def add_stat(self, name: str, value: float) -> None:
        """Report a number; metrics.csv and TensorBoard show the mean of what came since their last line."""
        self.logger.record_mean(name, float(value))

    def update_once(self, batch: Batch) -> dict[str, float]:
        """Give a batch to the optimizer and to the reward signals; report and return what they say of it.

        Raises:
            PluginError: something else than numbers by name was returned.
            DivergedError: a number is not finite.
        """
        said = dict(self._numbers(self.optimizer, self.optimizer.update(batch, len(batch["reward"]))))
        for _, signal in self.reward_signals.items():
            said |= self._numbers(signal, signal.update(batch))
        for name, value in said.items():
            self.add_stat(name, value)
        self._n_updates += 1
        return said

    def _numbers(self, owner: Any, said: Any) -> dict[str, float]:
        who = f"{type(owner).__name__}.update"
        if not isinstance(said, Mapping) or not all(isinstance(name, str) for name in said):
            raise PluginError(
                f"{who} returned {said!r}; it must return numbers by name, such as {{'Losses/Policy': 0.1}}."
            )
        numbers = {}
        for name, value in said.items():
            try:
                numbers[name] = float(value)
            except (TypeError, ValueError) as error:
                raise PluginError(f"{who} returned {value!r} for {name!r}; it must return a number.") from error
            if not np.isfinite(numbers[name]):
                raise DivergedError(f"{who} returned {numbers[name]} for {name!r}", self.num_timesteps)
        return numbers

    # ------------------------------------------------------------------------------------------ learning

    def learn(
        self: SelfTrainer,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int | None = 1,
        tb_log_name: str = "trainer",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> SelfTrainer:
        """Train for a number of steps over all environments, as SB3's algorithms do.

        Args:
            total_timesteps: how many; only a part of the last step of all environments can come on top.
            callback: SB3 callbacks; a rollout begins after each update.
            log_interval: write statistics after so many updates; None leaves that to a callback.
            tb_log_name: name of the run in TensorBoard, if no logger is set.
            reset_num_timesteps: whether to count from 0.
            progress_bar: show SB3's.
        """
        _, running = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        running.on_training_start(locals(), globals())
        rollouts = 0
        while self.num_timesteps < self._total_timesteps and self._collect(running):
            if self._is_ready_update():
                self._update()
            rollouts += 1
            if log_interval and rollouts % log_interval == 0:
                self.logger.record("time/total_timesteps", self.num_timesteps)
                self.logger.dump(self.num_timesteps)
        running.on_training_end()
        return self

    def _collect(self, callback: BaseCallback) -> bool:
        """Step the environments until an update is due or the training over; return whether to go on."""
        callback.on_rollout_start()
        while True:
            self._step_environments()
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            if self._is_ready_update() or self.num_timesteps >= self._total_timesteps:
                break
        for trajectory in self._collector.cut():
            self._receive(trajectory)
        callback.on_rollout_end()
        return True

    def _update(self) -> None:
        """Do what has to be done around every update, whatever a subclass makes of it."""
        self.optimizer.progress = 1.0 - self._current_progress_remaining
        self.policy.set_training_mode(True)
        self._update_policy()
        self.policy.set_training_mode(False)

    def _step_environments(self) -> None:
        assert self.env is not None
        decision, before, starts = self.act(self._last_obs), self._seen(), self._last_episode_starts
        self._require("act", decision, Decision, "an armature.Decision with an action for each environment")
        new_obs, rewards, dones, infos = self.env.step(self._possible(decision.action))
        self.num_timesteps += self.env.num_envs
        self._update_info_buffer(infos, dones)
        self._report_episodes(rewards, dones)
        self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
        if self._vec_normalize_env is not None:
            self._last_original_obs = self._vec_normalize_env.get_original_obs()
        truncated = np.array([bool(info.get("TimeLimit.truncated", False)) for info in infos]) & dones
        step = Step(
            obs=before,
            next_obs=self._true_next(infos, dones),
            action=decision.action,
            reward=rewards,
            terminated=dones & ~truncated,
            truncated=truncated,
            episode_start=np.array(starts, dtype=bool),
            log_prob=decision.log_prob,
        )
        for trajectory in self._collector.add(step):
            self._receive(trajectory)

    def _receive(self, trajectory: Trajectory) -> None:
        """Do what has to be done to every trajectory, whatever `_process_trajectory` makes of it."""
        self._process_trajectory(trajectory)

    def _seen(self) -> Observations:
        """Return the present observations as trajectories keep them."""
        return self._last_obs

    def _true_next(self, infos: list[dict[str, Any]], dones: np.ndarray) -> Observations:
        """Return what each environment showed after its step: where an episode is over, its last observation."""
        following = self._seen()
        for index in np.flatnonzero(dones):
            last = self._terminal(infos[index]["terminal_observation"])
            following = each(partial(_with_row, int(index)), following, last)
        return following

    def _terminal(self, observation: Observations) -> Observations:
        """Return the last observation of an episode as trajectories keep it."""
        return observation

    def _possible(self, actions: np.ndarray) -> np.ndarray:
        """Return actions within the bounds of the environment."""
        if isinstance(self.action_space, spaces.Box):
            return np.clip(actions, self.action_space.low, self.action_space.high)
        return actions

    def _report_episodes(self, rewards: np.ndarray, dones: np.ndarray) -> None:
        """Report the environment's own return of each episode that is over, whatever is learned from."""
        self._returns += rewards
        self._lengths += 1
        for index in np.flatnonzero(dones):
            self.add_stat("Environment/Cumulative Reward", self._returns[index])
            self.add_stat("Environment/Episode Length", self._lengths[index])
        self._returns[dones], self._lengths[dones] = 0.0, 0

    # ------------------------------------------------------------------------------------------ as an SB3 algorithm

    def _setup_model(self) -> None:
        """Make everything that is made once."""
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        policy = self.create_policy(self.observation_space, self.action_space)
        self._require("create_policy", policy, BasePolicy, "a policy derived from stable_baselines3's BasePolicy")
        self.policy = policy.to(self.device)
        self.optimizer = self.create_optimizer()
        self._require("create_optimizer", self.optimizer, Optimizer, "an object derived from armature.Optimizer")
        spaces_ = (self.observation_space, self.action_space)
        self.reward_signals = RewardSignals(self.settings.reward_signals, *spaces_, self.device)
        self._start_collecting()

    def _start_collecting(self) -> None:
        self._collector = Collector(self.n_envs, self.settings.time_horizon)
        self._returns, self._lengths = np.zeros(self.n_envs), np.zeros(self.n_envs, int)

    def _require(self, hook: str, made: Any, kind: type, words: str) -> None:
        if not isinstance(made, kind):
            raise PluginError(f"{type(self).__name__}.{hook} returned {made!r}; it must return {words}.")

    def _require_kept(self, steps: int) -> None:
        if not steps:
            raise PluginError(
                f"{type(self).__name__}._process_trajectory kept nothing to learn from: "
                "call self._append_to_update_buffer(trajectory, ...) in it."
            )

    def _setup_learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        reset_num_timesteps: bool = True,
        tb_log_name: str = "trainer",
        progress_bar: bool = False,
    ) -> tuple[int, BaseCallback]:
        """Begin, with new trajectories where the environments are reset."""
        if reset_num_timesteps or self._last_obs is None:
            self._start_collecting()
        return super()._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)

    def _get_policy_from_name(self, policy_name: str) -> type[BasePolicy]:
        if not self.policy_aliases and policy_name in _POLICY_NAMES:
            return BasePolicy  # create_policy makes one of its own
        if policy_name not in self.policy_aliases:
            raise UnknownNameError(f"policy of {type(self).__name__}", policy_name, self.policy_aliases)
        return self.policy_aliases[policy_name]

    def _excluded_save_params(self) -> list[str]:
        return [name for name in vars(self) if name not in _IN_ZIP]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules = self.get_modules()
        tensors = [name for name, item in modules.items() if isinstance(item, torch.Tensor)]
        return [name for name in modules if name not in tensors], tensors


def _with_row(index: int, rows: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return a copy of the rows with one of them replaced."""
    changed = rows.copy()
    changed[index] = row
    return changed
