"""Augmented random search (Mania et al. 2018, arXiv 1803.07055) as sb3-contrib has it, for runs that are resumed.

sb3-contrib's draws the directions that it tries before it tells of a rollout, and counts schedules over the steps that
are left. Here an interrupted run draws the same directions again, and schedules go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sb3_contrib
import torch


class ARS(sb3_contrib.ARS):
    """sb3-contrib's ARS, whose runs can be resumed exactly."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._drawn_from: torch.Tensor | None = None
        self._draw_again = False
        super().__init__(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_drawn_from", "_draw_again"]

    def get_state(self) -> dict[str, Any]:
        """Return the random state that the present directions were drawn from."""
        return {} if self._drawn_from is None else {"drawn_from": self._drawn_from.numpy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Draw the same directions again."""
        if "drawn_from" in state:
            self._drawn_from, self._draw_again = torch.from_numpy(np.array(state["drawn_from"])), True

    def _update_current_progress_remaining(self, num_timesteps: int, total_timesteps: int) -> None:
        super()._update_current_progress_remaining(num_timesteps, self._total_timesteps)

    def _do_one_update(self, callback: Any, async_eval: Any) -> None:
        if self._draw_again and self._drawn_from is not None:
            torch.set_rng_state(self._drawn_from)
        self._drawn_from, self._draw_again = torch.get_rng_state(), False
        super()._do_one_update(callback, async_eval)
