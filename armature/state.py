"""What belongs to a model besides its weights, as arrays and JSON: spaces, statistics, counters, random states."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.save_util import recursive_getattr
from stable_baselines3.common.vec_env import VecNormalize

from armature.arrays import Arrays, read_arrays
from armature.errors import RunError

MOST_NUMBERS = 1 << 22
"""Numbers in an observation, or choices of an action, that a file may ask for."""

# ---------------------------------------------------------------------------------------------- spaces


def space_to_json(space: spaces.Space[Any]) -> dict[str, Any]:
    """Return a space as JSON values; raise `RunError` for kinds that SB3 cannot learn with."""
    if isinstance(space, spaces.Box):
        low, high = (_bound_to_json(bound) for bound in (space.low, space.high))
        return {"type": "Box", "low": low, "high": high, "shape": list(space.shape), "dtype": str(space.dtype)}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": "MultiDiscrete", "nvec": space.nvec.tolist()}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": space.n if isinstance(space.n, int) else list(space.n)}
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": [[key, space_to_json(part)] for key, part in space.spaces.items()]}
    raise RunError(f"cannot save a model with a space of kind {type(space).__name__}.")


def space_from_json(data: Mapping[str, Any]) -> spaces.Space[Any]:
    """Return the space that `space_to_json` described; raise `RunError` if the description is damaged, or too large."""
    try:
        if _numbers(data) > MOST_NUMBERS:
            raise ValueError(f"it has more than {MOST_NUMBERS:,} numbers")
        match data["type"]:
            case "Box":
                dtype, shape = np.dtype(data["dtype"]), tuple(data["shape"])
                low, high = (_bound_from_json(data[key], shape, dtype) for key in ("low", "high"))
                return spaces.Box(low, high, shape, dtype.type)
            case "Discrete":
                return spaces.Discrete(data["n"], start=data["start"])
            case "MultiDiscrete":
                return spaces.MultiDiscrete(data["nvec"])
            case "MultiBinary":
                return spaces.MultiBinary(data["n"])
            case "Dict":
                return spaces.Dict({key: space_from_json(part) for key, part in data["spaces"]})
    except (KeyError, TypeError, ValueError, AssertionError, MemoryError, OverflowError) as error:
        raise RunError(f"model.json describes a space wrongly: {error}.") from error
    raise RunError(f"model.json describes a space of unknown kind {data['type']!r}.")


def _numbers(data: Mapping[str, Any]) -> int:
    """Return how many numbers a point of a space has."""
    if data["type"] == "Dict":
        return sum(_numbers(part) for _, part in data["spaces"])
    shape = data.get("shape", data.get("n", 1))
    return math.prod(shape) if isinstance(shape, list) else max(int(shape), len(data.get("nvec", ())))


def _bound_to_json(bound: np.ndarray) -> Any:
    """Return one number for equal bounds, else a list of them; infinity, which JSON lacks, as text."""
    values = [value if np.isfinite(value) else str(value) for value in bound.ravel().tolist()]
    return values[0] if values and len(set(values)) == 1 else values


def _bound_from_json(data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    values = np.array(data, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    return np.full(shape, values) if values.ndim == 0 else values.reshape(shape)


# ---------------------------------------------------------------------------------------------- statistics


def save_statistics(env: VecNormalize, path: Path) -> None:
    """Write the running moments of observations and returns."""
    np.savez(path, **_statistics(env))  # type: ignore[arg-type]


def load_statistics(env: VecNormalize, path: Path) -> None:
    """Restore what `save_statistics` wrote; raise `RunError` if it is of other observations."""
    loaded = read_arrays(path, _statistics(env))
    # What is divided by is the root of variance plus epsilon. Imported variances make up for another epsilon.
    added = {"var": env.epsilon, "count": 0.0, "mean": math.inf}
    for name, array in loaded.items():
        if not np.isfinite(array).all() or (array + added[name.rpartition(".")[2]] <= 0).any():
            raise RunError(f"{path}: {name} holds numbers that no statistics have.")
    for name, moments in _moments(env).items():
        moments.mean, moments.var = loaded[f"{name}.mean"].copy(), loaded[f"{name}.var"].copy()
        moments.count = float(loaded[f"{name}.count"])


def _moments(env: VecNormalize) -> dict[str, RunningMeanStd]:
    by_key = env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}
    return {"returns": env.ret_rms, **{f"observation:{key}": moments for key, moments in by_key.items()}}


def _statistics(env: VecNormalize) -> Arrays:
    return {
        f"{name}.{field}": np.asarray(getattr(moments, field), dtype=np.float64)
        for name, moments in _moments(env).items()
        for field in ("mean", "var", "count")
    }


# ---------------------------------------------------------------------------------------------- counters

COUNTERS = (
    "num_timesteps",
    "_episode_num",
    "_n_updates",
    "_n_calls",
    "episodes",
    "_current_progress_remaining",
    "exploration_rate",
    "_steps_owed",
)
"""Numbers that an algorithm counts in, as far as it has them. A file cannot set any other attribute."""


def counters(model: BaseAlgorithm) -> dict[str, float]:
    """Return how far a model has come."""
    return {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)}


def set_counters(model: BaseAlgorithm, values: Mapping[str, Any]) -> None:
    """Continue from where another session was."""
    for name in counters(model):
        value = values.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RunError(f"model.json has no number for {name}.")
        setattr(model, name, value)


# ---------------------------------------------------------------------------------------------- from rollout to rollout

CARRIED = (
    "_last_episode_starts",
    "_last_lstm_states",  # recurrent policies
    *("policy.action_dist.exploration_mat", "policy.action_dist.exploration_matrices"),  # state-dependent exploration
    *("actor.action_dist.exploration_mat", "actor.action_dist.exploration_matrices"),
    *("action_noise.noise_prev", "action_noise.noises"),  # noise that is correlated in time
    "episode_nums",  # agents
    *("_returns", "_lengths"),  # trainers: of episodes under way
    "_vec_normalize_env.returns",
)
"""Where algorithms keep what they carry from one rollout to the next besides weights and counters."""


def carried(model: BaseAlgorithm) -> Arrays:
    """Return what a model carries over to its next rollout, by its path."""
    return {name: torch.as_tensor(leaf).detach().cpu().numpy().copy() for name, leaf in _carried(model).items()}


def set_carried(model: BaseAlgorithm, arrays: Mapping[str, np.ndarray], whole: bool = True) -> None:
    """Put back what `carried` returned; raise `RunError` if it is another model's.

    Not `whole` leaves out what has another shape yet, for models that have not begun.
    """
    for name, leaf in _carried(model).items():
        kept, tensor = arrays.get(name), torch.as_tensor(leaf).data  # the memory of an array is shared
        if not whole and (kept is None or kept.shape != tensor.shape):
            continue
        if kept is None or kept.shape != tensor.shape or kept.dtype != tensor.cpu().numpy().dtype:
            raise RunError(f"the checkpoint holds no {name} of shape {tuple(tensor.shape)} and type {tensor.dtype}.")
        if not np.isfinite(kept).all():
            raise RunError(f"the checkpoint holds NaN or infinity in {name}.")
        tensor.copy_(torch.from_numpy(kept))


def _carried(model: BaseAlgorithm) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for path in CARRIED:
        try:
            found |= _leaves(path, recursive_getattr(model, path))
        except AttributeError:
            continue
    return found


def _leaves(path: str, value: Any) -> dict[str, Any]:
    """Return the arrays and tensors that a value is or holds, by their paths."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return {path: value}
    if hasattr(value, "noise_prev"):
        return {f"{path}.noise_prev": value.noise_prev}
    if not isinstance(value, (list, tuple)):
        return {}
    return {name: leaf for index, part in enumerate(value) for name, leaf in _leaves(f"{path}.{index}", part).items()}


