"""Learning on a graphics processor, where there is one: everything lies on it, and a processor can replay it."""

import numpy as np
import pytest
import torch

from armature.checkpoints import newest
from armature.models import load_model

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a graphics processor and a CUDA build of torch"),
]
ALGOS = ["ppo", "sac", "her", "tqc", "myalgo", "fast_sac"]


@pytest.mark.parametrize("algo", ALGOS)
def test_a_run_learns_there_and_is_replayed_here(algo, make_config, train):
    config = make_config(algo, device="cuda")
    session = train(config)
    assert session.model.num_timesteps >= config.steps
    assert {parameter.device.type for parameter in session.model.policy.parameters()} == {"cuda"}
    replayed = load_model(session.checkpoints.save(), allow_import=config.plugins)
    assert {parameter.device.type for parameter in replayed.model.policy.parameters()} == {"cpu"}
    observation = session.model.env.reset()
    there, here = (model.predict(observation, deterministic=True)[0] for model in (session.model, replayed.model))
    np.testing.assert_allclose(there, here, atol=1e-3)


@pytest.mark.parametrize("algo", ALGOS)
def test_a_run_goes_on_there_from_a_checkpoint(algo, make_config, train):
    config = make_config(algo, device="cuda")
    first = train(config)
    longer = config.model_copy(update={"steps": 500})
    assert train(longer, checkpoint=newest(first.run)).model.num_timesteps >= 500
