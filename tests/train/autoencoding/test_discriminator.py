import pytest
import torch

from shards.errors import ConfigError
from train.autoencoding.discriminator import Discriminator, DiscriminatorConfig


def scores_that_change(sees: str) -> list[bool]:
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig.model_validate({"width": 8, "num_layers": 2, "sees": sees}))
    video = torch.randn(1, 5, 3, 32, 32)
    moved = video.clone()
    moved[:, 2] = -moved[:, 2]
    return ((network(moved) - network(video)).abs().amax(dim=(0, 1, 3, 4)) > 1e-6).tolist()


def test_boxes_see_time_and_frames_do_not():
    assert scores_that_change("frames") == [False, False, True, False, False]
    assert all(scores_that_change("boxes"))


def test_the_score_of_a_clip_does_not_depend_on_the_batch():
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig(width=8, num_layers=2))
    video = torch.randn(2, 3, 3, 32, 32)
    assert torch.allclose(network(video)[:1], network(video[:1]), atol=1e-6)


def test_it_learns_to_tell_noise_from_grey():
    torch.manual_seed(0)
    network = Discriminator(DiscriminatorConfig(width=8, num_layers=1))
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    real, fake = torch.randn(2, 2, 3, 16, 16), torch.zeros(2, 2, 3, 16, 16)
    for _ in range(15):
        loss = (1 - network(real)).relu().mean() + (1 + network(fake)).relu().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert network(real).mean() > network(fake).mean() + 1


def test_a_width_without_groups_is_refused():
    with pytest.raises(ConfigError, match=r"a divisor of the 12 channels"):
        Discriminator(DiscriminatorConfig(width=12))
