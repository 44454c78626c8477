"""Hyperparameters of deep Q-learning."""

from pydantic import Field

from armature import OffPolicySettings, Schedule


class DQNSettings(OffPolicySettings):
    """An update each four steps, from all that was ever seen."""

    learning_rate: float = 1e-3
    learning_rate_schedule: Schedule = "constant"
    gamma: float = 0.95
    batch_size: int = 256
    buffer_size: int = 300_000
    steps_per_update: float = 4.0
    tau: float = 0.01

    exploration_initial_eps: float = 1.0
    """Share of random actions at the start."""
    exploration_final_eps: float = 0.05
    """Share of random actions once exploration is over."""
    exploration_fraction: float = Field(0.3, gt=0)
    """Part of the training over which the first share falls to the last."""
    max_grad_norm: float = 10.0
    """Length that the gradient is cut to."""
