"""Hyperparameters of trainers: pydantic models, checked strictly; their annotations are all that there is to write.

class MySettings(OnPolicySettings):
    clip_range: float = 0.2
    \"\"\"How far the ratio of probabilities may leave 1.\"\"\"
    clip_range_schedule: Schedule = "linear"
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from armature.errors import ConfigError, PluginError, closest
from armature.hyperparameters import RANGES
from armature.registry import Table, resolve
from armature.schema import allowed, short

Schedule = Literal["linear", "constant"]
"""How a value changes over the training: `linear` falls to nothing at its end."""

reward_signals: Table[Any] = Table("reward signal", 'Add one with: armature.reward_signals["name"] = MyRewardSignal.')
"""Reward signals by name; a row is a subclass of `RewardSignal` or its address."""
reward_signals["extrinsic"] = "armature.trainers.reward_signals:Extrinsic"
reward_signals["rnd"] = "armature.trainers.reward_signals:RandomNetworkDistillation"


def _problems(model: type[BaseModel], values: Mapping[str, Any], defining: bool = False) -> list[Any]:
    try:
        model.model_validate_json(_json(values), context={"defining": defining})
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), default=repr)  # what is no JSON value becomes a text, and that an error


def _sentence(model: type[BaseModel], problem: Any, prefix: str) -> str:
    steps, context = [str(step) for step in problem["loc"]], problem.get("ctx", {})
    if problem["type"] == "explained":
        return str(context["text"])
    where, schema = f"{prefix}{'.'.join(steps)}", _schema(model, steps)
    if problem["type"] == "extra_forbidden":
        known = list(schema.get("properties", model.model_fields))
        return f"{where}: unknown argument{closest(steps[-1], known) or '.'} Known: {', '.join(sorted(known))}."
    if problem["type"] == "missing":
        return f"{where} is missing; allowed: {allowed(schema)}."
    return f"{where} is {short(problem['input'])}; allowed: {context.get('allowed') or allowed(schema)}."


def _schema(model: type[BaseModel], steps: list[str]) -> dict[str, Any]:
    """Return the schema of the key that a path leads to, as deep as it can be followed."""
    schema = model.model_json_schema()
    definitions, here = schema.get("$defs", {}), schema
    for step in steps:
        below = here.get("properties", {}).get(step) or here.get("items") or here.get("additionalProperties")
        if not isinstance(below, dict):
            return here
        here = definitions.get(below.get("$ref", "").rpartition("/")[2], below)
    return here


class Settings(BaseModel):
    """A strict model: unknown keys, text for a number and numbers out of range are errors, for defaults as well."""

    model_config = ConfigDict(
        strict=True, extra="forbid", allow_inf_nan=False, validate_default=True, use_attribute_docstrings=True
    )

    @field_validator("*", mode="after")
    @classmethod
    def _in_range(cls, value: Any, info: ValidationInfo) -> Any:
        """Check numbers whose name means the same in every algorithm, so that an override needs no range of its own."""
        low, high = RANGES.get(str(info.field_name), (-math.inf, math.inf))
        if isinstance(value, (int, float)) and not low <= value <= high:
            raise PydanticCustomError(
                "out_of_range", "out of range", {"allowed": f"a number from {low:,.0f} to {high:,.0f}"}
            )
        return value

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse defaults that the model itself would not accept."""
        super().__pydantic_init_subclass__(**kwargs)
        if faults := [problem for problem in _problems(cls, {}, defining=True) if problem["type"] != "missing"]:
            lines = "; ".join(_sentence(cls, problem, "default of ") for problem in faults)
            raise PluginError(f"settings class {cls.__module__}:{cls.__qualname__}: {lines}")


class RewardSignalSettings(Settings):
    """What every reward signal has."""

    strength: float = Field(1.0, ge=0, le=1e6)
    """Factor of this signal in the reward that is learned from."""
    gamma: float | None = Field(None, ge=0, le=1)
    """Discount factor; signals share one value estimate, so it must equal the trainer's, which null stands for."""


