"""Plugins: modules and files whose import registers algorithms, robots, tasks or environments."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from armature.errors import ArmatureError, PluginError
from armature.registry import import_file, import_name, registrant

if TYPE_CHECKING:
    from armature.config import Config

OWN = ("armature.envs", "armature.myalgos")
"""What Armature brings itself, loaded in the same way as anybody's plugin."""


def load_extensions(config: Config) -> None:
    """Import what a configuration names: its plugins, and wherever its algorithm comes from.

    Raises `PluginError` or `ConfigError` with the reason if that cannot be had.
    """
    from armature.discovery import find_algo  # here, since most programs name neither entry point nor address

    load_plugins(config.plugins)
    find_algo(config.algo, config.train_framework)


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import our own registrations, then each named module (`"my_package"`) or file (`"path/to/file.py"`).

    Raises `PluginError` with the plugin's own traceback if its code fails.
    """
    for name in (*OWN, *names):
        with registering(name, f"plugin {name!r} failed to load"):
            import_file(name) if name.endswith(".py") else import_name(name)


@contextmanager
def plugin_faults(config: Config) -> Iterator[None]:
    """Turn an exception of an algorithm that is not ours into one message that names it, with its own traceback."""
    from armature.combos import implemented_combos
    from armature.doors import where

    try:
        yield
    except ArmatureError:
        raise
    except Exception as error:  # a stranger's code can raise anything; an error of our own rows is a bug and stays one
        row = implemented_combos[config.algo][config.train_framework]
        if row.source == "armature":
            raise
        raise PluginError(
            f"algo {config.algo!r}, {where(row.algo_class)}, raised {type(error).__name__}: {error}\n"
            f"{traceback.format_exc()}Mend it, and try it out with: python train.py --check-plugin {config.algo}"
        ) from error


@contextmanager
def registering(name: str, failure: str) -> Iterator[None]:
    """Let what is registered within be known as from `name`; turn a stranger's exception into a `PluginError`."""
    token = registrant.set(name)
    try:
        yield
    except ArmatureError:
        raise
    except Exception as error:  # whatever a stranger's module raises belongs to its author, with its traceback
        raise PluginError(f"{failure}:\n{traceback.format_exc()}") from error
    finally:
        registrant.reset(token)
