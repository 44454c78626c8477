"""Reading weights without unpickling: everything is checked against a freshly built model before a number is copied.

A `model.zip` is SB3's own file. Its `data` member is a pickle and is never opened; the `.pth` members are read with
`weights_only=True`. The names, shapes and types of all tensors must be those of the model that the configuration
describes, and all numbers finite. Algorithms in JAX keep no weights in `.pth` members; theirs are arrays of a
`weights.npz`.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from armature.errors import ArmatureError, DivergedError, RunError

Arrays = dict[str, np.ndarray]

VARIABLES = "pytorch_variables"
"""The member for tensors outside any network: the entropy coefficient of SAC and its relatives."""
DAMAGE = (OSError, KeyError, ValueError, EOFError, OverflowError, NotImplementedError, struct.error, zipfile.BadZipFile)
"""What reading a damaged archive can raise."""
UNREAD = {"data", "_stable_baselines3_version", "system_info.txt"}
"""Members of a model.zip that we have no use for."""


def load_weights(model: Any, folder: Path, optimizers: bool) -> None:
    """Copy the weights of a model folder into a model; raise `RunError`, with the model unchanged, if they do not fit.

    A model that has `load_file(path)` reads its file itself.

    Args:
        model: built from the same configuration and spaces.
        folder: a verified model folder.
        optimizers: whether the optimizers' moments are restored too, to go on training.
    """
    if hasattr(model, "load_file"):
        model.load_file(folder / getattr(model, "file_name", "model.zip"))
    elif model._get_torch_save_params()[0]:
        _load_torch(model, folder / "model.zip", optimizers)
    else:
        _load_jax(model, folder / "weights.npz", optimizers)


# ---------------------------------------------------------------------------------------------- finite or not


def refuse_diverged(model: BaseAlgorithm) -> None:
    """Raise `DivergedError` if a weight is NaN or infinite; of a model that has `load_file` none are known."""
    for name, finite in _finite_weights(model):
        if not finite:
            raise DivergedError(f"{name} holds NaN or infinity", model.num_timesteps)


@contextmanager
def divergence_explained(model: BaseAlgorithm) -> Iterator[None]:
    """Let an exception that comes of weights that are not finite say so."""
    try:
        yield
    except ArmatureError:
        raise
    except Exception:  # NaN fails wherever it is noticed first: in a distribution, in an environment, in a plugin
        refuse_diverged(model)
        raise


def _finite_weights(model: BaseAlgorithm) -> Iterator[tuple[str, bool]]:
    states, variables = ([], []) if hasattr(model, "load_file") else model._get_torch_save_params()
    for name in states:
        module = recursive_getattr(model, name)
        for key, tensor in module.state_dict().items() if isinstance(module, torch.nn.Module) else ():
            yield f"{name}.{key}", bool(torch.isfinite(tensor).all())
    for name in variables:
        yield name, bool(torch.isfinite(recursive_getattr(model, name)).all())
    for name, array in jax_arrays(model).items():
        yield name, array.dtype.kind != "f" or bool(np.isfinite(array).all())


# ---------------------------------------------------------------------------------------------- torch


def _load_torch(model: BaseAlgorithm, path: Path, optimizers: bool) -> None:
    state_names, variable_names = model._get_torch_save_params()
    present = {name: recursive_getattr(model, name) for name in (*state_names, *variable_names)}
    modules = {name: item for name, item in present.items() if isinstance(item, torch.nn.Module)}
    limit = (1 << 20) + 4 * sum(tensor.nbytes for module in modules.values() for tensor in module.state_dict().values())
    loaded = _read_members(path, {*state_names, VARIABLES}, limit)
    variables = loaded.pop(VARIABLES)
    _same_names(variables, variable_names, f"{path}, {VARIABLES}")

    for name, module in modules.items():
        _check_tensors(loaded[name], module.state_dict(), f"{path}, {name}")
    _check_tensors(variables, {name: present[name] for name in variable_names}, f"{path}, {VARIABLES}")
    moments = {}
    for name in set(state_names) - set(modules) if optimizers else ():
        moments[name] = _checked_moments(loaded[name], present[name], f"{path}, {name}")

    for name, module in modules.items():
        module.load_state_dict(loaded[name])
    for name in variable_names:
        present[name].data.copy_(variables[name].data)
    for name, state in moments.items():
        present[name].load_state_dict(state)
    _after_copying(model)


def _after_copying(model: BaseAlgorithm) -> None:
    """Bring up to date what an algorithm derives from its policy's weights."""
    from sb3_contrib import ARS

    if isinstance(model, ARS):  # it trains a flat copy of them
        model.weights = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach()  # type: ignore[assignment]
    if model.use_sde:
        model.policy.reset_noise()  # type: ignore[operator]


