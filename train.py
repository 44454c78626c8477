"""Train a robot: read a JSON config, build what it names, learn, save to a run folder.

    python train.py                                       # the default run: a Panda learns to reach
    python train.py --config configs/push.json            # a file; shipped ones are found by name, too
    python train.py --algo=ppo --algo_kwargs.n_steps=64   # every key of a config is a flag, and flags win
    python train.py --resume trained_models/panda_reach_fast_sac_1

A run writes, in `<logdir>/<run_name>`: config.json, run.json, metrics.csv, monitor.csv, evaluations.csv, summary.json,
checkpoints/, best/, final/, plots/, tensorboard/ and, on request, videos/. Ctrl-C, SIGTERM and SIGUSR1 save and stop.

Exit status: 0 done, 2 bad input, 3 run folder in use, 130, 138 and 143 interrupted after saving, 1 anything else.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armature.algo_schema import algo_schema
from armature.argument_checks import check_arguments
from armature.checks import consent_flags, foreign_imports, refuse_foreign_imports
from armature.circumstances import circumstances, refuse_other_circumstances
from armature.cli import TrainArgs, exit_with_status, parse_train_args
from armature.combos import implemented_combos
from armature.config import Config
from armature.describe import create_config, describe_algo, describe_config, describe_network, list_algos, write_new
from armature.errors import ConfigError, PluginError, WorkerError
from armature.plugin_check import check_plugin
from armature.plugins import load_extensions, load_plugins, plugin_faults
from armature.registry import ROBOT_DESCRIBER, resolve
from armature.runs import (
    find_run,
    new_run,
    removal_explained,
    run_lock,
    write_fault,
    write_run_info,
    write_summary,
)

if TYPE_CHECKING:  # torch and SB3 are imported when a run starts, not to print the help
    from armature.callbacks.metrics import MetricsCallback
    from armature.callbacks.saving import CheckpointCallback


RESUMABLE = {
    *("steps", "log_freq", "eval_freq", "eval_episodes", "final_eval_episodes", "record"),
    *("checkpoint_freq", "checkpoint_minutes", "keep_checkpoints", "save_replay_buffer", "tensorboard"),
    *("num_workers", "worker_timeout", "worker_restarts", "on_nan"),
}
"""Keys that may change when a run is resumed; another value of any other would make it another run."""
INEXACT = {"num_envs", "torch_threads", "device"}
"""Keys that may change as well with `--allow-inexact`: what comes of the run is then another run's."""
FILMED_EPISODES = 3
"""Episodes of a video that `record` asks for."""


@exit_with_status
def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line asks for; return the exit status."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    args = parse_train_args(argv)
    if args.resume:
        return resume(args)
    if args.describe_robot:
        print(resolve(ROBOT_DESCRIBER)(args.describe_robot))
        return 0
    config = Config.load(args.config_path, args.flags)
    if args.list_algos:
        load_plugins(config.plugins)
        print(list_algos(as_json=args.json))
        return 0
    if named := args.describe_algo or args.check_plugin:
        config = config.model_copy(update={"algo": named})
    if args.check_plugin:
        return try_out(config)
    load_extensions(config)
    if args.describe_algo and args.json:
        print(algo_schema(config.algo, config.train_framework))
    elif args.describe_algo:
        print(describe_algo(config.algo, config.train_framework))
        print(describe_network(config))
    elif args.create_config:
        check(config)
        write_new(args.create_config, create_config(config))
        print(f"Wrote {args.create_config}. Train it with: python train.py --config {args.create_config}")
    elif args.dry_run:
        check(config)
        print(describe_config(config))
    else:
        check(config)
        return train(config)
    return 0


def try_out(config: Config) -> int:
    """Try an algorithm out, a line a step; return 0 if everything works."""
    use_threads(config)
    for step in check_plugin(config):
        print(step, flush=True)
    if step.ok:
        print(f"Train it with: python train.py --algo={config.algo}")
    return 0 if step.ok else PluginError.exit_status


