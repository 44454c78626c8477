"""Demonstrations: episodes of an expert in one file, and replay buffers that mix them into every batch.

    python test.py --control expert --config pick_and_place.json --episodes 200 --save-demos demos.npz
    python train.py --config pick_and_place.json --demonstrations.path=demos.npz --demonstrations.fraction=0.5

A file holds arrays with a row for each transition, and a header in JSON. Nothing in it is unpickled.

| array | row |
| --- | --- |
| `observation`, `next_observation` | as the environment gives them, not normalised; of a dict `observation.<key>` |
| `action` | as the environment takes them |
| `reward` | a number |
| `terminated`, `truncated` | whether the episode ended there, by itself or because its time was up |
| `success` | whether the task was done then |
| `header` | the text of a JSON object: format, spaces, number of transitions and episodes, environment |
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import DictReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import (
    VecEnv,
    VecEnvWrapper,
    VecNormalize,
    VecTransposeImage,
    unwrap_vec_normalize,
)
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from armature.archives import read_members
from armature.arrays import Arrays, expected_arrays, parse_array
from armature.checkpoints import replacing
from armature.config import ROBOT_KEYS, Config
from armature.errors import ConfigError, RunError
from armature.hindsight import HindsightReplayBuffer
from armature.nested import at, each, named
from armature.plain_files import open_plain, parse_json
from armature.state import space_from_json, space_to_json

log = logging.getLogger(__name__)

FORMAT = 1
"""Version of the file format; a reader refuses newer ones."""
_LARGEST_HEADER = 1 << 20
_DESCRIBING = ("env_name", "env_kwargs", *(key for key in ROBOT_KEYS if key != "observation"))
"""Keys of a configuration that say what a demonstration shows; observations are compared by their space."""

Transition = dict[str, Any]


@dataclass(frozen=True)
class Demonstrations:
    """What a file of demonstrations holds."""

    path: Path
    header: Mapping[str, Any]
    observation_space: spaces.Space[Any]
    action_space: spaces.Space[Any]
    arrays: Arrays
    """By name, a row for each transition."""
    fingerprint: str
    """SHA-256 of the file."""

    def __len__(self) -> int:
        return len(self.arrays["reward"])


# ---------------------------------------------------------------------------------------------- recording


class Recorder(VecEnvWrapper):
    """Keeps every finished episode of the environments that it wraps, whoever steps them."""

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self.episodes: list[list[Transition]] = []
        """Finished episodes in the order in which they ended."""
        self._running: list[list[Transition]] = [[] for _ in range(venv.num_envs)]

    def reset(self) -> VecEnvObs:
        """Start an episode in every environment."""
        self._running = [[] for _ in range(self.num_envs)]
        self._seen = self.venv.reset()
        return self._seen

    def step_async(self, actions: np.ndarray) -> None:
        """Begin a step of all environments."""
        self._actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Wait for the step of all environments."""
        seen, rewards, dones, infos = self.venv.step_wait()
        for index, (done, info) in enumerate(zip(dones, infos, strict=True)):
            following = info["terminal_observation"] if done else at(seen, index)
            cut = bool(done and info.get("TimeLimit.truncated", False))
            step = {
                **named("observation", at(self._seen, index)),
                **{"action": self._actions[index], "reward": rewards[index]},
                **named("next_observation", following),
                **{"terminated": bool(done) and not cut, "truncated": cut, "success": info.get("is_success")},
            }
            self._running[index].append(step)
            if done:
                self.episodes.append(self._running[index])
                self._running[index] = []
        self._seen = seen
        return seen, rewards, dones, infos


def save_demonstrations(
    path: Path, episodes: Sequence[Sequence[Transition]], env: VecEnv, config: Config, control: str
) -> int:
    """Write episodes to a file, which a reader sees whole or not at all; return how many there are in it.

    Where an episode is known to have failed nobody should learn from it: of environments that report success only
    episodes that end with one are kept. Raises `RunError` if there is none.

    Args:
        path: the file; an older one is replaced.
        episodes: of a `Recorder`.
        env: where they were recorded.
        config: what the environments were made from.
        control: who acted.
    """
    kept = [episode for episode in episodes if episode[-1]["success"]] if _reports_success(episodes) else episodes
    if not kept:
        raise RunError(f"none of {len(episodes)} episodes ended with success, so {path} is not written.")
    steps = [step for episode in kept for step in episode]
    layout = _layout(env.observation_space, env.action_space, len(steps))
    header = {
        "format": FORMAT,
        "transitions": len(steps),
        "episodes": len(kept),
        "control": control,
        "observation_space": space_to_json(env.observation_space),
        "action_space": space_to_json(env.action_space),
        "environment": config.model_dump(include={*_DESCRIBING, "action_levels"}, exclude=set(config.idle_keys)),
    }
    arrays = {name: np.array([step[name] for step in steps], like.dtype) for name, like in layout.items()}
    arrays["header"] = np.frombuffer(json.dumps(header, allow_nan=False).encode(), np.uint8)
    with replacing(path) as file:
        np.savez(file, **{quote(name, safe=""): array for name, array in arrays.items()})  # type: ignore[arg-type]
    return len(kept)


