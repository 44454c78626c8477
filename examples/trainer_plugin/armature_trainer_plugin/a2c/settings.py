"""Hyperparameters of the advantage actor-critic."""

from armature import OnPolicySettings, Schedule


class A2CSettings(OnPolicySettings):
    """A small buffer, seen once: many small updates with the policy that made the data."""

    buffer_size: int = 128
    batch_size: int = 128
    n_epochs: int = 1
    learning_rate: float = 2e-3
    gamma: float = 0.95

    ent_coef: float = 0.0
    """Weight of the policy's entropy, which keeps it from settling too early."""
    ent_coef_schedule: Schedule = "linear"
    """`linear` lowers that weight to nothing over the training; `constant` keeps it."""
    vf_coef: float = 0.5
    """Weight of the critic's loss."""
    max_grad_norm: float = 0.5
    """Length that the gradient is cut to."""