def resume(args: TrainArgs) -> int:
    """Go on with a run in its own folder, from its newest sound checkpoint."""
    run = find_run(args.resume)
    allowed = RESUMABLE | (INEXACT if args.allow_inexact else set())
    if fixed := [flag for flag in args.flags if flag not in allowed]:
        remedy = " With --allow-inexact it can." if fixed[0] in INEXACT else ""
        raise ConfigError(
            f"--{fixed[0]} cannot change in a resumed run; these can: {', '.join(sorted(RESUMABLE))}.{remedy}"
        )
    config = Config.load(run / "config.json", args.flags)
    # The config of a run folder is data, perhaps a stranger's: it may name plugins, but the user must let them in.
    refuse_foreign_imports(config, args.allow_import)
    load_extensions(config)
    check(config)
    if not args.allow_inexact:
        refuse_other_circumstances(run, config)
    with run_lock(run):
        return train(config, run)


def check(config: Config) -> None:
    """Raise `ConfigError` for whatever can be told before anything is built."""
    config.check()
    check_arguments(config)


def train(config: Config, run: Path | None = None) -> int:
    """Train, in a new run folder or on in `run`; return the exit status: 0, or 128 + the signal that stopped it."""
    from stable_baselines3.common.callbacks import CallbackList

    from armature.banner import banner
    from armature.callbacks.metrics import MetricsCallback
    from armature.callbacks.progress import ProgressCallback
    from armature.callbacks.saving import CheckpointCallback, EvaluationCallback
    from armature.callbacks.stopping import StopOnSignal, StopTraining
    from armature.callbacks.witness import WitnessCallback
    from armature.gradients import guard_gradients
    from armature.making import make_model
    from armature.models import load_pretrained, save_model
    from armature.vec import make_vec_env, normalized
    from armature.weights import divergence_explained

    # -------------------------------------------------------------------------------------------- where it happens
    threads = use_threads(config)
    env = make_vec_env(config, "train", config.num_envs)
    env = normalized(env) if config.normalize else env
    eval_env = make_vec_env(config, "evaluation", min(config.eval_episodes, 10))

    # -------------------------------------------------------------------------------------------- who learns
    algo_class, policy, kwargs = implemented_combos[config.algo][config.train_framework]
    with plugin_faults(config):
        model = make_model(algo_class, policy, {**kwargs, **config.algo_kwargs}, env, config)
    if config.pretrained_model and run is None:
        load_pretrained(model, config.pretrained_model)

    # -------------------------------------------------------------------------------------------- what is kept
    resumed = run is not None
    run = run or new_run(config)
    with nullcontext() if resumed else run_lock(run), StopOnSignal() as stop, plugin_faults(config):
        metrics, evaluations = MetricsCallback(run, config), EvaluationCallback(run, config, eval_env, stop)
        checkpoints = CheckpointCallback(run, config, {"metrics": metrics, "evaluations": evaluations})
        progress, witness = ProgressCallback(config.steps, metrics, evaluations), WitnessCallback(run, checkpoints)
        callbacks = CallbackList([checkpoints, evaluations, metrics, progress, witness, stop])
        callbacks.init_callback(model)
        guard_gradients(model, config.on_nan)
        if resumed:
            restore(model, run, config, checkpoints)
        config.save(run / "config.json")
        write_run_info(run, config, circumstances(config))
        print(banner(config, run, model, threads), flush=True)

        # ---------------------------------------------------------------------------------------- learn
        due = config.steps - model.num_timesteps
        try:
            with divergence_explained(model):
                model.learn(
                    due,
                    callbacks,
                    log_interval=None,  # metrics.csv takes the place of SB3's own tables
                    reset_num_timesteps=False,
                )
        except StopTraining:
            callbacks.on_training_end()
        except WorkerError as error:
            checkpoints.save()
            if error.fault:
                write_fault(run, error.fault)
            raise
        if stop.signal_number is not None:
            if not checkpoints.under_way:
                checkpoints.save()
            print(f"\nStopped by a signal; saved until step {checkpoints.saved_at or 0:,}.")
            print(f"Go on with: python train.py --resume {run}")
            return stop.exit_status
        if due > 0 and not stop.n_calls:
            warn_of_silence(model, config)

        # ---------------------------------------------------------------------------------------- keep
        with removal_explained(run):
            checkpoints.save()
            save_model(model, run / "final", config)
            config.save(run / "config.json")  # once more: somebody may have removed the folder
            env.close()
            eval_env.close()
            finish(config, run, model, metrics)
    return 0


