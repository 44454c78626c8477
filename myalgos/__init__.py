"""Our own algorithms, but for the default, whose row is known before any plugin is: see `armature.combos`.

This package is loaded exactly as a stranger's plugin is: importing it registers rows.
"""

from armature.combos import Combo, register

_LEARNING = {"learning_rate": 1e-3, "gamma": 0.95, "batch_size": 256, "buffer_size": 300_000, "learning_starts": 1000}

register(
    "myalgo",
    "pytorch",
    Combo(
        "armature.myalgos.myalgo:REDQ",
        kwargs={
            **_LEARNING,
            "gradient_steps": 4,
            "ent_coef": "auto_0.02",
            "policy_kwargs": {"net_arch": [128, 128], "n_critics": 5},
        },
        actions="box",
        hindsight=True,
        package="armature",
    ),
)
register("random", "pytorch", Combo("armature.myalgos.random_agent:RandomAgent", package="armature"))
