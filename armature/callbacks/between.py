"""What happens between two rollouts, where everything that was collected has been learned from."""

from __future__ import annotations

from abc import abstractmethod

from stable_baselines3.common.callbacks import BaseCallback


class BetweenRollouts(BaseCallback):
    """Does something before each rollout; after each step with an algorithm that tells of no rollouts."""

    def __init__(self) -> None:
        super().__init__()
        self._rollouts_told = False
        self.under_way = False
        """Whether a rollout is under way."""

    @abstractmethod
    def between(self) -> None:
        """Do it."""

    def _on_rollout_start(self) -> None:
        self._rollouts_told, self.under_way = True, False
        self.between()

    def _on_step(self) -> bool:
        self.under_way = self._rollouts_told
        if not self._rollouts_told:
            self.between()
        return True

    def _on_training_end(self) -> None:
        self.under_way = self.under_way and not self.finished

    @property
    def finished(self) -> bool:
        """Whether the training has all its steps."""
        return self.model.num_timesteps >= self.model._total_timesteps
