"""Names that stand for code: tables that explain a missing name, and addresses such as `"package.module:Class"`."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import re
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from armature.errors import PluginError, UnknownNameError

Value = TypeVar("Value")


class Table(dict[str, Value]):
    """A dict from names to rows whose missing keys raise `UnknownNameError` with the closest match."""

    def __init__(self, kind: str, remedy: str = "") -> None:
        super().__init__()
        self.kind, self.remedy = kind, remedy

    def __missing__(self, name: str) -> Value:
        raise UnknownNameError(self.kind, name, self, self.remedy)


class Described(Table[Value]):
    """A table of data whose rows people may also write as a JSON file: `"workspace": "path/place.json"`."""

    def __init__(self, kind: str, reader: str) -> None:
        super().__init__(kind, f"Or the path of a .json file that describes a {kind} of your own.")
        self.reader = reader
        """Address of the function that reads such a file."""

    def find(self, name: str) -> Any:
        """Return what a name stands for, or what a .json file describes."""
        return resolve(self.reader)(Path(name)) if name.endswith(".json") else resolve(self[name])


registrant: ContextVar[str] = ContextVar("registrant", default="this process")
"""Who is registering: the plugin that is being imported."""

robots: Described[Any] = Described("robot", "armature.envs.robots.file:read_robot")
"""Robots by name; a row is a class or its address. Filled by `armature.envs` and by plugins."""
workspaces: Described[Any] = Described("workspace", "armature.envs.workspaces.base:read")
"""Workspaces by name."""
tasks: Table[Any] = Table("task_type")
"""Tasks by name."""
robot_actions: Table[Any] = Table("robot_action")
"""Action modes by name."""
quantities: Table[Any] = Table("quantity of randomize")
"""What the key `randomize` can draw for every episode, by name; a row is a `Quantity` or its address."""


ROBOT_DESCRIBER = "armature.envs.robots.describe:describe_robot"
"""What writes a first description of a URDF."""


ADDRESS = re.compile(r"(.+\.py|[^\W\d][\w.]*):[^\W\d]\w*(\.[^\W\d]\w*)*", re.DOTALL)
"""The form of an address. What has another form is never imported: whoever asks for consent goes by this form, too."""


def is_address(text: str) -> bool:
    """Return whether a text has the form of an address."""
    module, colon, name = text.rpartition(":")
    return bool(colon and module and name)


def resolve(address: Any) -> Any:
    """Return what an address names; anything that is not a string is returned as it is.

    Addresses are `"package.module:Name"` or `"path/to/file.py:Name"`; `Name` may be `Class.method`. The split is at the
    last colon, so that drive letters work. Raises `PluginError` if it is no address or the module cannot be imported,
    and `UnknownNameError` if that lacks the name.
    """
    if not isinstance(address, str):
        return address
    if not ADDRESS.fullmatch(address):
        raise PluginError(f"{address!r} is no address. Write 'package.module:Name' or 'path/to/file.py:Name'.")
    module_name, _, name = address.rpartition(":")
    module = import_file(module_name) if module_name.endswith(".py") else import_name(module_name)
    try:
        return functools.reduce(getattr, name.split("."), module)
    except AttributeError:
        public = [key for key in vars(module) if not key.startswith("_")]
        classes = [key for key in public if isinstance(vars(module)[key], type)]
        raise UnknownNameError(f"name in {module_name}", name, classes or public) from None


def import_name(name: str) -> Any:
    """Import a module by its dotted name; raise `PluginError` if it, or something it imports, is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        raise PluginError(f"cannot import {name!r}: no module named {missing!r}. Is it installed here?") from error


def import_file(path: str | Path) -> Any:
    """Import a Python file under a module name of its own, once; raise `PluginError` if it is not there."""
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise PluginError(f"no such plugin file: {path} (looked for {file}).")
    # The whole path is in the module's name: two files of the same base name stay two modules.
    name = "armature_file_" + "".join(char if char.isalnum() else "_" for char in str(file))
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise PluginError(f"{file} is not a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
    return sys.modules[name]