def _read_members(path: Path, names: Iterable[str], limit: int) -> dict[str, Any]:
    """Read the `.pth` members of those names from a model.zip, none larger than `limit` bytes."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            _check_archive(archive, {f"{name}.pth" for name in names} | UNREAD, limit, str(path))
            return {name: _read_tensors(archive.read(f"{name}.pth"), limit, f"{path}, {name}.pth") for name in names}
    except DAMAGE as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _check_archive(archive: zipfile.ZipFile, names: set[str] | None, limit: int, where: str) -> None:
    """Refuse members that are compressed, encrypted, doubled, unknown or (but for unread ones) too large."""
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise RunError(f"{where} is refused: it has two members of one name.")
    for member in members:
        if names is not None and member.filename not in names:
            raise RunError(f"{where} is refused: member {member.filename!r} does not belong to this algorithm.")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise RunError(f"{where} is refused: member {member.filename!r} is compressed or encrypted.")
        if member.file_size > limit and member.filename not in UNREAD:
            raise RunError(f"{where} is refused: member {member.filename!r} is larger than this model can be.")


def _read_tensors(data: bytes, limit: int, where: str) -> Any:
    """Read what `torch.save` wrote, tensors and plain containers only."""
    with zipfile.ZipFile(io.BytesIO(data)) as inner:
        _check_archive(inner, None, limit, where)
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # the reader of a damaged file fails in many ways
        raise RunError(f"{where} is refused: {error}") from error


def _check_tensors(loaded: Any, fresh: Mapping[str, Any], where: str) -> None:
    """Raise `RunError` unless the same names hold tensors of the same shapes and types, all numbers finite."""
    _same_names(loaded, fresh, where)
    for name, expected in fresh.items():
        tensor = loaded[name]
        if not isinstance(tensor, torch.Tensor) or tensor.shape != expected.shape or tensor.dtype != expected.dtype:
            got = f"{tuple(tensor.shape)} {tensor.dtype}" if isinstance(tensor, torch.Tensor) else type(tensor).__name__
            raise RunError(f"{where}: {name} is {got}, and this model needs {tuple(expected.shape)} {expected.dtype}.")
        _refuse_not_finite(bool(torch.isfinite(tensor).all()), f"{where}: {name}")


def _same_names(loaded: Any, expected: Iterable[str], where: str) -> None:
    names = set(loaded) if isinstance(loaded, Mapping) else set()
    missing, extra = sorted(set(expected) - names), sorted(map(str, names - set(expected)))
    if missing or extra:
        raise RunError(f"{where} is of another model: {len(missing)} names missing {missing[:3]}, unknown {extra[:3]}.")


def _refuse_not_finite(finite: bool, where: str) -> None:
    if not finite:
        raise RunError(f"{where} holds NaN or infinity: the model diverged, or the file is damaged.")


def _checked_moments(loaded: Any, optimizer: torch.optim.Optimizer, where: str) -> dict[str, Any]:
    """Return an optimizer's state with the moments of the file and the settings of the configuration."""
    fresh = optimizer.state_dict()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = loaded.get("state") if isinstance(loaded, Mapping) else None
    if not isinstance(state, Mapping) or not set(state) <= set(range(len(parameters))):
        raise RunError(f"{where} is the state of another optimizer.")
    for index, moments in state.items():
        for name, value in moments.items():
            what = f"{where}: {name} of parameter {index}"
            if not isinstance(value, torch.Tensor) or value.shape not in (parameters[index].shape, ()):
                raise RunError(f"{what} has the wrong shape.")
            _refuse_not_finite(bool(torch.isfinite(value).all()), what)
    return {"state": dict(state), "param_groups": fresh["param_groups"]}


