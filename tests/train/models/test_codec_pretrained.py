"""Codecs whose weights were trained elsewhere."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.errors import ConfigError, ContractError
from train.models.codec import (
    build_codec,
    check_codec,
    codec_record,
    codec_tensors,
    latent_shape,
    pixels_of,
)
from train.models.codec_diffusers import DiffusersVaeConfig
from train.models.codec_taesd import TaesdConfig


def real_frames(name: str, num_frames: int = 4, side: int = 128) -> torch.Tensor:
    """Frames from the middle of a real clip, uint8 of shape (1, T, H, W, C)."""
    import av

    folder = os.environ.get("REELMILL_REAL_VIDEOS", "")
    path = Path(folder) / name
    if not folder or not path.is_file():
        pytest.skip(f"REELMILL_REAL_VIDEOS names no folder with {name}")
    frames = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == 24:
                break
    chosen = np.stack(frames[-num_frames:])
    top, left = (chosen.shape[1] - side) // 2, (chosen.shape[2] - side) // 2
    return torch.from_numpy(chosen[None, :, top : top + side, left : left + side].copy())


@pytest.mark.parametrize("clip", ["carphone_pristine.mp4", "bbb_180p_vp9.webm"])
@torch.no_grad()
def test_taef2_gives_real_frames_back(clip):
    if not os.environ.get("REELMILL_MODELS"):
        pytest.skip("REELMILL_MODELS is not set: no TAEF2")
    codec = build_codec(TaesdConfig())
    pixels = pixels_of(real_frames(clip))
    assert latent_shape(codec, 4, 128, 128) == (4, 32, 16, 16)
    z = codec.encode(pixels)
    assert tuple(z.shape) == (1, 4, 32, 16, 16)
    error = (codec.decode(z).clamp(-1, 1) - pixels).square().mean() / 4
    assert -10 * error.log10() > 25  # dB
    assert codec_tensors(codec) == {}  # not in checkpoints; its hash is
    check_codec(codec, codec_record(codec))
    with pytest.raises(ContractError, match="give the same files back"):
        check_codec(codec, {"source_sha256": "0" * 64})


def test_a_codec_that_is_not_here_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.delenv("REELMILL_MODELS", raising=False)
    with pytest.raises(ConfigError, match=r"codec\.encoder is 'taef2_encoder\.pth', which is neither here"):
        build_codec(TaesdConfig())


def saved(folder: Path, vae) -> DiffusersVaeConfig:
    vae.save_pretrained(folder / "vae")
    return DiffusersVaeConfig(path=str(folder), subfolder="vae", frames_at_once=3)


@torch.no_grad()
def test_an_image_vae_is_applied_frame_by_frame(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
        latent_channels=5,
    ).eval()
    codec = build_codec(saved(tmp_path, vae))
    assert latent_shape(codec, 4, 16, 24) == (4, 5, 8, 12)
    pixels = torch.randn(2, 4, 3, 16, 24)
    z = codec.encode(pixels)
    assert torch.allclose(z[1, 2], vae.encode(pixels[1, 2][None]).latent_dist.mode()[0], atol=1e-5)
    assert torch.allclose(codec.decode(z)[0, 3], vae.decode(z[0, 3][None]).sample[0], atol=1e-5)
    assert codec_record(codec) == codec_record(build_codec(saved(tmp_path, vae)))
    torch.nn.init.zeros_(vae.encoder.conv_in.weight)
    assert codec_record(codec) != codec_record(build_codec(saved(tmp_path / "other", vae)))


@torch.no_grad()
def test_a_tiny_vae_of_diffusers_is_one_too(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).eval()  # fmt: skip
    codec = build_codec(saved(tmp_path, vae))
    pixels = torch.rand(1, 2, 3, 16, 16) * 2 - 1
    assert torch.allclose(codec.encode(pixels)[0], vae.encode(pixels[0]).latents, atol=1e-5)
    assert codec.decode(codec.encode(pixels)).shape == pixels.shape


@torch.no_grad()
def test_a_video_vae_takes_one_frame_and_multiples(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKLWan(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    ).eval()  # fmt: skip
    codec = build_codec(saved(tmp_path, vae))
    assert (codec.frames_per_latent, codec.pixels_per_latent, codec.first_frame_alone) == (4, 8, True)
    assert latent_shape(codec, 9, 16, 16) == (3, 4, 2, 2)
    pixels = torch.randn(1, 9, 3, 16, 16)
    z = codec.encode(pixels)
    assert z.shape == (1, 3, 4, 2, 2)
    assert codec.decode(z).shape == pixels.shape
    with pytest.raises(ConfigError, match="1 frame and multiples of 4 frames and 8 px are allowed"):
        latent_shape(codec, 8, 16, 16)
