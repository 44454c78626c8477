"""JSON made Python: the arguments of algorithms, policies, agents and loops.

| in JSON | becomes |
| --- | --- |
| `{"schedule": "linear", "start": 1e-3, "end": 1e-4}` for a learning rate, a clip range | SB3's `LinearSchedule` |
| `[4, "step"]` for `train_freq` | a tuple |
| `{"type": "normal", "std": 0.1}` or `"ornstein-uhlenbeck"` for `action_noise` | SB3's noise, one an environment |
| `"relu"` or `"torch.nn:ReLU"` for `activation_fn` | the class, or flax's function |
| `"package.module:Class"` for `*_class` and `*_fn` | the class |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from armature.errors import ConfigError, PluginError
from armature.registry import Table, is_address, resolve

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from armature.loops import BaseLoop

_TORCH = {
    "tanh": "torch.nn:Tanh",
    "relu": "torch.nn:ReLU",
    "elu": "torch.nn:ELU",
    "gelu": "torch.nn:GELU",
    "silu": "torch.nn:SiLU",
    "leaky_relu": "torch.nn:LeakyReLU",
}
ACTIVATIONS = {"pytorch": _TORCH, "jax": {name: f"flax.linen:{name}" for name in _TORCH}}
"""Short names of activation functions, by framework."""


def build_kwargs(values: Mapping[str, Any], env: VecEnv | None = None) -> dict[str, Any]:
    """Return an algorithm's arguments as Python objects; `env` is needed for `action_noise` only."""
    return {name: _built(name, value, env) for name, value in values.items()}


def build_policy_kwargs(values: Mapping[str, Any], framework: str = "pytorch") -> dict[str, Any]:
    """Return a policy's arguments as Python objects."""
    built = build_kwargs(values)
    if isinstance(values.get("activation_fn"), str):
        built["activation_fn"] = activation(values["activation_fn"], framework)
    return built


def activation(name: str, framework: str = "pytorch") -> Any:
    """Return the activation function of a short name or an address."""
    if ":" in name:
        return resolve(name)
    known: Table[str] = Table("policy_kwargs.activation_fn", 'Or write an address, "package.module:Name".')
    known.update(ACTIVATIONS.get(framework, {}))
    return resolve(known[name])


def build_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return an agent's parameters: as they are in JSON, but for the addresses of classes and functions."""
    named = [name for name in values if name.endswith(("_class", "_fn")) and isinstance(values[name], str)]
    return {**values, **{name: resolve(values[name]) for name in named if is_address(values[name])}}


def loop_class(address: str | None) -> type[BaseLoop]:
    """Return the class of a loop, the default one for None; raise `PluginError` if the address is of something else."""
    from armature.loops import BaseLoop, DefaultLoop  # here, so that --help need not wait for numpy

    cls = DefaultLoop if address is None else resolve(address)
    if not (isinstance(cls, type) and issubclass(cls, BaseLoop)):
        raise PluginError(f"loop {address!r} is {cls!r}; it must be a class that derives from armature.BaseLoop.")
    if missing := sorted(cls.__abstractmethods__):
        raise PluginError(f"loop {address!r}: {cls.__name__} has no method {', '.join(missing)}(total_steps).")
    return cls


def _built(name: str, value: Any, env: VecEnv | None) -> Any:
    if isinstance(value, Mapping) and "schedule" in value:
        from stable_baselines3.common.utils import LinearSchedule

        return LinearSchedule(value["start"], value["end"], end_fraction=1.0)
    if name == "train_freq" and isinstance(value, list):
        return tuple(value)
    if name == "action_noise" and isinstance(value, Mapping):
        return _noise(value, env)
    if name.endswith(("_class", "_fn")) and isinstance(value, str) and ":" in value:
        return resolve(value)
    return value


def _noise(value: Mapping[str, Any], env: VecEnv | None) -> Any:
    import numpy as np
    from stable_baselines3.common.noise import (
        NormalActionNoise,
        OrnsteinUhlenbeckActionNoise,
        VectorizedActionNoise,
    )

    shape = getattr(env.action_space, "shape", ()) if env is not None else ()
    if env is None or not shape:
        raise ConfigError("algo_kwargs.action_noise needs an environment whose actions are numbers. Remove it.")
    cls = NormalActionNoise if value["type"] == "normal" else OrnsteinUhlenbeckActionNoise
    noise = cls(np.zeros(shape), np.full(shape, value["std"]))
    return VectorizedActionNoise(noise, env.num_envs) if env.num_envs > 1 else noise
