"""Which policy fits an observation space."""

from __future__ import annotations

from typing import Any

from gymnasium import spaces

from armature.combos import Combo
from armature.errors import ConfigError


def choose_policy(observation_space: spaces.Space[Any], combo: Combo) -> str:
    """Return the name of the policy for these observations: Mlp, MultiInput (a dict) or Cnn (an image).

    Recurrent rows get the Lstm form. Raises `ConfigError` if the row's class accepts no dict observations.
    """
    # SB3 imports torch, and this module is imported for its one function's sake by light code as well.
    from stable_baselines3.common.preprocessing import is_image_space

    if isinstance(observation_space, spaces.Dict):
        if not combo.dict_observations:
            raise ConfigError(
                f"{combo.algo_class} accepts no dict observations, and this environment's have the keys "
                f"{', '.join(observation_space)}. Set observation.form to 'flat', or choose another algo."
            )
        kind = "MultiInput"
    else:
        kind = "Cnn" if is_image_space(observation_space) else "Mlp"
    return f"{kind}{'Lstm' if combo.recurrent else ''}Policy"
