import os
import sys
from pathlib import Path

import pytest
import torch

from train.models.autoencoder3d import VideoAutoencoder, VideoAutoencoderConfig, parameters_of
from train.models.codec import latent_shape

SMALL = {"width": 4, "latent_channels": 3, "norm_groups": 4, "training": {"perceptual": {"kind": "none"}}}


def autoencoder(**values) -> VideoAutoencoder:
    torch.manual_seed(0)
    return VideoAutoencoder(VideoAutoencoderConfig.model_validate({**SMALL, **values})).eval()


def conv(channels_in: int, channels: int, kernel: int) -> int:
    return channels_in * channels * kernel**3 + channels


@pytest.mark.parametrize(("frames", "pixels"), [(4, 8), (1, 4), (2, 2), (4, 2), (8, 4)])
@torch.no_grad()
def test_latents_are_smaller_by_the_factors_and_decode_to_the_size(frames, pixels):
    codec = autoencoder(frames_per_latent=frames, pixels_per_latent=pixels)
    video = torch.randn(2, 2 * frames, 3, 2 * pixels, 3 * pixels)
    z = codec.encode(video)
    assert tuple(z.shape[1:]) == latent_shape(codec, 2 * frames, 2 * pixels, 3 * pixels) == (2, 3, 2, 3)
    assert codec.decode(z).shape == video.shape


def test_the_published_size_has_the_parameters_of_its_arithmetic():
    """Hidden 32, factors (4, 8, 8): three levels of 64, 128, 256 channels; blocks are two convolutions, two norms."""

    def block(channels: int) -> int:
        return 2 * conv(channels, channels, 3) + 2 * 2 * channels

    encoder = conv(3, 32, 3) + sum(conv(c, 2 * c, 4) + block(2 * c) for c in (32, 64, 128)) + 2 * 256 + conv(256, 8, 3)
    decoder = conv(4, 256, 4) + conv(256, 128, 4) + conv(128, 64, 4) + conv(64, 3, 3)
    decoder += sum(2 * block(c) for c in (256, 128, 64))
    ends = conv(8, 8, 1) + conv(4, 4, 1)
    assert (encoder, decoder) == (7_458_952, 11_987_715)  # what LVDM's released classes count
    assert parameters_of(VideoAutoencoderConfig()) == encoder + decoder + ends == 19_446_759


def still_moving_still(shift: int) -> torch.Tensor:
    """128 frames: grey, 8 frames of noise from frame 56 + shift, grey: no layer sees noise and an end at once.

    (The encoder sees 23 frames to either side, the decoder 25: 56 is more than both and the shift.)
    """
    video = torch.full((1, 128, 3, 8, 8), 0.2)
    video[:, 56 + shift : 64 + shift] = torch.randn(1, 8, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return video


@torch.no_grad()
def test_a_shift_by_one_latent_frame_shifts_the_latents_and_the_video_back():
    codec = autoencoder(frames_per_latent=4, pixels_per_latent=4)
    z, shifted = codec.encode(still_moving_still(0)), codec.encode(still_moving_still(4))
    assert (z[:, 1:] - z[:, :-1]).abs().max() > 0.1  # something moves
    assert torch.allclose(shifted[:, 1:], z[:, :-1], atol=1e-5)
    decoded, decoded_shifted = codec.decode(z), codec.decode(shifted)
    # A transposed convolution of stride 2 makes even and odd frames of a still differ, so that repeating the last
    # frame goes on otherwise than the clip would: the decoder's ends, 16 frames of them, are not equivariant.
    assert torch.allclose(decoded_shifted[:, 20:112], decoded[:, 16:108], atol=1e-4)


@torch.no_grad()
def test_with_zeros_beyond_the_ends_the_first_latent_differs():
    still = torch.full((1, 16, 3, 16, 16), 0.2)
    kept = autoencoder(frames_per_latent=4, pixels_per_latent=4).encode(still)
    black = autoencoder(frames_per_latent=4, pixels_per_latent=4, padding="zeros").encode(still)
    assert (kept - kept[:, :1]).abs().max() < 1e-5
    assert (black - black[:, 2:3])[:, 0].abs().max() > 1e-3


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="a divisor of 8 is allowed"):
        VideoAutoencoderConfig(width=4)


@torch.no_grad()
@pytest.mark.slow
def test_the_whole_codec_is_lvdms_by_copied_weights():
    """REELMILL_LVDM names a folder from which `import lvdm.models.modules.aemodules3d` works."""
    checkout = os.environ.get("REELMILL_LVDM")
    if not checkout or not Path(checkout).is_dir():
        pytest.skip("REELMILL_LVDM names no checkout of YingqingHe/LVDM")
    sys.path.insert(0, checkout)
    from lvdm.models.modules.aemodules3d import Decoder, Encoder  # pyright: ignore[reportMissingImports]

    torch.manual_seed(0)
    ours = VideoAutoencoder(VideoAutoencoderConfig()).eval()
    encoder, decoder = Encoder(32, [4, 8, 8], 4, True), Decoder(32, [4, 8, 8], 4, 3)
    # both list their parameters in the order of the layers, but for theirs of the first convolution
    for part, own in (
        (encoder, list(ours.encoder[:-1].parameters())),
        (decoder, [*ours.decoder[1:].parameters(), *ours.last.parameters()]),
    ):
        listed = sorted(part.named_parameters(), key=lambda item: not item[0].startswith("conv_first"))
        for (name, value), parameter in zip(listed, own, strict=True):
            assert value.shape == parameter.shape, name
            parameter.copy_(value)
    for end in (ours.encoder[-1], ours.decoder[0]):  # their quant_conv stands outside these classes
        assert isinstance(end, torch.nn.Conv3d)
        assert end.bias is not None
        torch.nn.init.dirac_(end.weight)
        end.bias.zero_()
    video = torch.randn(1, 8, 3, 16, 16)
    z, _ = encoder(video.transpose(1, 2)).chunk(2, dim=1)
    assert (ours.encode(video).transpose(1, 2) - z).abs().max() <= 1e-5
    assert (ours.decode(z.transpose(1, 2)).transpose(1, 2) - decoder(z)).abs().max() <= 1e-4
