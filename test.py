"""Replay what was trained: success rate with its interval, return, length, steps to success; a video on request.

    python test.py                                            # the newest run; in a fresh clone the reference run
    python test.py --model trained_models/panda_reach_fast_sac_1   # a run, or its best/, final/ or checkpoints/<step>/
    python test.py --record reach.mp4 --episodes=5            # film it
    python test.py --control expert --config configs/push.json
    python test.py --control expert --config configs/push.json --save-demos push.npz     # to learn from

Exit status: 0 done, 2 bad input, 1 anything else.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from armature.checkpoints import write_json
from armature.cli import Parser, exit_with_status
from armature.config import Config
from armature.errors import ConfigError
from armature.plugins import load_extensions
from armature.runs import changed_plugins

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

    from armature.evaluation import Evaluation, Predictor
    from armature.vec import Stream


@exit_with_status
def main(argv: Sequence[str] | None = None) -> None:
    """Replay what the command line asks for."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
    args = parse_args(argv)

    # -------------------------------------------------------------------------------------------- what to replay
    from armature.models import load_model

    if args.config:
        config = Config.load(args.config)
        load_extensions(config)
        config.check()
        model, name = None, str(args.config)
    else:
        model = load_model(args.model, allow_import=args.allow_import)
        config, name = model.config, f"{model.folder}, trained for {model.step:,} steps"
        for plugin in changed_plugins(model.run, config):
            logging.warning("%s has changed since this model was trained", plugin)

    # -------------------------------------------------------------------------------------------- where
    from armature.vec import make_vec_env

    render_mode = "human" if args.gui else "rgb_array" if args.record else None
    # Demonstrations have episodes of their own: nobody shall be judged by what it was shown.
    stream: Stream = "demonstrations" if args.save_demos else "replay"
    env = make_vec_env(config, stream, 1 if render_mode else min(10, args.episodes), render_mode)

    # -------------------------------------------------------------------------------------------- episodes
    from armature.demonstrations import Recorder, save_demonstrations
    from armature.evaluation import evaluate
    from armature.recording import film

    if args.save_demos:
        env = recorder = Recorder(env)
    player = controller(args.control, model, env, config)
    print(f"{args.episodes} episodes of {args.control} control: {name}", flush=True)
    if args.record:
        found = film(player, env, args.record, args.episodes, not args.stochastic)
    else:
        found = evaluate(player, env, args.episodes, not args.stochastic)
    env.close()

    # -------------------------------------------------------------------------------------------- what came of it
    print(table(found))
    if args.record:
        print(f"filmed in {args.record}")
    if args.save_demos:
        saved = save_demonstrations(args.save_demos, recorder.episodes[: args.episodes], env, config, args.control)
        print(f"{saved} episodes in {args.save_demos}. Learn from them with: --demonstrations.path={args.save_demos}")
    if args.json:
        write_json(Path(args.json), {"model": name, "control": args.control, **found.to_dict()})


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line; raise `ConfigError` for what makes no sense."""
    parser = Parser(prog="test.py", description="Replay a trained model.")
    parser.add_argument("--model", metavar="RUN", help="run folder, or its best, final or a checkpoint (newest run)")
    parser.add_argument(
        "--episodes", type=int, default=100, metavar="N", help="how many (100; 5 with --record or --gui)"
    )
    parser.add_argument("--control", choices=("model", "random", "expert"), default="model", help="who acts (model)")
    parser.add_argument("--config", metavar="FILE", help="environment for random and expert control, without a model")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--deterministic", action="store_true", help="take the most likely action (the default)")
    choice.add_argument("--stochastic", action="store_true", help="draw actions as in training")
    look = parser.add_mutually_exclusive_group()
    look.add_argument("--record", metavar="FILE", help="film the episodes, to a name in .mp4 or .gif")
    look.add_argument("--gui", action="store_true", help="watch in PyBullet's window, in real time")
    parser.add_argument("--json", metavar="FILE", help="write the figures to a file")
    parser.add_argument(
        "--save-demos", type=Path, metavar="FILE", help="write the episodes that succeed to a .npz file"
    )
    parser.add_argument(
        "--allow-import", action="append", default=[], metavar="ADDRESS", help="let the run import this"
    )
    parser.set_defaults(episodes=None)
    args = parser.parse_args(argv)
    if args.episodes is None:
        args.episodes = 5 if args.record or args.gui else 100
    if not 1 <= args.episodes <= 1_000_000:
        raise ConfigError(f"--episodes is {args.episodes}; allowed: a whole number from 1 to 1,000,000.")
    if args.config and (args.control == "model" or args.model):
        raise ConfigError("--config takes the place of --model for --control random or expert; a model has its own.")
    for flag, file in (("--json", args.json), ("--save-demos", args.save_demos)):
        if file and not Path(file).parent.is_dir():
            raise ConfigError(f"{flag} is {file}, and there is no folder {Path(file).parent}.")
    if args.save_demos and args.save_demos.suffix != ".npz":
        raise ConfigError(f"--save-demos is {args.save_demos}; the name must end in .npz.")
    return args


def controller(control: str, model: Predictor | None, env: VecEnv, config: Config) -> Predictor:
    """Return who acts. Chance acts only when it is asked for."""
    from armature.controllers import Expert, Random

    if control == "random":
        return Random(env, config.seed)
    if control == "expert" or model is None:
        return Expert(env)
    return model


def table(found: Evaluation) -> str:
    """Return the figures of an evaluation as lines."""
    rows = {"return": f"{found.mean_return:.2f} ± {found.std_return:.2f}", "length": f"{found.mean_length:.1f} steps"}
    if found.success_rate is not None and found.success_interval is not None:
        low, high = found.success_interval
        rate = f"{found.success_rate:.1%} of {found.episodes} episodes (95 % interval {low:.1%} to {high:.1%})"
        first = "-" if found.steps_to_success is None else f"{found.steps_to_success:.1f} steps"
        rows = {
            "success": rate,
            "success at any step": f"{found.success_once_rate:.1%}",
            "first success": first,
            **rows,
        }
    return "\n".join(f"{name:>20}  {value}" for name, value in rows.items())


if __name__ == "__main__":
    sys.exit(main())
