"""The trainer of the advantage actor-critic: collecting, estimating and batching are all inherited."""

from armature import OnPolicyTrainer
from armature_trainer_plugin.a2c.optimizer import A2COptimizer
from armature_trainer_plugin.a2c.settings import A2CSettings


class A2CTrainer(OnPolicyTrainer):
    """Advantage actor-critic with generalised advantage estimates and Adam."""

    settings_class = A2CSettings

    @staticmethod
    def get_trainer_name() -> str:
        """Return the name in configurations."""
        return "plugin_a2c"

    def create_optimizer(self) -> A2COptimizer:
        """Return the optimizer of policy and critic."""
        return A2COptimizer(self.policy, self.settings)