class TrainerSettings(Settings):
    """What every trainer has."""

    learning_rate: float = 3e-4
    """Step size of the optimizer."""
    learning_rate_schedule: Schedule = "linear"
    """`linear` lowers the learning rate to nothing over the training; `constant` keeps it."""
    gamma: float = 0.99
    """Discount factor of future rewards."""
    time_horizon: int = Field(64, ge=1, le=1_000_000)
    """Most steps of one environment in a trajectory; a longer episode is cut, and its rest estimated by the critic."""
    reward_signals: dict[str, dict[str, Any]] = Field({"extrinsic": {"strength": 1.0}}, min_length=1)
    """Where rewards come from, by name, each with a `strength`: `extrinsic` is the environment, `rnd` curiosity."""

    @field_validator("reward_signals", mode="after")
    @classmethod
    def _known_signals(cls, signals: dict[str, dict[str, Any]], info: ValidationInfo) -> dict[str, dict[str, Any]]:
        if info.context and info.context["defining"]:
            return signals  # their classes import this module
        for name, values in signals.items():
            try:
                settings = signal_settings(name, values)
            except ConfigError as error:
                raise PydanticCustomError("explained", "{text}", {"text": str(error)}) from error
            gamma = info.data.get("gamma")
            if settings.gamma not in (None, gamma):
                text = (
                    f"algo_kwargs.reward_signals.{name}.gamma is {settings.gamma}, and algo_kwargs.gamma is {gamma}. "
                    "All reward signals share one value estimate, and so one gamma: leave it out here."
                )
                raise PydanticCustomError("explained", "{text}", {"text": text})
        return signals


class OnPolicySettings(TrainerSettings):
    """What every trainer has that learns from what its current policy did."""

    buffer_size: int = 2048
    """Steps, over all environments, that are collected with one policy before it is updated."""
    batch_size: int = 64
    """Least number of steps in a minibatch."""
    n_epochs: int = 3
    """Passes over the buffer in an update."""
    gae_lambda: float = 0.95
    """Weight of long estimates of the advantage: 0 trusts the critic, 1 the returns."""
    shared_critic: bool = False
    """Whether policy and critic share their hidden layers, which then get the gradients of both."""


class OffPolicySettings(TrainerSettings):
    """What every trainer has that learns from what any policy did."""

    buffer_size: int = 50_000
    """Steps that the replay buffer holds."""
    batch_size: int = 128
    """Steps in a minibatch."""
    buffer_init_steps: int = Field(1000, ge=0, le=100_000_000)
    """Steps with random actions before the first update."""
    steps_per_update: float = Field(1.0, gt=0, le=1_000_000)
    """Steps, over all environments, for each update; 0.5 makes two updates a step."""
    tau: float = 0.005
    """Share of the way that target networks go towards their originals in an update."""


Model = TypeVar("Model", bound=BaseModel)


def signal_settings(name: str, values: Mapping[str, Any]) -> RewardSignalSettings:
    """Return the settings of a reward signal; raise `ConfigError` if it is unknown or they are wrong."""
    signal = resolve(reward_signals[name])
    return checked(signal.settings_class, values, f"algo_kwargs.reward_signals.{name}")


def checked(model: type[Model], values: Mapping[str, Any], path: str = "algo_kwargs") -> Model:
    """Return settings made from JSON values; raise `ConfigError` with a line for each that is wrong.

    Args:
        model: the class of the settings.
        values: what the configuration says.
        path: where in the configuration it says so.
    """
    problems = _problems(model, values)
    if not problems:
        return model.model_validate_json(_json(values))
    lines = dict.fromkeys(_sentence(model, problem, f"{path}.") for problem in problems)
    raise ConfigError("\n  ".join([f"{len(lines)} problems:", *lines]) if len(lines) > 1 else next(iter(lines)))
