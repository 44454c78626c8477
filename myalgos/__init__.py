"""Our own algorithms. This package is loaded exactly as a stranger's plugin is: importing it registers rows."""

from armature.combos import Combo, register

register(
    "myalgo",
    "pytorch",
    Combo(
        "armature.myalgos.myalgo:REDQ",
        kwargs={
            **{"learning_rate": 1e-3, "gamma": 0.95, "batch_size": 256, "buffer_size": 300_000, "learning_starts": 1000},
            **{"gradient_steps": 4, "policy_kwargs": {"net_arch": [128, 128]}},
        },
        actions="box",
        hindsight=True,
        package="armature",
    ),
)
