"""Arrays in files, read without unpickling, and without believing what a file says of itself."""

from __future__ import annotations

import io
import math
import tokenize
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from armature.archives import DAMAGE, read_members
from armature.errors import RunError
from armature.plain_files import open_plain

Arrays = dict[str, np.ndarray]

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
_DAMAGE = (*DAMAGE, TypeError, SyntaxError, tokenize.TokenError, MemoryError, RecursionError)
"""What reading a damaged header can raise: it is a Python literal."""


def read_arrays(path: Path, expected: Mapping[str, np.ndarray]) -> Arrays:
    """Read an npz file that must hold exactly these names, shapes and types.

    Args:
        path: the file.
        expected: for each name an array of its shape and type. The arrays that are returned cannot be written to.

    Raises:
        RunError: it holds something else, or is damaged.
    """
    with open_plain(path) as file:
        return expected_arrays(read_members(file, str(path)), expected, str(path))


def expected_arrays(members: Mapping[str, bytes], expected: Mapping[str, np.ndarray], where: str) -> Arrays:
    """Return the arrays of the members of an npz file; raise `RunError` unless they are as `read_arrays` wants them."""
    names = {f"{name}.npy" for name in expected}
    if odd := sorted(names ^ members.keys()):
        raise RunError(f"{where} is refused: {odd[0][:80]!r} {'is missing' if odd[0] in names else 'is unknown'}.")
    found = {name: parse_array(members[f"{name}.npy"], f"{where}: {name}") for name in expected}
    for name, like in expected.items():
        _require(found[name].shape, found[name].dtype, like.shape, like.dtype, f"{where}: {name}")
    return found


def read_any_arrays(path: Path) -> Arrays:
    """Read an npz file whose content only its owner can judge; raise `RunError` if it is damaged."""
    with open_plain(path) as file:
        members = read_members(file, str(path))
    if odd := [name for name in members if not name.endswith(".npy")]:
        raise RunError(f"{path} is refused: {odd[0][:80]!r} is no array.")
    return {name.removesuffix(".npy"): parse_array(data, f"{path}: {name}").copy() for name, data in members.items()}


def parse_array(data: bytes, where: str) -> np.ndarray:
    """Return what an npy file holds, as an array that cannot be written to; raise `RunError` if it is damaged.

    Args:
        data: the file.
        where: its name, for messages.
    """
    stream = io.BytesIO(data)
    shape, fortran_order, dtype = _read_header(stream, where)
    _require_size(stream, shape, dtype, where)
    values = (
        np.frombuffer(data, dtype, math.prod(shape), stream.tell()) if len(data) > stream.tell() else np.empty(0, dtype)
    )
    try:
        return values.reshape(shape, order="F" if fortran_order else "C")
    except _DAMAGE as error:  # more dimensions than there can be
        raise RunError(f"{where} is damaged: {error}.") from error


def _read_header(stream: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        shape, fortran_order, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
    except _DAMAGE as error:
        raise RunError(f"{where} is damaged: {error}.") from error
    if dtype.hasobject:
        raise RunError(f"{where} is refused: it holds Python objects, which only unpickling could read.")
    return shape, fortran_order, dtype


def _require_size(stream: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> None:
    """Raise `RunError` unless the rest of a file is as large as its header says; the place in it stays the same."""
    begin = stream.tell()
    size, promised = stream.seek(0, 2) - begin, math.prod(shape) * dtype.itemsize
    stream.seek(begin)
    if size != promised:
        raise RunError(f"{where} is damaged: its header promises {promised:,} bytes, and {size:,} are there.")


def _require(
    shape: tuple[int, ...], dtype: np.dtype[Any], wanted_shape: tuple[int, ...], wanted: np.dtype[Any], where: str
) -> None:
    if shape != wanted_shape or dtype != wanted:
        raise RunError(f"{where} is {shape} {dtype}, and this model needs {wanted_shape} {wanted}.")