def _reports_success(episodes: Sequence[Sequence[Transition]]) -> bool:
    return any(step["success"] is not None for episode in episodes for step in episode)


def _layout(observation_space: spaces.Space[Any], action_space: spaces.Space[Any], rows: int) -> Arrays:
    """Return for each array of a file one of its shape and type, which takes no memory."""
    seen = observation_space.spaces if isinstance(observation_space, spaces.Dict) else observation_space
    parts = {
        **named("observation", seen),
        **named("next_observation", seen),
        "action": action_space,
    }
    kinds = {name: (part.dtype, part.shape or ()) for name, part in parts.items()}
    kinds["reward"] = (np.dtype(np.float32), ())
    kinds |= dict.fromkeys(("terminated", "truncated", "success"), (np.dtype(np.bool_), ()))
    return {name: np.broadcast_to(np.zeros((), dtype), (rows, *shape)) for name, (dtype, shape) in kinds.items()}


# ---------------------------------------------------------------------------------------------- reading


def read_demonstrations(path: str | Path) -> Demonstrations:
    """Read a file of demonstrations.

    Raises:
        ConfigError: there is no such file.
        RunError: it is damaged, or something else than demonstrations.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(
            f"demonstrations.path is {str(path)!r}, and there is no such file. Record one with: "
            f"python test.py --control expert --config FILE --save-demos {path}"
        )
    with open_plain(path.resolve()) as file:  # where a link of its user's leads is its user's word
        members = read_members(file, str(path))
        fingerprint = _fingerprint(file)
    text = parse_array(members.get("header.npy", b""), f"{path}: header")
    header = _header(text, path)
    try:
        observation_space, action_space = (
            space_from_json(header[f"{name}_space"]) for name in ("observation", "action")
        )
        layout = _layout(observation_space, action_space, header["transitions"])
        header["environment"] = dict(header["environment"])
    except (RunError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise RunError(f"{path} is damaged: its header describes no transitions.") from error
    expected = {quote(name, safe=""): like for name, like in {**layout, "header": text}.items()}
    loaded = expected_arrays(members, expected, str(path))
    arrays = {name: loaded[quote(name, safe="")] for name in layout}
    _check_values(path, arrays, action_space)
    return Demonstrations(path, header, observation_space, action_space, arrays, fingerprint)


def _fingerprint(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    file.seek(0)
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _header(text: np.ndarray, path: Path) -> dict[str, Any]:
    """Return the header that stands in an array of bytes."""
    if text.dtype != np.uint8 or text.size > _LARGEST_HEADER:
        raise RunError(f"{path} is refused: its header is none of ours.")
    header = parse_json(text.tobytes(), f"the header of {path}")
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else None
        raise RunError(f"{path} has format {found!r}, and this version of Armature reads {FORMAT}.")
    return header


def _check_values(path: Path, arrays: Arrays, action_space: spaces.Space[Any]) -> None:
    if not len(arrays["reward"]):
        raise RunError(f"{path} holds no transitions.")
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RunError(f"{path}: {name} holds NaN or infinity.")
    if not isinstance(action_space, spaces.Box) and not all(action in action_space for action in arrays["action"]):
        raise RunError(f"{path}: action holds what is no action of {action_space}.")


# ---------------------------------------------------------------------------------------------- learning from them


def demonstration_arguments(cls: type, arguments: Mapping[str, Any], env: VecEnv, config: Config) -> dict[str, Any]:
    """Return the arguments that make an algorithm draw a share of each batch from the config's demonstrations.

    Args:
        cls: the algorithm's class.
        arguments: what else it is made with, hindsight included.
        env: the environments to learn in.
        config: of the run.

    Raises:
        ConfigError: the algorithm cannot do it, or the demonstrations are of other spaces.
        RunError: the file is damaged.
    """
    buffers = {
        None: DemonstrationDictBuffer if isinstance(env.observation_space, spaces.Dict) else DemonstrationBuffer,
        HindsightReplayBuffer: DemonstrationHindsightBuffer,
    }
    asked: Any = arguments.get("replay_buffer_class")
    if asked not in buffers:
        raise ConfigError(
            f"demonstrations and algo_kwargs.replay_buffer_class ({asked.__name__}) exclude each other. Remove one."
        )
    if arguments.get("n_steps", 1) != 1:
        raise ConfigError("demonstrations cannot be mixed with n-step returns. Remove algo_kwargs.n_steps.")
    found = read_demonstrations(config.demonstrations.path or "")
    check_fit(found, env, config)
    given = {"demonstrations": str(found.path), "fraction": config.demonstrations.fraction}
    kwargs = {**(arguments.get("replay_buffer_kwargs") or {}), **given}
    return {"replay_buffer_class": buffers[asked], "replay_buffer_kwargs": kwargs}


def check_fit(found: Demonstrations, env: VecEnv, config: Config) -> None:
    """Raise `ConfigError` if demonstrations are of other spaces; log a warning if they are of another environment."""
    normalizing = unwrap_vec_normalize(env)
    raw = normalizing.venv if normalizing else env
    for name in ("observation_space", "action_space"):
        recorded, ours = getattr(found, name), getattr(raw, name)
        if space_to_json(recorded) != space_to_json(ours):
            raise ConfigError(
                f"{found.path} was recorded with another {name.replace('_', ' ')}: {recorded}; this configuration "
                f"makes {ours}. Record it again with: python test.py --control expert --config FILE --save-demos FILE, "
                "where the first FILE is this configuration."
            )
    now = config.model_dump(include=set(_DESCRIBING), exclude=set(config.idle_keys))
    then = found.header.get("environment", {})
    if isinstance(env.action_space, spaces.Discrete) and then.get("action_levels") != config.action_levels:
        raise ConfigError(
            f"{found.path} was recorded with action_levels {then.get('action_levels')}, and they are "
            f"{config.action_levels} here: the same number means another action."
        )
    if changed := [name for name, value in now.items() if then.get(name) != value]:
        log.warning("%s was recorded with another %s", found.path, ", ".join(changed))


class _WithDemonstrations(ReplayBuffer):
    """A replay buffer that draws a fixed share of each batch from demonstrations.

    They are no part of what the buffer stores, so they are never overwritten, and not saved with it either.

    Args:
        args: as for the buffer that this is mixed into.
        demonstrations: file of demonstrations.
        fraction: share of each batch.
        kwargs: as for the buffer that this is mixed into.
    """

    def __init__(self, *args: Any, demonstrations: str, fraction: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        found = read_demonstrations(demonstrations)
        self.fraction, self.fingerprint = fraction, found.fingerprint
        self.demonstrations = _buffer_of(found, self)

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Any:
        """Return a batch, normalised as `env` has it: own transitions first, then demonstrations."""
        shown = round(self.fraction * batch_size)
        demonstrated = self.demonstrations.sample(shown, env)
        if shown == batch_size:
            return demonstrated
        own = super().sample(batch_size - shown, env)
        return type(own)(*map(partial(each, _joined), own, demonstrated))


class DemonstrationBuffer(_WithDemonstrations):
    """`ReplayBuffer` with demonstrations."""


class DemonstrationDictBuffer(_WithDemonstrations, DictReplayBuffer):
    """`DictReplayBuffer` with demonstrations."""


class DemonstrationHindsightBuffer(_WithDemonstrations, HindsightReplayBuffer):
    """`HindsightReplayBuffer` with demonstrations, which keep the goals that they were made for."""


def _buffer_of(found: Demonstrations, like: ReplayBuffer) -> ReplayBuffer:
    """Return a full buffer of demonstrations for the same model as another one."""
    cls = DictReplayBuffer if isinstance(like.observation_space, spaces.Dict) else ReplayBuffer
    buffer = cls(len(found), like.observation_space, like.action_space, like.device)  # type: ignore[arg-type]
    actions = _scaled(found.arrays["action"], found.action_space)
    before, after = (_observations(found, name, like.observation_space) for name in ("observation", "next_observation"))
    done = found.arrays["terminated"] | found.arrays["truncated"]
    for index in range(len(found)):
        now = slice(index, index + 1)
        infos = [{"TimeLimit.truncated": bool(found.arrays["truncated"][index])}]
        buffer.add(at(before, now), at(after, now), actions[now], found.arrays["reward"][now], done[now], infos)
    return buffer


def _observations(found: Demonstrations, name: str, space: spaces.Space[Any]) -> Any:
    """Return observations as a model sees them: SB3 puts the channels of images first."""
    if isinstance(space, spaces.Dict):
        return {key: _channels_first(found.arrays[f"{name}.{key}"], part) for key, part in space.items()}
    return _channels_first(found.arrays[name], space)


def _channels_first(array: np.ndarray, space: spaces.Space[Any]) -> np.ndarray:
    return array if array.shape[1:] == space.shape else VecTransposeImage.transpose_image(array)


def _scaled(actions: np.ndarray, space: spaces.Space[Any]) -> np.ndarray:
    """Return actions as SB3 keeps them in replay buffers: those of a Box scaled to [-1, 1]."""
    if not isinstance(space, spaces.Box):
        return actions
    return (2 * (np.clip(actions, space.low, space.high) - space.low) / (space.high - space.low) - 1).astype(
        space.dtype
    )


def _joined(own: torch.Tensor | None, shown: torch.Tensor) -> torch.Tensor | None:
    return None if own is None else torch.cat((own, shown))
