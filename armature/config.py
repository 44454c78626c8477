"""`Config`: the one definition of every key. JSON keys, flags, help, the table in configs/ and the schema come from it.

    config = Config.load("configs/reach.json", {"seed": 3, "algo_kwargs.batch_size": 512})
    load_extensions(config)
    config.check()

`python -m armature.config` writes configs/schema.json and the table in configs/README.md.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

import armature
from armature import jsonc, schema
from armature.cameras import CameraConfig
from armature.checkpoints import write_json
from armature.errors import ConfigError, closest
from armature.scene import ClutterConfig, DistractorConfig, ObjectConfig
from armature.schema import Strict

NAMESPACE = "armature/"
"""Gymnasium ids that the robot keys apply to."""
GENERAL_ENV = "armature/RobotEnv-v1"
"""The id that takes every robot key; others of the namespace fix `robot` and `task_type`."""

ROBOT_KEYS = (
    *("robot", "robot_action", "gripper_action", "workspace", "task_type", "task_kwargs"),
    *("task_objects", "distractors", "clutter", "randomize"),
    *("observation", "reward", "reward_weights", "terminate_on_success"),
)
"""Keys that describe environments of the namespace."""

_COUNT = 10**10
_FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"

# ------------------------------------------------------------------------------------------------ kinds of values


def key(default: Any, section: str, **limits: Any) -> Any:
    """Declare a key: its default, the section it is listed in, and pydantic's limits such as `ge` and `le`."""
    return Field(default, json_schema_extra={"section": section}, **limits)


def _refuse(allowed: str, got: Any, path: tuple[str | int, ...] = ()) -> PydanticCustomError:
    return PydanticCustomError("refused", "refused", {"allowed": allowed, "got": got, "path": path})


