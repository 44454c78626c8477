"""Runs a tutorial as a reader does: every block of code, in the order shown, in a clean directory.

```python title="my_algo.py"      is written to that file; so is ```json title="cfg.json", and ```xml
```bash                           is run; `python` is this interpreter, train.py and test.py lie in the directory
```python                         is run as a script
```text                           is for the reader alone
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
BESIDE = ("train.py", "test.py", "examples", "configs")
"""What a reader in a checkout has beside him."""


class Block(NamedTuple):
    """A fenced block of code."""

    language: str
    title: str | None
    code: str


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    fence = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
    for language, title, code in fence.findall(page.read_text(encoding="utf-8")):
        yield Block(language, title or None, code)


def run_tutorial(page: Path, folder: Path) -> list[str]:
    """Run a page in an empty folder; return what each command printed. A command that fails fails the test."""
    for name in BESIDE:
        (folder / name).symlink_to(ROOT / name)
    outputs = []
    for block in blocks(page):
        if block.title:
            (folder / block.title).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.title).write_text(block.code, encoding="utf-8")
        elif block.language == "bash":
            outputs.append(_run(["bash", "-euo", "pipefail", "-c", block.code], folder))
        elif block.language == "python":
            outputs.append(_run([sys.executable, "-c", block.code], folder))
        else:
            assert block.language in ("text", "json", "xml"), f"{page} has a block of unknown kind {block.language!r}"
    return outputs


def _run(command: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
