"""The statistics of a pickled VecNormalize as arrays. `armature.import_model` runs this file as a process of its own.

The only place where something is unpickled, and only at a user's explicit word. What the pickle may name is listed,
pair by pair; of Stable-Baselines3 and Gymnasium it gets empty records in place of classes, so that none of their code
runs either. The process is given little memory and little time.
"""

from __future__ import annotations

import math
import pickle
import resource
import sys
from typing import Any

import numpy as np

MOST_MEMORY, MOST_SECONDS, LARGEST_FILE = 4 << 30, 20, 64 << 20
EPSILON, CLIP = 1e-4, 10.0
"""What our own normalisation adds to a variance, and where it clips."""


class Record:
    """Takes the place of an object: keeps what its pickle says of it."""

    def __init__(self, *args: Any) -> None:
        """Take whatever it is made with, and forget it."""

    def __setstate__(self, state: Any) -> None:
        """Keep attributes, and nothing else."""
        if isinstance(state, dict):
            vars(self).update(state)


_MAKERS: list[Any] = [np.zeros(1).__reduce__()[0], np.float64(0).__reduce__()[0]]
_NUMPY = {(f"numpy.{core}.multiarray", maker.__name__): maker for core in ("core", "_core") for maker in _MAKERS}
ALLOWED: dict[tuple[str, str], Any] = {
    **_NUMPY,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): dict,
    ("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize"): Record,
    ("stable_baselines3.common.running_mean_std", "RunningMeanStd"): Record,
    ("gymnasium.spaces.box", "Box"): Record,
    ("gymnasium.spaces.dict", "Dict"): Record,
    ("gymnasium.spaces.discrete", "Discrete"): Record,
    ("numpy.random._pickle", "__generator_ctor"): Record,
    ("numpy.random._pickle", "__bit_generator_ctor"): Record,
    ("numpy.random._pcg64", "PCG64"): Record,
    ("numpy.random.bit_generator", "SeedSequence"): Record,
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"): Record,
}
"""What a pickle may name, and what it gets."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which no statistics need")
        return ALLOWED[module, name]


def statistics(env: Any) -> dict[str, np.ndarray]:
    """Return the moments of a VecNormalize's record, named as in our own files; raise `ValueError` if it has none.

    Its epsilon may differ from ours; the variances make up for that, and may be below zero by less than our epsilon.
    """
    if not env.norm_obs or env.clip_obs != CLIP:
        raise ValueError(f"only observations that are normalised and clipped at {CLIP:g} can be imported")
    by_key = env.obs_rms if isinstance(env.obs_rms, dict) else {"": env.obs_rms}
    found = {f"observation:{key}": moments for key, moments in by_key.items()} | {"returns": env.ret_rms}
    arrays = {}
    for name, moments in found.items():
        shift = 0.0 if name == "returns" else float(env.epsilon) - EPSILON
        arrays[f"{name}.mean"] = np.asarray(moments.mean, np.float64)
        arrays[f"{name}.var"] = np.asarray(moments.var, np.float64) + shift
        arrays[f"{name}.count"] = np.asarray(float(moments.count))
    return arrays


def main() -> None:
    """Read the pickle that the command line names first, and write the arrays to the second file."""
    source, target = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS, MOST_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    with open(source, "rb") as file:
        env = _Unpickler(file).load()
    arrays = statistics(env)
    if not all(math.isfinite(array.sum()) for array in arrays.values()):
        raise ValueError("its statistics are not finite")
    np.savez(target, **arrays)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
