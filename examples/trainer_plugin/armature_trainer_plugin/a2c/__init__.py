"""Advantage actor-critic."""

from armature_trainer_plugin.a2c.settings import A2CSettings
from armature_trainer_plugin.a2c.trainer import A2CTrainer


def get_type_and_setting() -> tuple[dict[str, type[A2CTrainer]], dict[str, type[A2CSettings]]]:
    """Return what the entry point stands for."""
    return {A2CTrainer.get_trainer_name(): A2CTrainer}, {A2CTrainer.get_trainer_name(): A2CSettings}