def _json_value(value: Any, path: tuple[str | int, ...] = ()) -> Any:
    """Refuse what JSON cannot hold, numbers that are not finite, and nesting without end."""
    if len(path) > jsonc.MAX_DEPTH:
        raise _refuse(f"at most {jsonc.MAX_DEPTH} levels of brackets", "more")
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise _refuse("text as a key", name, path)
            _json_value(item, (*path, name))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _json_value(item, (*path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        raise _refuse("a finite number", value, path)
    elif isinstance(value, int) and abs(value) >= 2**63:
        raise _refuse("a whole number below 2^63", value, path)
    elif not isinstance(value, (str, int, float, type(None))):
        raise _refuse("what JSON can hold", value, path)
    return value


def _rising(levels: list[float]) -> list[float]:
    if any(low >= high for low, high in itertools.pairwise(levels)):
        raise _refuse("numbers in rising order, each once", levels)
    return levels


JsonObject = Annotated[dict[str, Any], AfterValidator(_json_value)]
Text = Annotated[str, Field(min_length=1, max_length=1000)]
Deviation = Annotated[float, Field(ge=0, le=1000)]
Steps = Annotated[int, Field(ge=0, le=1000)]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Levels = Annotated[
    list[Annotated[float, Field(ge=-1, le=1)]], Field(min_length=2, max_length=32), AfterValidator(_rising)
]


# ------------------------------------------------------------------------------------------------ the keys


class ObservationConfig(Strict):
    """What an agent sees of a robot environment."""

    form: Literal["auto", "flat", "goal"] = key("auto", "environment")
    """One flat vector, or a dict with the goal apart; auto takes the dict where replay uses hindsight."""
    parts: list[Text] | None = key(None, "environment")
    """Names of the parts, in order; null takes the task's own, and [] leaves pictures only."""
    cameras: list[CameraConfig] = key([], "environment", max_length=16)
    """Cameras whose pictures are observed besides the parts; docs/environments.md has their keys."""
    noise: dict[str, Deviation] = key({}, "environment")
    """Standard deviations of Gaussian noise by part, in its SI unit, or by picture, in levels of 255."""
    latency: dict[str, Steps] = key({}, "environment")
    """Control steps by which parts and pictures are late, by name."""


class DemonstrationsConfig(Strict):
    """Episodes of an expert to learn from besides one's own."""

    path: Text | None = key(None, "algorithm")
    """File of demonstrations, from `test.py --save-demos`, relative to the working directory; null for none."""
    fraction: float = key(0.25, "algorithm", ge=0, le=1)
    """Share of each batch that is drawn from them."""


class Config(Strict):
    """A training run. Keys that are left out keep their defaults."""

    seed: int = key(0, "run", ge=0, le=2**32 - 1)
    """Seed of everything random: same configuration and seed, same run."""
    logdir: Text = key("trained_models", "run")
    """Folder that holds the folders of runs; relative to the working directory."""
    run_name: str | None = key(None, "run", pattern=_FILE_NAME)
    """Name of the run's own folder; null makes one from robot, task, algorithm and a number."""
    device: str = key("cpu", "run", pattern=r"^(cpu|auto|cuda(:\d{1,2})?)$")
    """Where networks live; "auto" takes a GPU if there is one, yet small networks are faster on the CPU."""
    torch_threads: int | None = key(None, "run", ge=1, le=256)
    """Threads of one torch operation; null takes one, which is best for small networks and on busy machines."""
    plugins: list[Text] = key([], "run")
    """Modules or .py files to import first; they register algorithms, robots, tasks or environments."""

    env_name: Text = key(GENERAL_ENV, "environment")
    """A Gymnasium id; the robot keys below describe environments of the namespace armature/ only."""
    robot: Text = key("panda", "environment")
    """Name of the robot, or the path of a .json file that describes your own."""
    robot_action: Text = key("ee_delta", "environment")
    """What an action means to the robot, such as ee_delta (steps of the end effector) or joint_delta."""
    gripper_action: Literal["auto", "width", "open_close", "blocked"] = key("auto", "environment")
    """What an action's last number does: steps of the opening, open or close, or there is none; auto asks the task."""
    workspace: Text = key("table", "environment")
    """Name of the place where the robot stands, or a .json file that describes one of your own."""
    task_type: Text = key("reach", "environment")
    """Name of the task."""
    task_kwargs: JsonObject = key({}, "environment")
    """The task's own parameters that differ from its defaults, in metres and radians."""
    task_objects: list[ObjectConfig] = key([], "environment", max_length=32)
    """What the task handles, one entry an object: what an entry leaves out is as the task has it."""
    distractors: list[DistractorConfig] = key([], "environment", max_length=32)
    """Bodies in the way that nothing moves: standing still, or moving on their own."""
    clutter: ClutterConfig | None = key(None, "environment")
    """Loose objects of which some are drawn for each episode and lie about."""
    observation: ObservationConfig = key(ObservationConfig(), "environment")
    """What the agent sees."""
    reward: Literal["dense", "sparse"] = key("dense", "environment")
    """"dense" is the weighted mean of the task's terms; "sparse" is 0 on success and -1 otherwise."""
    reward_weights: dict[str, Weight] = key({}, "environment")
    """Weights of terms of the dense reward that differ from the task's, by name."""
    max_episode_steps: int | None = key(None, "environment", ge=1, le=1_000_000)
    """Length of an episode in control steps; null takes the task's."""
    terminate_on_success: bool = key(False, "environment")
    """Whether an episode ends at its first success."""
    randomize: JsonObject = key({}, "environment")
    """What is drawn for every episode, such as {"object_mass": {"uniform": [0.1, 0.3]}}; see docs/environments.md."""
    env_kwargs: JsonObject = key({}, "environment")
    """Further keyword arguments for the environment's constructor."""
    num_envs: int = key(16, "environment", ge=1, le=1024)
    """Environments that run side by side."""
    num_workers: int | None = key(None, "environment", ge=0, le=256)
    """Processes that share the environments, with equal results; 0: this one alone, null: what suits the cores."""

    worker_timeout: float = key(300.0, "environment", gt=0, le=1e6)
    """Seconds that an environment may take for a step before its process counts as hung and is replaced."""
    worker_restarts: int = key(10, "environment", ge=0, le=1_000_000)
    """How often environments may die, hang or raise in a run; each time they are made anew, with equal results."""

    algo: Text = key("fast_sac", "algorithm")
    """Name of the algorithm, which `--list-algos` shows, or an address "file.py:Class" of your own."""
    train_framework: Text = key("pytorch", "algorithm")
    """Deep-learning framework that the algorithm is written in."""
    policy: Text | None = key(None, "algorithm")
    """Policy name of the algorithm, or an address "package.module:Class"; null chooses by the observation space."""
    policy_kwargs: JsonObject = key({}, "algorithm")
    """Arguments of the policy's constructor, such as net_arch and activation_fn."""
    algo_kwargs: JsonObject = key({}, "algorithm")
    """Arguments of the algorithm's constructor; `--describe-algo NAME` lists them."""
    loop: Text | None = key(None, "algorithm")
    """Loop that drives an agent, an address "file.py:Class"; null takes the default loop. For agents only."""
    loop_kwargs: JsonObject = key({}, "algorithm")
    """Parameters of an agent's loop; `--create-config` writes them all."""
    replay_buffer: Literal["default", "her"] = key("default", "algorithm")
    """"her" replays with hindsight: missed goals are learned from as if they had been meant."""
    demonstrations: DemonstrationsConfig = key(DemonstrationsConfig(), "algorithm")
    """Episodes of an expert that algorithms with a replay buffer learn from besides their own."""
    action_levels: Levels = key([-1.0, -0.3, 0.3, 1.0], "algorithm")
    """Levels of each action component in turn for algorithms with discrete actions, in rising order."""
    normalize: bool = key(False, "algorithm")
    """Whether observations are scaled by their running mean and deviation."""
    pretrained_model: Text | None = key(None, "algorithm")
    """Run or model folder whose weights training starts from."""

    steps: int = key(8000, "training", ge=1, le=_COUNT)
    """Environment steps to train, over all environments."""
    log_freq: int = key(1000, "training", ge=0, le=_COUNT)
    """Environment steps between lines of metrics; 0 switches them off."""
    on_nan: Literal["stop", "skip"] = key("stop", "training")
    """What happens when an observation, reward or gradient is NaN or infinite: stop, or skip the episode or update."""

    eval_freq: int = key(1000, "evaluation", ge=0, le=_COUNT)
    """Environment steps between evaluations; 0 switches them off."""
    eval_episodes: int = key(20, "evaluation", ge=1, le=100_000)
    """Episodes of an evaluation during training."""
    final_eval_episodes: int = key(100, "evaluation", ge=1, le=100_000)
    """Episodes of the evaluation at the end."""

    checkpoint_freq: int = key(10_000, "output", ge=0, le=_COUNT)
    """Environment steps between checkpoints; 0 switches these off."""
    checkpoint_minutes: float = key(10.0, "output", ge=0, le=100_000)
    """Minutes after which there is a checkpoint at the latest; 0 leaves that to checkpoint_freq."""
    keep_checkpoints: int = key(3, "output", ge=1, le=10_000)
    """Checkpoints that are kept; older ones are deleted."""
    save_replay_buffer: bool = key(True, "output")
    """Whether checkpoints hold the replay buffer, so that a resumed run need not fill it again."""
    tensorboard: bool = key(True, "output")
    """Whether metrics are also written for TensorBoard."""
    record: Literal["none", "gif", "mp4"] = key("none", "output")
    """Film a few episodes of the trained model into the run folder."""

    _origins: dict[str, str] = PrivateAttr(default_factory=dict)

    # -------------------------------------------------------------------------------------------- made

    @classmethod
    def load(cls, path: str | Path | None = None, flags: Mapping[str, Any] | None = None) -> Config:
        """Return defaults < file < flags.

        Args:
            path: a file, or the name of a shipped configuration; None for none.
            flags: values by dotted key, such as `{"algo_kwargs.batch_size": 512}`.
        """
        file = find(path) if path is not None else None
        values = anchored(_read(file), file.parent) if file else {}
        flags = anchored(dict(flags or {}), Path())
        origins = dict.fromkeys(leaves(values), "file")
        for dotted in sorted(flags, key=lambda name: name.count(".")):  # --algo_kwargs before --algo_kwargs.gamma
            _put(values, dotted, flags[dotted])
            origins = {name: origin for name, origin in origins.items() if not _within(name, dotted)}
            origins |= dict.fromkeys(leaves(flags[dotted], dotted), "flag")
        config = cls.model_validate(values, context={"file": file, "flags": tuple(flags)})
        config._origins = origins
        return config

    @model_validator(mode="wrap")
    @classmethod
    def _explained(cls, values: Any, handler: Any, info: Any) -> Any:
        try:
            return handler(values)
        except ValidationError as error:
            raise ConfigError(schema.explain(cls, error, info.context or {})) from None

    # -------------------------------------------------------------------------------------------- asked

    @property
    def origins(self) -> dict[str, str]:
        """Where each value comes from, by dotted key: `default`, `file`, `flag`, or `argument` of a Python call."""
        given = self._origins or dict.fromkeys(leaves(self.model_dump(exclude_unset=True)), "argument")
        return {name: given.get(name, "default") for name in (*leaves(self.model_dump()), *given)}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Config) and self.model_dump() == other.model_dump()

    def given(self, name: str) -> bool:
        """Return whether a dotted key, or anything below it, was given, be it equal to the default."""
        return any(_within(key, name) for key, origin in self.origins.items() if origin != "default")

    @property
    def idle_keys(self) -> tuple[str, ...]:
        """Robot keys that mean nothing to `env_name`."""
        if self.env_name == GENERAL_ENV:
            return ()
        return ("robot", "task_type") if self.env_name.startswith(NAMESPACE) else ROBOT_KEYS

    def save(self, path: str | Path) -> None:
        """Write every key that is in effect as plain JSON; loading it repeats the run."""
        write_json(Path(path), self.model_dump(exclude=set(self.idle_keys)))

    # -------------------------------------------------------------------------------------------- checked

    def check(self) -> None:
        """Raise `ConfigError` for whatever can be told early: after `load_extensions`, before anything is built."""
        from armature.checks import check  # here, since checks are written in terms of this class

        check(self)


# ------------------------------------------------------------------------------------------------ files


def find(name: str | Path) -> Path:
    """Return the path of a configuration: the path itself, or `configs/<name>` beside or within the package."""
    places = [Path(name), *(Path(entry) / "configs" / name for entry in armature.__path__)]
    for place in places:
        if _is(place, Path.is_file):
            return place
        if _is(place, Path.exists):
            raise ConfigError(f"{place} is not a file; a configuration is a JSON file.")
    shipped = shipped_configs()
    guess = closest(name, shipped) or "."
    looked = ", ".join(str(place) for place in places)
    raise ConfigError(f"no configuration {str(name)!r}{guess} Looked for {looked}. Shipped: {', '.join(shipped)}.")


def shipped_configs() -> list[str]:
    """Return the names of the configurations that come with Armature."""
    folders = [Path(entry) / "configs" for entry in armature.__path__]
    found = {file.relative_to(folder).as_posix() for folder in folders for file in folder.rglob("*.json")}
    return sorted(found - {"schema.json"})


def _is(path: Path, test: Any) -> bool:
    try:
        return bool(test(path))
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _read(file: Path) -> dict[str, Any]:
    values = jsonc.read(file)
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds {schema.short(values)}; a configuration is an object: {{ ... }}.")
    values.pop("$schema", None)  # for editors
    if "trainer_type" in values:  # what people who come with a trainer of their own know it by
        values.setdefault("algo", values.pop("trainer_type"))
    return values


_FILE = re.compile(r"(?P<file>[^\n]+\.(py|json|urdf))(?P<name>(?<=\.py):[^\W\d][\w.]*)?")


def anchored(value: Any, folder: Path) -> Any:
    """Return a value with the full path wherever it names a file of Python, JSON or URDF, or a class in one.

    A relative path is looked for in `folder`, then in the working directory; one that is in neither stays as it is.
    """
    if isinstance(value, dict):
        return {name: anchored(item, folder) for name, item in value.items()}
    if isinstance(value, list):
        return [anchored(item, folder) for item in value]
    named = _FILE.fullmatch(value) if isinstance(value, str) else None
    if named is None:
        return value
    for place in (folder, Path()):
        file = place / Path(named["file"]).expanduser()
        if _is(file, Path.is_file):
            return f"{file.resolve()}{named['name'] or ''}"
    return value


def _put(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Set a dotted key, making the objects on the way."""
    *parents, last = dotted.split(".")
    for depth, name in enumerate(parents):
        values = values.setdefault(name, {})
        if not isinstance(values, dict):
            above = ".".join(parents[: depth + 1])
            raise ConfigError(f"--{dotted}: {above} is {schema.short(values)}, which has no keys below it.")
    values[last] = value


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Return by dotted key all values that are no objects, and the empty objects."""
    if not isinstance(value, Mapping) or not value:
        return {path: value} if path else {}
    below = (leaves(item, f"{path}.{name}" if path else str(name)) for name, item in value.items())
    return {name: item for found in below for name, item in found.items()}


def _within(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")


# ------------------------------------------------------------------------------------------------ generated files


def main() -> None:
    """Write configs/schema.json and the table of keys in configs/README.md."""
    folder = Path(armature.__path__[-1]) / "configs"
    (folder / "schema.json").write_text(schema.json_schema(Config), encoding="utf-8")
    readme = folder / "README.md"
    readme.write_text(schema.with_table(readme.read_text(encoding="utf-8"), Config), encoding="utf-8")


if __name__ == "__main__":
    main()
