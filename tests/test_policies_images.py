"""Features: images are scaled once, extractors of one's own are checked, parts of a dict are put side by side."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN

from armature.argument_checks import check_arguments
from armature.combos import implemented_combos
from armature.config import Config
from armature.errors import ConfigError, PluginError
from armature.making import make_model
from armature.vec import SpacesOnly

IMAGE, VECTOR, MOVE = spaces.Box(0, 255, (3, 36, 36), np.uint8), spaces.Box(-1, 1, (5,)), spaces.Box(-1, 1, (3,))
EXTRACTOR = """
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

class Eyes(BaseFeaturesExtractor):
    def __init__(self, observation_space, features_dim: int = 8, really: int | None = None):
        super().__init__(observation_space, features_dim)
        size = int(torch.tensor(observation_space.shape).prod())
        last = torch.nn.Linear(size, really or features_dim)
        self.net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(size), last)

    def forward(self, seen):
        self.seen = seen
        return self.net(seen)

class Failing(Eyes):
    def forward(self, seen):
        raise RuntimeError("no light")
"""


@pytest.fixture
def eyes(tmp_path):
    path = tmp_path / "eyes.py"
    path.write_text(EXTRACTOR)
    return str(path)


def make(space, algo="ppo", **policy_kwargs):
    config = Config(algo=algo, policy_kwargs=policy_kwargs, num_envs=1)
    check_arguments(config)
    algo_class, policy, kwargs = implemented_combos[algo]["pytorch"]
    return make_model(
        algo_class, policy, {**kwargs, "buffer_size": 10} if algo == "sac" else kwargs, env(space), config
    )


def env(space):
    return SpacesOnly(space, MOVE, num_envs=1)


def test_b39_images_are_scaled_once_by_nature_cnn(eyes):
    model = make(IMAGE)
    assert type(model.policy.features_extractor) is NatureCNN
    for normalized, top in ((True, 1.0), (False, 255.0)):
        model = make(IMAGE, features_extractor_class=f"{eyes}:Eyes", normalize_images=normalized)
        white = np.full((1, 3, 36, 36), 255, np.uint8)
        model.predict(white)
        assert model.policy.features_extractor.seen.max() == top
        assert model.policy.features_extractor.seen.dtype == torch.float32


@pytest.mark.parametrize("algo", ["ppo", "sac", "ppo_lstm"])
def test_b39_an_extractor_of_ones_own_comes_by_address(eyes, algo):
    model = make(VECTOR, algo, features_extractor_class=f"{eyes}:Eyes", features_extractor_kwargs={"features_dim": 6})
    found = [module for module in model.policy.modules() if type(module).__name__ == "Eyes"]
    assert found
    assert all(extractor.features_dim == 6 for extractor in found)
    assert all(int(extractor.net[1].num_batches_tracked) == 0 for extractor in found)  # trying it changed nothing
    assert model.predict(VECTOR.sample())[0].shape == (3,)


@pytest.mark.parametrize("algo", ["ppo", "sac"])
def test_b39_features_dim_must_be_what_comes_out(eyes, algo):
    with pytest.raises(PluginError, match=r"Eyes.*puts out \(1, 9\).*features_dim is 8"):
        make(VECTOR, algo, features_extractor_class=f"{eyes}:Eyes", features_extractor_kwargs={"really": 9})


def test_b39_an_extractor_that_fails_shows_its_own_error(eyes):
    with pytest.raises(PluginError, match=r"Failing(.|\n)*failed on an observation(.|\n)*no light"):
        make(VECTOR, features_extractor_class=f"{eyes}:Failing")


@pytest.mark.parametrize(
    ("name", "kwargs", "words"),
    [
        ("torch.nn:Linear", {}, ["features_extractor_class", "BaseFeaturesExtractor"]),
        ("Eyes", {"feature_dim": 3}, ["features_extractor_kwargs.feature_dim", "'features_dim'"]),
        ("Eyes", {"features_dim": "many"}, ["features_extractor_kwargs.features_dim", '"many"']),
    ],
)
def test_b39_mistakes_about_extractors_are_told_before_anything_is_built(eyes, name, kwargs, words):
    address = name if ":" in name else f"{eyes}:{name}"
    config = Config(
        algo="ppo", policy_kwargs={"features_extractor_class": address, "features_extractor_kwargs": kwargs}
    )
    with pytest.raises(ConfigError) as caught:
        check_arguments(config)
    assert all(word in str(caught.value) for word in words), caught.value


def test_b40_vectors_stand_beside_images():
    parts = spaces.Dict({"camera": IMAGE, "joints": VECTOR})
    model = make(parts, net_arch=[16, {"vf": [8]}])
    assert type(model.policy).__name__ == "SharedMultiInputPolicy"
    assert model.policy.features_dim == 256 + 5
    assert model.predict(parts.sample())[0].shape == (3,)
