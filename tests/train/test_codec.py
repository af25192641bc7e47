import pytest
import torch

from shards.errors import ConfigError
from train.models.autoencoder import Autoencoder, AutoencoderConfig, reconstruction_loss
from train.models.codec import build_codec, latent_shape, pixels_of, video_of
from train.models.codec_transform import TransformCodec, TransformCodecConfig, transform_basis


def noise_video(frames: int = 4, height: int = 8, width: int = 12) -> torch.Tensor:
    return torch.rand(2, frames, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("haar_frames", [1, 2, 4])
@pytest.mark.parametrize("block_px", [1, 2, 4])
def test_with_every_coefficient_the_transform_is_lossless(haar_frames, block_px):
    codec = TransformCodec(
        TransformCodecConfig(block_px=block_px, kept_coefficients=block_px**2, haar_frames=haar_frames)
    )
    video = noise_video()
    assert torch.allclose(codec.decode(codec.encode(video)), video, atol=3e-6)


def test_the_basis_is_orthonormal():
    basis = transform_basis(2, 4, 10)
    assert basis.shape == (60, 96)
    assert torch.allclose(basis @ basis.T, torch.eye(60, dtype=torch.float64), atol=1e-12)


def test_a_flat_grey_clip_is_its_first_coefficient_alone():
    codec = TransformCodec(TransformCodecConfig())
    z = codec.encode(torch.full((1, 2, 3, 4, 4), 0.5))[0, 0, :, 0, 0]
    assert z[0].item() == pytest.approx(0.5 * 96**0.5)  # norm of 96 values of 0.5
    assert z[1:].abs().max().item() < 1e-6


def test_kept_coefficients_hold_what_is_smooth():
    codec = TransformCodec(TransformCodecConfig())
    ramp = torch.linspace(-1, 1, 16)[None, None, None, None].expand(1, 2, 3, 16, 16)
    assert (codec.decode(codec.encode(ramp)) - ramp).abs().max() < 0.02


def test_latents_of_the_preset_are_eight_frames_of_sixty_channels():
    assert latent_shape(build_codec(TransformCodecConfig()), 16, 32, 32) == (8, 60, 8, 8)


def test_a_clip_that_the_codec_cannot_divide_is_refused():
    with pytest.raises(ConfigError, match="multiples of 2 frames and 4 px are allowed"):
        latent_shape(build_codec(TransformCodecConfig()), 15, 32, 32)


def test_pixels_go_there_and_back():
    video = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16, 1).expand(1, 2, 16, 16, 3)
    assert torch.equal(video_of(pixels_of(video)), video)


def test_the_autoencoder_learns_to_give_back_a_clip():
    torch.manual_seed(0)
    config = AutoencoderConfig(width=16, num_blocks=1, latent_channels=8)
    codec, video = Autoencoder(config), noise_video(2, 8, 8) * 0.1 + 0.4
    optimizer = torch.optim.AdamW(codec.parameters(), lr=1e-2)
    noise = torch.zeros_like(codec.encode(video))
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = reconstruction_loss(config, codec, video, noise)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    assert codec.encode(video).shape == (2, 2, 8, 2, 2)
