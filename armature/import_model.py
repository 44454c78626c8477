"""Models that others trained with Stable-Baselines3, made runs of ours without unpickling them.

    python -m armature.import_model sac_pendulum.zip --config pendulum.json --policy_kwargs.net_arch=[64,64]
    python -m armature.import_model ppo.zip --config mine.json --vec-normalize vecnormalize.pkl --trust

`SAC.load` of a stranger's zip runs whatever code its author put there. Here the model is built from your configuration,
which says algorithm, environment and networks, and only the tensors of the zip are copied into it. Every key of the
configuration is a flag, as for train.py; `run_name` names the run. Exit status: 0 done, 2 refused.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from armature.argument_checks import check_arguments
from armature.circumstances import circumstances
from armature.cli import Parser, exit_with_status, parse_train_args
from armature.config import Config
from armature.errors import ConfigError, RunError
from armature.plain_files import open_plain, parse_json
from armature.plugins import load_extensions

LARGEST = 2 << 30
"""Size of a zip that is read at all, in bytes."""
_LARGEST_DATA = 16 << 20
_MOST_TENSORS = 10_000


@exit_with_status
def main(argv: Sequence[str] | None = None) -> int:
    """Import the model that the command line names; return the exit status."""
    parser = Parser(
        prog="python -m armature.import_model",
        usage="%(prog)s FILE.zip --config FILE [--KEY=VALUE ...] [--vec-normalize FILE.pkl --trust]",
        description="Make a run of a model that somebody trained with Stable-Baselines3, without running its code.",
    )
    parser.add_argument("file", type=Path, help="what SB3's model.save() wrote")
    parser.add_argument("--vec-normalize", type=Path, metavar="FILE", help="what SB3's VecNormalize.save() wrote")
    parser.add_argument(
        "--trust", action="store_true", help="unpickle that, in a process of its own that may make nothing but arrays"
    )
    args, keys = parser.parse_known_args(sys.argv[1:] if argv is None else argv)
    train_args = parse_train_args(keys)
    config = Config.load(train_args.config_path, train_args.flags)
    load_extensions(config)
    config.check()
    check_arguments(config)
    if args.vec_normalize and not args.trust:
        raise ConfigError(
            f"{args.vec_normalize} is a pickle, which can run code. If you trust whoever made it, add --trust."
        )
    run, notes = import_model(args.file, config, args.vec_normalize)
    print("\n".join([*notes, f"Imported {args.file} as {run}. See it with: python test.py --model {run}"]))
    return 0


def import_model(file: Path, config: Config, vec_normalize: Path | None = None) -> tuple[Path, list[str]]:
    """Make a run folder of a model that SB3 saved; return it, and what is worth knowing about the import.

    Args:
        file: the zip.
        config: describes the same algorithm, spaces and networks.
        vec_normalize: a pickle of the observations' statistics, from somebody trusted; `normalize` must be on.

    Raises:
        RunError: the zip holds something else, or is damaged.
        ConfigError: statistics are given and the configuration does not normalise, or the other way round.
    """
    from armature.combos import implemented_combos
    from armature.making import build_for_replay
    from armature.models import save_model
    from armature.runs import new_run, write_run_info
    from armature.state import load_statistics
    from armature.vec import SpacesOnly, make_vec_env, normalized
    from armature.weights import load_members

    if config.normalize != (vec_normalize is not None):
        raise ConfigError("normalize and --vec-normalize go together: give both, or neither.")
    members = _members(file)
    described = _description(members)
    real = make_vec_env(config, "replay", 1)
    env: Any = SpacesOnly(real.observation_space, real.action_space, config.num_envs)
    real.close()
    env = normalized(env, training=False) if config.normalize else env
    row = implemented_combos[config.algo][config.train_framework]
    model = build_for_replay(env, config, config.policy or row.policy)
    try:
        load_members(model, members, str(file), optimizers=False)
    except RunError as error:
        raise RunError(f"{error} {' '.join(_advice(members, described, model))}".strip()) from error
    if vec_normalize is not None:
        with tempfile.TemporaryDirectory() as folder:
            load_statistics(env, _converted(vec_normalize, Path(folder)))
    steps = described.get("num_timesteps")
    model.num_timesteps = steps if isinstance(steps, int) and 0 <= steps < 1 << 53 else 0
    run = new_run(config)
    config.save(run / "config.json")
    write_run_info(run, config, circumstances(config))
    save_model(model, run / "final", config)
    return run, _notes(described)


def _members(file: Path) -> dict[str, bytes]:
    from armature.archives import read_members

    with open_plain(file.resolve()) as stream:
        if stream.read(1) in (b"\x80", b"("):
            raise RunError(
                f"{file} is a pickle, which can run code. A model is a .zip; statistics of VecNormalize go with "
                "--vec-normalize; a replay buffer is of no use for a replay."
            )
        if os.fstat(stream.fileno()).st_size > LARGEST:
            raise RunError(f"{file} is larger than {LARGEST >> 30} GiB; that is no model.")
        return read_members(stream, str(file))


# ---------------------------------------------------------------------------------------------- what a zip tells


def _description(members: Mapping[str, bytes]) -> dict[str, Any]:
    """Return what SB3 says of a model in JSON. Nothing of it is used but to tell what does not fit."""
    data = members.get("data", b"")
    try:
        found = parse_json(data if len(data) <= _LARGEST_DATA else b"", "data")
    except RunError:  # other versions may write what is no strict JSON
        return {}
    return found if isinstance(found, dict) else {}


def _is_pickled(value: Any) -> bool:
    return isinstance(value, dict) and ":serialized:" in value


def _notes(described: Mapping[str, Any]) -> list[str]:
    pickled = sorted(name for name, value in described.items() if _is_pickled(value))
    return [f"{len(pickled)} pickled values were left alone: {', '.join(pickled)[:300]}"] if pickled else []


def _advice(members: Mapping[str, bytes], described: Mapping[str, Any], model: Any) -> list[str]:
    """Say what a configuration would have to be for the weights to fit, as far as the file tells."""
    from armature.weights import parse_tensors

    advice = []
    for name in ("observation_space", "action_space"):
        told, ours = described.get(name), getattr(model, name)
        shape = told.get("_shape") if isinstance(told, dict) else None
        if isinstance(shape, list) and ours.shape is not None and tuple(shape) != ours.shape:
            advice.append(f"Its {name} has the shape {tuple(shape)}, and that of the configuration {ours.shape}.")
    if isinstance(used := described.get("use_sde"), bool) and used != model.use_sde:
        advice.append(f"It was trained with use_sde {used}: set algo_kwargs.use_sde.")
    if "policy.pth" in members:
        weights = parse_tensors(members["policy.pth"], "policy.pth", _MOST_TENSORS)
        if guess := guess_net_arch({name: tuple(tensor.shape) for name, tensor in _tensors_of(weights)}):
            advice.append(f'By its weights it has: "policy_kwargs": {{"net_arch": {guess}}}.'.replace("'", '"'))
    return advice


def _tensors_of(weights: Any) -> list[tuple[str, Any]]:
    items = weights.items() if isinstance(weights, Mapping) else ()
    return [(name, tensor) for name, tensor in items if isinstance(name, str) and hasattr(tensor, "shape")]


def guess_net_arch(shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Return the `net_arch` that the shapes of a policy's tensors speak of, or None if they are of no MLP of SB3.

    Args:
        shapes: by the names of the policy's `state_dict()`.
    """
    on_policy = {
        branch: layers
        for branch, network in (("pi", "policy_net"), ("vf", "value_net"))
        if (layers := _layers(shapes, f"mlp_extractor.{network}"))
    }
    actor = _layers(shapes, "actor.latent_pi") or _layers(shapes, "actor.mu")[:-1]
    critic = _layers(shapes, "critic.qf0")[:-1]
    values = (_layers(shapes, "q_net.q_net") or _layers(shapes, "quantile_net.quantile_net"))[:-1]
    branches = on_policy or ({"pi": actor, "qf": critic} if critic else {})
    sizes = list(branches.values())
    return sizes[0] if sizes and all(size == sizes[0] for size in sizes) else branches or values or None


def _layers(shapes: Mapping[str, tuple[int, ...]], network: str) -> list[int]:
    """Return how many outputs the layers of a network have, in order."""
    found = {
        int(match[1]): shape[0]
        for name, shape in shapes.items()
        if (match := re.fullmatch(rf"{re.escape(network)}\.(\d{{1,6}})\.weight", name)) and len(shape) == 2
    }
    return [found[index] for index in sorted(found)]


# ---------------------------------------------------------------------------------------------- statistics


def _converted(pickled: Path, folder: Path) -> Path:
    """Return the statistics of a pickle as a file of ours, made by a process that is given little to do harm with."""
    target = folder / "normalization.npz"
    command = [sys.executable, "-I", str(Path(__file__).with_name("trusted_pickle.py")), str(pickled), str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={}, check=False)
    except subprocess.TimeoutExpired:
        raise RunError(f"{pickled} is refused: it takes too long to read.") from None
    if done.returncode:
        raise RunError(f"{pickled} is refused: {(done.stderr.strip().splitlines() or ['its process died'])[-1][:300]}")
    return target


if __name__ == "__main__":
    sys.exit(main())