# ---------------------------------------------------------------------------------------------- randomness


def random_state(model: BaseAlgorithm) -> dict[str, Any]:
    """Return the states of all random generators that training draws from, but for those of the environments."""
    python_version, python_words, python_gauss = random.getstate()
    state = {
        "python": [python_version, _hex(np.array(python_words, np.uint32)), python_gauss],
        "numpy": numpy_state(),
        "torch": _hex(torch.get_rng_state().numpy()),
        "actions": model.action_space.np_random.bit_generator.state,
        "agent": _bits(model).state if _bits(model) else None,
    }
    if model.device.type == "cuda":
        state["cuda"] = _hex(torch.cuda.get_rng_state(model.device).numpy())
    return state


def set_random_state(model: BaseAlgorithm, state: Mapping[str, Any]) -> None:
    """Continue drawing where another session stopped; raise `RunError` if that cannot be read."""
    try:
        python_version, python_words, python_gauss = state["python"]
        random.setstate((python_version, tuple(_words(python_words, np.uint32).tolist()), python_gauss))
        set_numpy_state(state["numpy"])
        torch.set_rng_state(torch.from_numpy(_words(state["torch"], np.uint8).copy()))
        model.action_space.np_random.bit_generator.state = state["actions"]
        if (bits := _bits(model)) is not None:
            bits.state = state["agent"]
        if model.device.type == "cuda" and "cuda" in state:
            torch.cuda.set_rng_state(torch.from_numpy(_words(state["cuda"], np.uint8).copy()), model.device)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise RunError(f"state.json holds no usable random states: {error}.") from error


def numpy_state() -> list[Any]:
    """Return the state of numpy's own generator, which replay buffers draw from, as JSON values."""
    _, words, position, has_gauss, gauss = np.random.get_state()
    return [_hex(np.asarray(words, np.uint32)), int(position), int(has_gauss), float(gauss)]


def set_numpy_state(state: Sequence[Any]) -> None:
    """Continue from what `numpy_state` returned."""
    words, position, has_gauss, gauss = state
    np.random.set_state(("MT19937", _words(words, np.uint32), position, has_gauss, gauss))


def _bits(model: BaseAlgorithm) -> Any:
    """Return what an agent's own generator draws from, if it has one."""
    rng = getattr(model, "rng", None)
    return rng.bit_generator if isinstance(rng, np.random.Generator) else None


def _hex(words: np.ndarray) -> str:
    return words.astype(words.dtype.newbyteorder("<")).tobytes().hex()


def _words(text: str, dtype: type[np.generic]) -> np.ndarray:
    return np.frombuffer(bytes.fromhex(text), np.dtype(dtype).newbyteorder("<")).astype(dtype)