# ---------------------------------------------------------------------------------------------- jax


def jax_arrays(model: BaseAlgorithm) -> Arrays:
    """Return every array of an SBX model by its path, such as `policy.actor_state/params/params/Dense_0/kernel`.

    Empty for algorithms that keep their weights in torch, or in a file of their own.
    """
    if model._get_torch_save_params()[0] or hasattr(model, "load_file"):
        return {}
    return {path: np.asarray(leaf) for path, leaf in _jax_leaves(model).items()}


def _load_jax(model: BaseAlgorithm, path: Path, optimizers: bool) -> None:
    import jax

    fresh = jax_arrays(model)
    loaded = read_arrays(path, fresh)
    for name, array in loaded.items():
        if array.dtype.kind == "f":
            _refuse_not_finite(bool(np.isfinite(array).all()), f"{path}: {name}")
    if not optimizers:
        training_only = ("/opt_state", "/step")
        loaded = {name: array for name, array in loaded.items() if not any(part in name for part in training_only)}
    for owner, attribute, prefix in _jax_states(model):
        leaves, structure = jax.tree_util.tree_flatten_with_path(getattr(owner, attribute))
        values = [loaded.get(_jax_name(prefix, path_), leaf) for path_, leaf in leaves]
        setattr(owner, attribute, jax.tree_util.tree_unflatten(structure, map(jax.numpy.asarray, values)))


def _jax_leaves(model: BaseAlgorithm) -> dict[str, Any]:
    import jax

    return {
        _jax_name(prefix, path): jax.numpy.asarray(leaf)
        for owner, attribute, prefix in _jax_states(model)
        for path, leaf in jax.tree_util.tree_flatten_with_path(getattr(owner, attribute))[0]
    }


def _jax_name(prefix: str, path: Any) -> str:
    import jax

    return "/".join(filter(None, (prefix, jax.tree_util.keystr(path, simple=True, separator="/"))))


def _jax_states(model: BaseAlgorithm) -> list[tuple[Any, str, str]]:
    """Return where a model keeps train states and random keys: owner, attribute, and the name of the two."""
    import jax
    from flax.training.train_state import TrainState

    return [
        (owner, attribute, f"{prefix}.{attribute}")
        for owner, prefix in ((model, "model"), (model.policy, "policy"))
        for attribute, value in sorted(vars(owner).items())
        if isinstance(value, (TrainState, jax.Array))
    ]


# ---------------------------------------------------------------------------------------------- arrays


def read_arrays(path: Path, expected: Mapping[str, np.ndarray]) -> Arrays:
    """Read an npz file that must hold exactly these names, shapes and types; nothing in it is unpickled."""
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            limit = (1 << 20) + max((array.nbytes for array in expected.values()), default=0)
            _check_archive(archive, {f"{name}.npy" for name in expected}, limit, str(path))
            return {
                name: _read_array(archive.read(f"{name}.npy"), like, f"{path}: {name}")
                for name, like in expected.items()
            }
    except DAMAGE as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _read_array(data: bytes, like: np.ndarray, where: str) -> np.ndarray:
    """Read an npy file; its header is compared before any memory is set aside for what it promises."""
    stream = io.BytesIO(data)
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read_header(stream)
    if shape != like.shape or dtype != like.dtype:
        raise RunError(f"{where} is {shape} {dtype}, and this model needs {like.shape} {like.dtype}.")
    values = np.frombuffer(stream.read(), dtype, count=math.prod(shape))
    return values.reshape(shape, order="F" if fortran_order else "C")


def read_any_arrays(path: Path) -> Arrays:
    """Read an npz file whose content only its owner can judge; nothing in it is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except DAMAGE as error:
        raise RunError(f"{path} is damaged: {error}.") from error