def use_threads(config: Config) -> int:
    """Set the number of torch threads and return it.

    One, unless the config says otherwise: networks of this size gain little from a second thread, and lose everything
    when the machine is busy with something else, since threads of one operation wait for each other by spinning.
    Numbers depend on it in their last bits, so it is recorded in run.json.
    """
    import torch

    torch.set_num_threads(config.torch_threads or 1)
    return torch.get_num_threads()


def warn_of_silence(model: Any, config: Config) -> None:
    """Say what is missing of a run whose algorithm has a loop of its own and calls no callback."""
    logging.warning(
        "%s never called callback.on_step(): there are no metrics, evaluations and checkpoints from its training, and "
        "Ctrl-C could not stop it",
        config.algo,
    )
    model.num_timesteps = model.num_timesteps or config.steps


def restore(model: Any, run: Path, config: Config, checkpoints: CheckpointCallback) -> None:
    """Bring model and callbacks to the newest sound checkpoint; a run that has none yet begins anew, and says so."""
    from armature.checkpoints import checkpoints as saved
    from armature.checkpoints import newest

    if not saved(run):
        logging.warning("%s has no checkpoint yet: it begins anew", run)
        return
    checkpoints.restore(model, newest(run, set_aside=True))
    if model.num_timesteps >= config.steps and (run / "summary.json").is_file():
        raise ConfigError(
            f"{run} has done its {model.num_timesteps:,} steps. Give it more with --steps={2 * model.num_timesteps}."
        )


def finish(config: Config, run: Path, model: Any, metrics: MetricsCallback) -> None:
    """Judge the model that a replay takes, draw the curve, film it if asked to, and say how to see it."""
    from armature.evaluation import evaluate
    from armature.models import Player, load_model
    from armature.plots import plot_learning_curve
    from armature.recording import film
    from armature.vec import make_vec_env

    steps, imports = model.num_timesteps, foreign_imports(config)
    trained, name = Player(model), "last"
    if replayable := getattr(model, "replayable", True):  # an agent need not be; then it is judged as it is
        trained = loaded = load_model(run, config.device, allow_import=imports)
        name = loaded.folder.name
    env = make_vec_env(config, "replay", min(config.final_eval_episodes, 10))
    found = evaluate(trained, env, config.final_eval_episodes)
    env.close()
    if any((run / table).is_file() for table in ("metrics.csv", "evaluations.csv")):  # both can be switched off
        plot_learning_curve(run)
    if config.record != "none":
        stage = make_vec_env(config, "replay", 1, render_mode="rgb_array")
        film(trained, stage, run / "videos" / f"replay.{config.record}", FILMED_EPISODES)
        stage.close()
    # Last: it says that nothing is left to be done.
    write_summary(run, steps=steps, wall_time_s=metrics.wall_time_s, episodes=metrics.episodes, evaluation=found)
    rate = ""
    if found.success_rate is not None and found.success_interval is not None:
        low, high = found.success_interval
        rate = f"success {found.success_rate:.0%} (95 % interval {low:.0%} to {high:.0%}), "
    print(f"\n{name} model over {found.episodes} new episodes: {rate}return {found.mean_return:.2f}")
    print(f"wall time {metrics.wall_time_s:.0f} s of training, {steps:,} steps, {metrics.episodes:,} episodes")
    if replayable:
        print("see it with: " + " ".join(["python test.py --model", str(run), consent_flags(imports)]).strip())


if __name__ == "__main__":
    sys.exit(main())
