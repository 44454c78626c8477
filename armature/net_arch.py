"""The grammar of `net_arch`: what may be written, and what it means.

| written | for | network |
| --- | --- | --- |
| `[64, 64]` | any policy | as in SB3: two separate networks of two layers; in the Shared policies: two shared layers |
| `{"pi": [64], "vf": [64, 64]}` | on-policy | separate networks of their own sizes |
| `{"pi": [64], "qf": [64, 64]}` | off-policy, actor and critic | the same |
| `[64, {"pi": [16], "vf": [32]}]` | Shared policies | a shared layer, then a branch of its own for each head |
| `[8, "lstm", 16, {"vf": [8]}]` | Shared Lstm policies | a layer, an LSTM, a layer: shared; then the value's branch |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from armature.errors import ConfigError
from armature.schema import short

LSTM = "lstm"
PLACE = "policy_kwargs.net_arch"
"""Where a list stands in a configuration, for messages."""
MAX_SIZE = 100_000
"""Units of a layer; keeps a slip from filling the memory."""
_FORM = '[SHARED LAYERS..., {"pi": [LAYERS], "vf": [LAYERS]}]'


@dataclass(frozen=True)
class SharedArch:
    """Sizes of layers that a policy and its value function share, and of the branches after them."""

    shared: tuple[int, ...] = ()
    """Shared layers; in a recurrent network those after the LSTM."""
    pi: tuple[int, ...] = ()
    vf: tuple[int, ...] = ()
    before: tuple[int, ...] | None = None
    """Shared layers before the LSTM; None if there is no LSTM."""


def is_mixed(net_arch: Any) -> bool:
    """Return whether a list says more than sizes, and so can only mean shared layers."""
    return isinstance(net_arch, list) and any(isinstance(item, Mapping) or item == LSTM for item in net_arch)


def check_separate(net_arch: Any, keys: Sequence[str]) -> None:
    """Raise `ConfigError` unless it is SB3's form: a list of sizes, or a dict of lists under these keys."""
    if isinstance(net_arch, Mapping):
        check_branches(PLACE, net_arch, keys)
        if "qf" in keys and len(net_arch) < len(keys):  # SB3 takes a missing "pi" or "vf" for an empty list
            raise ConfigError(f"{PLACE} is {short(dict(net_arch))}; it needs lists for both {' and '.join(keys)}.")
        return
    if not isinstance(net_arch, (list, tuple)):
        branches = ", ".join(f'"{key}": [SIZES]' for key in keys)
        raise ConfigError(f"{PLACE} is {short(net_arch)}; allowed: [SIZES] or {{{branches}}}.")
    for index, size in enumerate(net_arch):
        check_size(f"{PLACE}.{index}", size)


def parse_shared(net_arch: Any, recurrent: bool = False) -> SharedArch:
    """Read the form with shared layers; raise `ConfigError` with the place of what is wrong in it."""
    if not isinstance(net_arch, (list, tuple, Mapping)):
        raise ConfigError(f"{PLACE} is {short(net_arch)}; allowed: {_FORM}.")
    items = [net_arch] if isinstance(net_arch, Mapping) else list(net_arch)
    end = next((index for index, item in enumerate(items) if isinstance(item, Mapping)), len(items))
    for index, item in enumerate(items[end + 1 :], end + 1):
        what = "a second dict" if isinstance(item, Mapping) else "after the dict of branches"
        raise ConfigError(f"{PLACE}.{index} is {short(item)}, {what}; the dict ends the list: {_FORM}.")
    shared: list[Any] = items[:end]
    branches: Mapping[str, Any] = dict(*items[end:])
    cut = _place_of_lstm(shared, recurrent)
    for index, size in enumerate(shared):
        if index != cut:
            check_size(f"{PLACE}.{index}", size)
    check_branches(f"{PLACE}.{end}", branches, ("pi", "vf"))
    before, after = (None, shared) if cut is None else (tuple(shared[:cut]), shared[cut + 1 :])
    return SharedArch(tuple(after), tuple(branches.get("pi", ())), tuple(branches.get("vf", ())), before)


def _place_of_lstm(shared: Sequence[Any], recurrent: bool) -> int | None:
    places = [index for index, item in enumerate(shared) if item == LSTM]
    if recurrent and not places:
        raise ConfigError(
            f'{PLACE} has no "{LSTM}" among its shared layers; a recurrent policy needs one: [8, "lstm"].'
        )
    if recurrent and len(places) > 1:
        raise ConfigError(f'{PLACE}.{places[1]} is a second "{LSTM}"; allowed: one.')
    if places and not recurrent:
        raise ConfigError(
            f'{PLACE}.{places[0]} is "{LSTM}", and only recurrent algorithms have one: remove it, '
            "or set algo to ppo_lstm."
        )
    return places[0] if places else None


def check_branches(place: str, branches: Any, keys: Sequence[str]) -> None:
    """Raise `ConfigError` unless a dict holds lists of sizes under some of these keys."""
    for key, sizes in branches.items():
        if key not in keys:
            raise ConfigError(f"{place}.{key}: unknown branch; allowed: {', '.join(keys)}.")
        if not isinstance(sizes, (list, tuple)):
            raise ConfigError(f"{place}.{key} is {short(sizes)}; allowed: a list of sizes of layers.")
        for index, size in enumerate(sizes):
            check_size(f"{place}.{key}.{index}", size)


def check_size(place: str, size: Any) -> None:
    """Raise `ConfigError` for what is no size of a layer."""
    if size == LSTM:
        raise ConfigError(f'{place} is "{LSTM}", inside a branch; the LSTM is shared: write it before the dict.')
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
        raise ConfigError(
            f"{place} is {short(size)}; allowed: the size of a layer, a whole number from 1 to {MAX_SIZE:,}."
        )
