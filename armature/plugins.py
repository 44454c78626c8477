"""Plugins: modules and files whose import registers algorithms, robots, tasks or environments."""

from __future__ import annotations

import traceback
from collections.abc import Iterable

from armature.errors import ArmatureError, PluginError
from armature.registry import import_file, import_name

OWN = ("armature.envs", "armature.myalgos")
"""What Armature brings itself, loaded in the same way as anybody's plugin."""


def load_plugins(names: Iterable[str] = ()) -> None:
    """Import our own registrations, then each named module (`"my_package"`) or file (`"path/to/file.py"`).

    Raises `PluginError` with the plugin's own traceback if its code fails.
    """
    for name in (*OWN, *names):
        try:
            import_file(name) if name.endswith(".py") else import_name(name)
        except ArmatureError:
            raise
        except Exception as error:  # whatever a stranger's module raises belongs to its author, with its traceback
            raise PluginError(f"plugin {name!r} failed to load:\n{traceback.format_exc()}") from error
