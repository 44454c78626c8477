"""The command line of train.py: one flag for every key of the configuration, and a few that are no keys.

    args = parse_train_args(["--config", "configs/reach.json", "--seed=3", "--algo_kwargs.batch_size=512"])
    config = Config.load(args.config_path, args.flags)

`Parser` and `exit_with_status` serve test.py as well.
"""

from __future__ import annotations

import argparse
import errno
import functools
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any, NoReturn

from armature import jsonc, schema
from armature.config import Config
from armature.errors import ArmatureError, ConfigError, closest
from armature.old_keys import answer

_SPELLINGS = {"algo": ("--agent", "--trainer_type")}
"""Other spellings of a key's flag: what people who come with an agent or a trainer of their own look for."""
_METAVARS = {
    **{"integer": "N", "number": "X", "boolean": "true|false"},
    **{"string": "TEXT", "array": "LIST", "object": "JSON"},
}


_DISK = {
    number
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO")
    if (number := getattr(errno, name, None)) is not None
}
"""What goes wrong with disks that are full, failing, or not for us to write to."""


@dataclass(frozen=True)
class TrainArgs:
    """What the command line of train.py asks for."""

    config_path: str | None = None
    """A file or the name of a shipped configuration."""
    flags: dict[str, Any] = field(default_factory=dict)
    """Values by dotted key."""
    list_algos: bool = False
    describe_algo: str | None = None
    check_plugin: str | None = None
    """Name or address of an algorithm to try out."""
    describe_robot: str | None = None
    """URDF or SDF to describe."""
    create_config: str | None = None
    """File to write."""
    dry_run: bool = False
    resume: str | None = None
    """Run folder to go on with."""
    json: bool = False
    allow_inexact: bool = False
    """Whether a run may be resumed under other circumstances."""
    allow_import: tuple[str, ...] = ()
    """Modules and addresses that a run folder's configuration may import."""


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=min(120, shutil.get_terminal_size().columns - 2))


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are `ConfigError`s, with the closest match for an unknown flag."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=_HelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage."""
        flag = re.match(r"argument ([^ :]+): expected", message)
        raise ConfigError(f"{flag[1]} needs a value: write {flag[1]}=VALUE." if flag else f"{message}. See --help.")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; an argument that is left over is an error."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            flag = unknown[0].partition("=")[0]
            if not flag.startswith("-"):
                raise ConfigError(
                    f"unexpected argument {flag!r}. Flags begin with --; a file is given by --config {flag}"
                )
            if old := answer(flag):
                raise ConfigError(f"{flag} {old}")
            guess = closest(flag, self._option_string_actions)
            raise ConfigError(f"unknown flag {flag}{guess or '.'} See --help.")
        return parsed


def parse_train_args(argv: Sequence[str] | None = None) -> TrainArgs:
    """Read the command line of train.py; raise `ConfigError` for what makes no sense."""
    argv = sys.argv[1:] if argv is None else list(argv)
    given = vars(_train_parser(argv).parse_args(argv))
    special = {field.name: given.pop(field.name) for field in fields(TrainArgs) if field.name in given}
    args = TrainArgs(flags={name: _value(name, text) for name, text in given.items()}, **special)
    if args.resume is not None and args.config_path is not None:
        raise ConfigError(
            "--resume and --config exclude each other: a run goes on with its own configuration and flags."
        )
    if args.json and not (args.list_algos or args.describe_algo):
        raise ConfigError("--json changes what --list-algos and --describe-algo print: give it with one of them.")
    return args


