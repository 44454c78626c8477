"""Train a robot: read a JSON config, build what it names, learn, save to a run folder.

    python train.py                                     # the default run: a Panda learns to reach
    python train.py --config configs/push.json          # a file; configs/ are also found by name
    python train.py --algo=ppo --algo_kwargs.n_steps=64 # every key of a config is a flag, and flags win
    python train.py --resume trained_models/panda_reach_sac_1

A run writes, in `<logdir>/<run_name>`: config.json, run.json, metrics.csv, monitor.csv, evaluations.csv, summary.json,
checkpoints/, best/, final/, plots/, tensorboard/ and, on request, videos/. Ctrl-C and SIGTERM save and stop.

Exit status: 0 done, 2 bad input, 3 run folder in use, 130 and 143 interrupted after saving, 1 anything else.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armature.checks import refuse_foreign_imports
from armature.cli import TrainArgs, exit_with_status, parse_train_args
from armature.combos import implemented_combos
from armature.config import Config
from armature.describe import create_config, describe_algo, describe_config, list_algos, write_new
from armature.plugins import load_plugins
from armature.runs import find_run, new_run, run_lock, write_run_info, write_summary

if TYPE_CHECKING:  # torch and SB3 are imported when a run starts, not to print the help
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.vec_env import VecEnv

    from armature.callbacks import StopOnSignal
    from armature.evaluation import Evaluation

STARTED = time.monotonic()
"""When the process started, near enough; the wall time of a run counts from here, imports included."""


@exit_with_status
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    args = parse_train_args(argv)
    if args.resume:
        return resume(args)
    config = Config.load(args.config_path, args.flags)
    load_plugins(config.plugins)
    if args.list_algos:
        print(list_algos(as_json=args.json))
    elif args.describe_algo:
        print(describe_algo(args.describe_algo, config.train_framework))
    elif args.create_config:
        config.check()
        write_new(args.create_config, create_config(config))
        print(f"Wrote {args.create_config}. Train it with: python train.py --config {args.create_config}")
    elif args.dry_run:
        config.check()
        print(describe_config(config))
    else:
        return train(config)[1]
    return 0
