import pytest
import torch

from shards.errors import ContractError
from train.latents import LatentScale, LatentsConfig, measure
from train.models.codec import pixels_of
from train.models.codec_transform import TransformCodec, TransformCodecConfig
from train.parallel import World

CPU = World(torch.device("cpu"))
CODEC = TransformCodec(TransformCodecConfig(kept_coefficients=16, haar_frames=1))


def noise_videos() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randint(0, 256, (4, 2, 16, 16, 3), generator=generator, dtype=torch.uint8) for _ in range(3)]


def latents(videos: list[torch.Tensor]) -> list[torch.Tensor]:
    return [CODEC.encode(pixels_of(video)) for video in videos]


def test_scaled_latents_have_mean_zero_and_variance_one():
    scale = measure(LatentsConfig(std_floor=0.001), latents(noise_videos()), CPU)
    z = scale.normalize(CODEC.encode(pixels_of(torch.cat(noise_videos())))).transpose(0, 2).flatten(1)
    assert z.mean(1).abs().max() < 1e-4
    assert torch.allclose(z.std(1, correction=0), torch.ones(48), atol=1e-4)


def test_quiet_channels_are_not_blown_up():
    videos = [torch.randint(0, 256, (4, 1, 8, 8, 1), dtype=torch.uint8).expand(-1, 2, -1, -1, 3)]  # grey: no chroma
    scale = measure(LatentsConfig(std_floor=0.25), latents(videos), CPU)
    assert scale.std_C.min().item() == pytest.approx(0.25 * scale.std_C.max().item())


def test_restoring_undoes_scaling():
    scale = LatentScale(torch.tensor([1.0, 2.0]), torch.tensor([0.5, 4.0]))
    z = torch.randn(1, 2, 2, 3, 3)
    assert torch.allclose(scale.restore(scale.normalize(z)), z, atol=1e-6)


def test_one_flat_colour_is_refused():
    with pytest.raises(ContractError, match="one flat colour"):
        measure(LatentsConfig(), latents([torch.zeros(1, 2, 8, 8, 3, dtype=torch.uint8)]), CPU)
