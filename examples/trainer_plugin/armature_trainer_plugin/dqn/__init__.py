"""Deep Q-learning."""

from armature_trainer_plugin.dqn.settings import DQNSettings
from armature_trainer_plugin.dqn.trainer import DQNTrainer


def get_type_and_setting() -> tuple[dict[str, type[DQNTrainer]], dict[str, type[DQNSettings]]]:
    """Return what the entry point stands for."""
    return {DQNTrainer.get_trainer_name(): DQNTrainer}, {DQNTrainer.get_trainer_name(): DQNSettings}
