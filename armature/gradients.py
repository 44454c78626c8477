"""Gradients that are not finite never reach the weights."""

from __future__ import annotations

import logging
from typing import Any, Literal

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.save_util import recursive_getattr

from armature.errors import DivergedError

log = logging.getLogger(__name__)


def guard_gradients(model: BaseAlgorithm, on_nan: Literal["stop", "skip"]) -> None:
    """Look at the gradients before every step of a model's torch optimizers.

    Args:
        model: any model; of one that keeps its optimizers to itself nothing is known.
        on_nan: what happens when one is NaN or infinite: `stop` raises `DivergedError`, `skip` leaves the step out.
    """

    def look(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        gradients = [item.grad for group in optimizer.param_groups for item in group["params"] if item.grad is not None]
        if not gradients or torch.isfinite(torch.nn.utils.get_total_norm(gradients)):
            return
        if on_nan == "stop":
            raise DivergedError(f"the gradient of {names[optimizer]} is not finite", model.num_timesteps)
        log.warning("an update of %s was left out: its gradient is not finite", names[optimizer])
        optimizer.zero_grad()  # what has no gradient is not stepped

    paths = [] if hasattr(model, "load_file") else model._get_torch_save_params()[0]
    found = {path: recursive_getattr(model, path) for path in paths}
    names = {item: path for path, item in found.items() if isinstance(item, torch.optim.Optimizer)}
    for optimizer in names:
        optimizer.register_step_pre_hook(look)