def _train_parser(argv: Sequence[str]) -> Parser:
    parser = Parser(
        prog="train.py",
        usage="train.py [--config FILE] [--KEY=VALUE ...]",
        description="Train a robot. Every key of the configuration is a flag; flags win over the file.",
        epilog="Keys within an object take dots: --algo_kwargs.batch_size=512 --policy_kwargs.net_arch=[64,64]",
        argument_default=argparse.SUPPRESS,
    )
    group = parser.add_argument_group("what to do (default: train)")
    group.add_argument(
        "--config", dest="config_path", metavar="FILE", help="train this configuration; shipped ones by name"
    )
    group.add_argument("--resume", metavar="RUN", help="go on with a run, given its folder")
    group.add_argument(
        "--allow-inexact",
        action="store_true",
        help="resume although versions, threads or processor are others than before",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="check everything; print each key and where it comes from"
    )
    group.add_argument("--list-algos", action="store_true", help="print the table of algorithms")
    group.add_argument("--json", action="store_true", help="print that table as JSON, or an algorithm's JSON Schema")
    group.add_argument("--describe-algo", metavar="NAME", help="print every hyperparameter of an algorithm")
    group.add_argument("--check-plugin", metavar="NAME", help="try an algorithm of your own out, and say what to mend")
    group.add_argument("--describe-robot", metavar="URDF", help="print joints, links and a description to start from")
    group.add_argument("--create-config", metavar="FILE", help="write a complete, commented configuration")
    group.add_argument(
        "--allow-import",
        action="append",
        metavar="ADDRESS",
        help="let a run folder import this module or class; may be repeated",
    )
    _add_keys(parser, argv)
    return parser


def _add_keys(parser: Parser, argv: Sequence[str]) -> None:
    """Add a flag for every key, and for the dotted names below free-form keys that `argv` uses."""
    keys = schema.keys(Config)
    for section, members in groupby(keys.values(), key=lambda key: key.section):
        group = parser.add_argument_group(section)
        for key in members:
            text = f"{key.meaning} ({key.allowed}; default: {schema.short(key.default)})"
            group.add_argument(
                *_SPELLINGS.get(key.name, ()),
                f"--{key.name}",
                dest=key.name,
                metavar=_METAVARS[_kind(key.name)],
                help=text.replace("%", "%%"),
            )
    for flag in dict.fromkeys(word.partition("=")[0] for word in argv):
        head, *below = flag.removeprefix("--").split(".")
        if flag.startswith("--") and all(below) and below and _kind(head) == "object":
            parser.add_argument(flag, dest=flag.removeprefix("--"), help=argparse.SUPPRESS)


def _kind(name: str) -> str:
    """Return the JSON type of a key, leaving null aside."""
    key = schema.keys(Config).get(name)
    options = key.schema.get("anyOf", [key.schema]) if key else [{}]
    return str(options[0].get("type", ""))


def _value(name: str, text: str) -> Any:
    """Return a flag's text as what its key takes; what fits nowhere stays text, for `Config` to refuse."""
    if _kind(name) == "string":
        nullable = "anyOf" in schema.keys(Config)[name].schema
        return None if nullable and text == "null" else text
    try:
        return jsonc.parse_value(text)
    except ValueError as error:
        if text.lstrip().startswith(("[", "{", '"')):
            raise ConfigError(f"--{name} is {schema.short(text)}, which is no JSON: {error}.") from None
        return text


def exit_with_status(command: Callable[..., int | None]) -> Callable[..., int]:
    """Make a `main` return its exit status, and print an `ArmatureError` as one message in place of a traceback."""

    @functools.wraps(command)
    def main(argv: Sequence[str] | None = None) -> int:
        try:
            status = command(argv)
            sys.stdout.flush()
            return status or 0
        except ArmatureError as error:
            print(f"error: {error}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            print("stopped at once; what was saved before is whole", file=sys.stderr)
            return 130
        except BrokenPipeError:
            # Whoever read our output has gone; Python would complain again when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            if error.errno not in _DISK:
                raise
            print(
                f"error: cannot write {error.filename or 'a file'}: {error.strerror}. What was saved before is whole; "
                "when that is mended, train.py --resume RUN goes on.",
                file=sys.stderr,
            )
            return 1

    return main
