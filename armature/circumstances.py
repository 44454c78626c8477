"""What the last bits of a run depend on besides its configuration: versions, threads, processor."""

from __future__ import annotations

import logging
import platform
from pathlib import Path
from typing import Any

from armature.checkpoints import read_json
from armature.config import Config
from armature.errors import RunError
from armature.runs import changed_plugins, versions

log = logging.getLogger(__name__)


def circumstances(config: Config) -> dict[str, Any]:
    """Return by name what must be the same for a resumed run to be exact."""
    import torch

    return {
        **versions(),
        "processor": processor(),
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "torch_threads": config.torch_threads or 1,
        "device": config.device,
    }


def processor() -> str:
    """Return the name of the processor."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text(encoding="utf-8").splitlines() if facts.is_file() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def refuse_other_circumstances(run: Path, config: Config) -> None:
    """Raise `RunError` with the list of differences if a resumed run could not be exact.

    Args:
        run: the run folder, whose run.json tells of the session before.
        config: what it is resumed with.
    """
    try:
        info = read_json(run / "run.json")
        before = dict([info, *info.get("resumed", [])][-1]["circumstances"])
    except (RunError, KeyError, TypeError, ValueError, AttributeError) as error:
        log.warning("whether this resume can be exact is not known: %s tells no circumstances (%s)", run, error)
        return
    now = circumstances(config)
    differences = [
        f"{name} was {before.get(name)} and is {now.get(name)}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    differences += [f"{plugin} has changed" for plugin in changed_plugins(run, config)]
    if differences:
        raise RunError(
            f"{run} would not go on exactly as it began: {'; '.join(differences)}. Resume it where these are the same, "
            "or add --allow-inexact: what comes of it is sound, and not what an uninterrupted run gives."
        )
