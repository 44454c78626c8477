"""Reading weights without unpickling: everything is checked against a freshly built model before a number is copied.

A `model.zip` is SB3's own file. Its `data` member is a pickle and is never opened; the `.pth` members are read with
`weights_only=True`. The names, shapes and types of all tensors must be those of the model that the configuration
describes, and all numbers finite. Algorithms in JAX keep no weights in `.pth` members; theirs are arrays of a
`weights.npz`.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr
from torch.nn.modules.module import register_module_parameter_registration_hook

from armature.archives import checked_members, read_members
from armature.arrays import Arrays, read_arrays
from armature.errors import ArmatureError, DivergedError, NotFiniteError, RunError
from armature.plain_files import open_plain

VARIABLES = "pytorch_variables"
"""The member for tensors outside any network: the entropy coefficient of SAC and its relatives."""
UNREAD = {"data", "_stable_baselines3_version", "system_info.txt"}
"""Members of a model.zip that we have no use for."""

_KINDS = ("Float", "Double", "Half", "BFloat16", "Long", "Int", "Short", "Char", "Byte", "Bool")
_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    "torch._utils _rebuild_parameter",
    *(f"torch {kind}Storage" for kind in _KINDS),
}
"""What a file of tensors may name."""
_SIDE_MEMBERS, _SCRIPT_BYTES = 10, 4096
"""What `torch.save` writes besides the tensors, and how much it can have to say of each."""


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
    except NotFiniteError:  # an action, perhaps, that comes of weights
        refuse_diverged(model)
        raise
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
    names, _ = model._get_torch_save_params()
    wanted = {VARIABLES, *(name for name in names if optimizers or _is_module(model, name))}
    size = sum(tensor.nbytes for tensor in _tensors(model))
    limit = (1 << 20) + 4 * size  # an optimizer keeps three numbers for each
    limits = dict.fromkeys(UNREAD) | {f"{name}.pth": limit if name in wanted else None for name in (*names, VARIABLES)}
    with open_plain(path) as file:
        members = read_members(file, str(path), limits)
    load_members(model, members, str(path), optimizers)


def load_members(model: BaseAlgorithm, members: Mapping[str, bytes], where: str, optimizers: bool) -> None:
    """Copy what the `.pth` members of a model.zip hold into a model.

    Args:
        model: built from the same configuration and spaces.
        members: by name, as `read_members` gives them.
        where: the archive's name, for messages.
        optimizers: whether the optimizers' moments are restored too.

    Raises:
        RunError: they do not fit. The model is unchanged.
    """
    state_names, variable_names = model._get_torch_save_params()
    present = {name: recursive_getattr(model, name) for name in (*state_names, *variable_names)}
    modules = {name: item for name, item in present.items() if isinstance(item, torch.nn.Module)}
    others = set(state_names) - set(modules) if optimizers else set()
    wanted = [*modules, *sorted(others), VARIABLES]
    if missing := [name for name in wanted if f"{name}.pth" not in members]:
        raise RunError(f"{where} is damaged, or of another algorithm: it has no member {missing[0]}.pth.")
    most = 4 * len(_tensors(model)) + len(variable_names)
    loaded = {name: parse_tensors(members[f"{name}.pth"], f"{where}, {name}.pth", most) for name in wanted}
    variables = loaded.pop(VARIABLES)
    _same_names(variables, variable_names, f"{where}, {VARIABLES}")

    for name, module in modules.items():
        _check_tensors(loaded[name], module.state_dict(), f"{where}, {name}")
    _check_tensors(variables, {name: present[name] for name in variable_names}, f"{where}, {VARIABLES}")
    moments = {name: _checked_moments(loaded[name], present[name], f"{where}, {name}") for name in others}

    for name, module in modules.items():
        module.load_state_dict(loaded[name])
    for name in variable_names:
        present[name].data.copy_(variables[name].data)
    for name, state in moments.items():
        present[name].load_state_dict(state)
    _after_copying(model)


def _is_module(model: BaseAlgorithm, name: str) -> bool:
    return isinstance(recursive_getattr(model, name), torch.nn.Module)


def _tensors(model: BaseAlgorithm) -> list[torch.Tensor]:
    """Return all tensors of a model's networks."""
    names = [name for name in model._get_torch_save_params()[0] if _is_module(model, name)]
    return [tensor for name in names for tensor in recursive_getattr(model, name).state_dict().values()]


@contextmanager
def no_more_weights_than(size: int) -> Iterator[None]:
    """Let networks be built of `size` bytes together; raise `RunError` for larger ones before their memory is touched.

    What a file asks to be built is so no larger than what it brings along.
    """
    left = size

    def count(module: torch.nn.Module, name: str, parameter: torch.nn.Parameter | None) -> None:
        nonlocal left
        left -= 256 + (0 if parameter is None else parameter.nbytes)
        if left < 0:
            raise RunError(f"it describes networks of more than {size:,} bytes, and there are not so many weights.")

    handle = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def _after_copying(model: BaseAlgorithm) -> None:
    """Bring up to date what an algorithm derives from its policy's weights."""
    from sb3_contrib import ARS

    if isinstance(model, ARS):  # it trains a flat copy of them
        model.weights = torch.nn.utils.parameters_to_vector(model.policy.parameters()).detach()  # type: ignore[assignment]
    if model.use_sde:
        model.policy.reset_noise()  # type: ignore[operator]


def parse_tensors(data: bytes, where: str, most: int) -> Any:
    """Return what `torch.save` wrote: plain containers of `most` tensors at most; raise `RunError` otherwise."""
    stream = io.BytesIO(data)
    try:
        with zipfile.ZipFile(stream) as archive:
            members = checked_members(stream, archive, where, most + _SIDE_MEMBERS)
            scripts = [member for member in members if member.filename.endswith("/data.pkl")]
            if len(scripts) != 1 or scripts[0].file_size > _SCRIPT_BYTES * (most + 10):
                raise RunError(f"{where} is refused: it is not what torch saves.")
            _refuse_globals(archive.read(scripts[0]), where)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except RunError:
        raise
    except Exception as error:  # the reader of a damaged file fails in many ways
        raise RunError(f"{where} is refused: {error}") from error


def _refuse_globals(script: bytes, where: str) -> None:
    """Raise `RunError` if a saved object names more than tensors need; torch allows some more, sizes unseen."""
    for code, argument, _ in pickletools.genops(script):
        if code.name == "STACK_GLOBAL" or (code.name in ("GLOBAL", "INST") and argument not in _GLOBALS):
            raise RunError(f"{where} is refused: it names {str(argument)[:80]}, which is no part of a tensor.")


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
    state: Any = loaded.get("state") if isinstance(loaded, Mapping) else None
    known = isinstance(state, Mapping) and set(state) <= set(range(len(parameters)))
    if not known or not all(isinstance(moments, Mapping) for moments in state.values()):
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
