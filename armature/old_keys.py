"""Keys and flags that people bring along from other systems, and what takes their place here."""

from __future__ import annotations

RESTARTS = "worker processes that die or hang are replaced ten times; then --resume goes on"
NO_ENGINE = "there is no such thing with a simulator in the same process; leave it out"
FILM = 'use the key "record", or test.py --record FILE'
FLAT = "keys of one learner stand at the top level of the file"
NETWORK = 'use the key "policy_kwargs"'
HYPERPARAMETER = 'it is a hyperparameter, under "algo_kwargs"'
SCHEDULE = 'write {"schedule": "linear", "start": X, "end": Y}; trainers take the word, under "algo_kwargs"'

OLD_ARGUMENTS = {
    **{"beta": "ent_coef", "init_entcoef": "ent_coef", "epsilon": "clip_range", "lambd": "gae_lambda"},
    **{"num_epoch": "n_epochs", "buffer_init_steps": "learning_starts", "steps_per_update": "gradient_steps"},
}
"""Hyperparameters that SB3 has under another name."""

OLD_KEYS: dict[str, str] = {
    # ML-Agents: the command line
    "resume": "it is a flag of train.py: --resume RUN",
    "run_id": 'use the key "run_name"',
    "results_dir": 'use the key "logdir"',
    "force": "a run is never overwritten; give it another run_name, or none",
    "initialize_from": 'use the key "pretrained_model"',
    "inference": "replay a model with test.py",
    "deterministic": "it is a flag of test.py",
    "num_areas": 'use the key "num_envs"',
    **dict.fromkeys(("max_lifetime_restarts", "restarts_rate_limit_n", "restarts_rate_limit_period_s"), RESTARTS),
    "timeout_wait": RESTARTS,
    "env": 'use the key "env_name"',
    "env_args": 'use the key "env_kwargs"',
    **dict.fromkeys(("base_port", "quality_level", "target_frame_rate", "engine_settings"), NO_ENGINE),
    "time_scale": "training runs as fast as it can, and test.py --gui in real time",
    **dict.fromkeys(("width", "height", "capture_frame_rate"), FILM),
    "no_graphics": "training opens no window",
    "no_graphics_monitor": "watch a run's checkpoints with test.py --gui",
    "torch_device": 'use the key "device"',
    "torch_settings": 'use the key "device"',
    "debug": "the effective configuration is always in the run folder's config.json",
    # ML-Agents: the file
    **dict.fromkeys(("behaviors", "default_settings", "env_settings", "checkpoint_settings"), FLAT),
    "max_steps": 'use the key "steps"',
    "time_horizon": 'it is a setting of trainers, n_steps in other algorithms, under "algo_kwargs"',
    "summary_freq": 'use the key "log_freq"',
    "checkpoint_interval": 'use the key "checkpoint_freq"',
    "even_checkpoints": 'use the key "checkpoint_freq"',
    "init_path": 'use the key "pretrained_model"',
    "threaded": "on-policy data would be stale; leave it out",
    "hyperparameters": 'use the key "algo_kwargs"',
    **dict.fromkeys(("batch_size", "buffer_size", "learning_rate", "tau", "gamma"), HYPERPARAMETER),
    **{old: f'it is {new}, under "algo_kwargs"; trainers call it {old}' for old, new in OLD_ARGUMENTS.items()},
    **dict.fromkeys(("learning_rate_schedule", "beta_schedule", "epsilon_schedule"), SCHEDULE),
    "shared_critic": 'it is a setting of trainers, under "algo_kwargs"; elsewhere, use "policy": "SharedMlpPolicy"',
    "reward_signal_steps_per_update": "signals learn whenever the policy does; leave it out",
    "network_settings": 'use the keys "policy_kwargs" (net_arch) and "normalize"',
    **dict.fromkeys(("hidden_units", "num_layers", "vis_encode_type"), NETWORK),
    "goal_conditioning_type": "goals are part of the observation; leave it out",
    "memory": 'use "algo": "ppo_lstm", and lstm_hidden_size in "policy_kwargs"',
    **dict.fromkeys(("sequence_length", "memory_size"), 'use "algo": "ppo_lstm": n_steps, lstm_hidden_size'),
    "reward_signals": 'it is a setting of trainers: "algo_kwargs": {"reward_signals": ...}',
    "behavioral_cloning": 'use the key "demonstrations"',
    **dict.fromkeys(("poca", "ma_poca"), "there is one robot, and no group of agents to share a reward; use ppo"),
    "self_play": "there is one robot and no opponent; leave it out",
    "environment_parameters": 'use the key "task_kwargs"',
    "parameter_randomization": 'use the key "task_kwargs"',
    "curriculum": 'train in stages: the key "pretrained_model" starts from an easier run',
    # gym-loop
    "agent": 'use the key "algo", and "algo_kwargs" for its parameters',
    "imports": 'use the key "plugins"',
    "parameters": 'use the keys "algo_kwargs", "env_kwargs" and "loop_kwargs"',
    "max_episodes": 'use the key "steps", or "loop_kwargs"',
    "max_episode_len": 'use the key "max_episode_steps"',
    "random_episodes": 'use the key "loop_kwargs"',
    "episodes_per_checkpoint": 'use the key "checkpoint_freq"',
    "time_per_checkpoint": 'use the key "checkpoint_freq"',
    **dict.fromkeys(("record_dir", "eval_record", "eval_record_dir"), FILM),
    **dict.fromkeys(("render", "eval_render", "gui"), "watch with test.py --gui"),
    **dict.fromkeys(("push_to_hub", "load_from_hub", "upgrade_config", "analytics"), "nothing leaves this machine"),
    "eval_logdir": "evaluations are in the run folder's evaluations.csv",
    "n_envs": 'use the key "num_envs"',
    "load_from": 'use the key "pretrained_model"',
}
"""What to answer, by the key's name with underscores."""


def answer(name: str) -> str | None:
    """Return what takes the place of a key or flag of another system, if anything is known."""
    found = OLD_KEYS.get(name.lstrip("-").replace("-", "_").partition(".")[0])
    return f"is a key of another system; here, {found}." if found else None
