"""Keys and flags of ML-Agents: each is one of ours, or is answered with what takes its place."""

import json

import pytest
from stable_baselines3 import PPO

from armature.argument_checks import check_algo_kwargs
from armature.cli import parse_train_args
from armature.config import Config
from armature.errors import ConfigError
from armature.plugins import load_extensions

COMMAND_LINE = """
config run-id results-dir resume force initialize-from inference deterministic seed num-envs num-areas
max-lifetime-restarts restarts-rate-limit-n restarts-rate-limit-period-s timeout-wait env env-args base-port
quality-level target-frame-rate time-scale width height capture-frame-rate no-graphics no-graphics-monitor torch-device
debug push-to-hub load-from-hub upgrade-config analytics
"""
FILE = """
trainer_type max_steps time_horizon summary_freq checkpoint_interval keep_checkpoints even_checkpoints init_path
threaded torch_settings.device env_settings.num_envs engine_settings.width checkpoint_settings.run_id
behaviors.Arm.trainer_type default_settings.trainer_type debug resume
hyperparameters.batch_size batch_size buffer_size learning_rate learning_rate_schedule
beta beta_schedule epsilon epsilon_schedule lambd num_epoch shared_critic
buffer_init_steps tau steps_per_update init_entcoef save_replay_buffer reward_signal_steps_per_update
network_settings.normalize normalize hidden_units num_layers vis_encode_type goal_conditioning_type deterministic
memory.memory_size sequence_length memory_size
reward_signals.extrinsic.strength reward_signals.curiosity.gamma reward_signals.gail.demo_path
reward_signals.rnd.network_settings gamma
behavioral_cloning.demo_path behavioral_cloning.samples_per_update
self_play.save_steps self_play.team_change self_play.window self_play.initial_elo poca
environment_parameters.gravity.sampler_type environment_parameters.gravity.curriculum curriculum parameter_randomization
"""


def flags_of_train() -> set[str]:
    return {"config", "resume", "dry_run", "trainer_type", *Config.model_fields}


@pytest.mark.parametrize("flag", COMMAND_LINE.split())
def test_e1_every_flag_of_ml_agents_is_ours_or_answered(flag):
    """One that is ours with underscores is told as the closest match."""
    with pytest.raises(ConfigError) as caught:
        parse_train_args([f"--{flag}=1", "--no-such-flag=1"])
    ours = flag.replace("-", "_") in flags_of_train()
    expected = "no-such-flag" if flag in flags_of_train() else "did you mean '--" if ours else "another system; here, "
    assert expected in str(caught.value)


@pytest.mark.parametrize("key", FILE.split())
def test_e1_every_key_of_ml_agents_is_ours_or_answered(key, tmp_path):
    """In a file and as a flag; nested ones are answered with the object that holds them."""
    head, *below = key.split(".")
    value: object = 1
    for name in reversed(below):
        value = {name: value}
    (tmp_path / "cfg.json").write_text(json.dumps({head: value}))
    if head in flags_of_train() - {"resume"}:
        with pytest.raises(
            ConfigError, match="algo is 1" if key == "trainer_type" else f"{head} is 1|no_such"
        ) as caught:
            Config.load(tmp_path / "cfg.json", {"no_such": 1})
        assert f"{head}: unknown" not in str(caught.value)
        return
    with pytest.raises(ConfigError, match=rf"cfg\.json: {head} is a key of another system; here, "):
        Config.load(tmp_path / "cfg.json")
    if head != "resume":
        with pytest.raises(ConfigError, match=rf"--{key} is a key of another system; here, "):
            parse_train_args([f"--{key}=1"])


@pytest.mark.parametrize(
    ("old", "new"),
    [("beta", "ent_coef"), ("epsilon", "clip_range"), ("lambd", "gae_lambda"), ("num_epoch", "n_epochs")],
)
def test_e1_t6_hyperparameters_of_ml_agents_are_answered_with_ours(old, new):
    with pytest.raises(ConfigError, match=rf"algo_kwargs\.{old}: unknown argument; did you mean '{new}'\?"):
        check_algo_kwargs(PPO, {old: 1})


def test_e1_a_trainer_for_several_agents_is_answered():
    with pytest.raises(ConfigError, match=r"Invalid trainer type 'poca' was found: .*one robot.*use ppo"):
        load_extensions(Config(algo="poca"))
