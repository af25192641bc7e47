"""The codec primitive: pixels to latents and back. Fixed, learned here (image or video), or pretrained elsewhere."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import Field
from torch import Tensor, nn

from shards.errors import ConfigError, ContractError
from train.models.autoencoder import Autoencoder, AutoencoderConfig
from train.models.autoencoder3d import VideoAutoencoder, VideoAutoencoderConfig
from train.models.codec_diffusers import DiffusersVae, DiffusersVaeConfig
from train.models.codec_taesd import Taesd, TaesdConfig
from train.models.codec_transform import TransformCodec, TransformCodecConfig

CodecConfig = Annotated[
    TransformCodecConfig | AutoencoderConfig | VideoAutoencoderConfig | TaesdConfig | DiffusersVaeConfig,
    Field(discriminator="kind"),
]
AnyCodec = TransformCodec | Autoencoder | VideoAutoencoder | Taesd | DiffusersVae


class Codec(Protocol):
    """What every codec offers."""

    frames_per_latent: int
    pixels_per_latent: int
    latent_channels: int
    first_frame_alone: bool  # 1 + k f frames make 1 + k latent frames; else k f make k

    def encode(self, pixels_BTCHW: Tensor) -> Tensor:
        """Latents z_BTCHW of pixels in [-1, 1]."""
        ...

    def decode(self, z_BTCHW: Tensor) -> Tensor:
        """Pixels, in about [-1, 1], of latents."""
        ...


def build_codec(config: CodecConfig) -> AnyCodec:
    """The codec of a config, in evaluation mode; a pretrained one with its weights, another one as drawn."""
    match config:
        case TransformCodecConfig():
            codec: AnyCodec = TransformCodec(config)
        case AutoencoderConfig():
            codec = Autoencoder(config)
        case VideoAutoencoderConfig():
            codec = VideoAutoencoder(config)
        case TaesdConfig():
            codec = Taesd(config)
        case DiffusersVaeConfig():
            codec = DiffusersVae(config)
    nn.Module.eval(codec)
    return codec


def codec_record(codec: AnyCodec) -> dict[str, str]:
    """What a checkpoint says of a pretrained codec, whose weights it does not hold."""
    return {"source_sha256": codec.source_sha256} if isinstance(codec, Taesd | DiffusersVae) else {}


def codec_tensors(codec: AnyCodec) -> dict[str, Tensor]:
    """Weights that a checkpoint holds: those that were learned here."""
    if isinstance(codec, Taesd | DiffusersVae):
        return {}
    return {name: value.detach().cpu() for name, value in codec.state_dict().items()}


def check_codec(codec: AnyCodec, record: Mapping[str, str]) -> None:
    """Refuse a pretrained codec that is not the one trained with.

    Raises:
        ContractError: its hash is another.
    """
    now = codec_record(codec)
    if now != dict(record):
        raise ContractError(
            f"codec has {now}; the checkpoint was trained with {dict(record)}; give the same files back"
        )


def latent_shape(codec: Codec, frames: int, height: int, width: int) -> tuple[int, int, int, int]:
    """Shape (T, C, H, W) of one clip's latent; a still of one frame has one latent frame.

    Raises:
        ConfigError: the clip's size is no multiple of the codec's steps.
    """
    time, space = codec.frames_per_latent, codec.pixels_per_latent
    alone = int(codec.first_frame_alone)
    frames = time if frames == 1 and not alone else frames
    if (frames - alone) % time or height % space or width % space:
        counted = f"1 frame and multiples of {time}" if alone else f"multiples of {time}"
        raise ConfigError(
            f"data.view is {frames} frames of {height}x{width}; {counted} frames and {space} px are allowed "
            "by the codec; change data.view or the codec"
        )
    return alone + (frames - alone) // time, codec.latent_channels, height // space, width // space


def encode_video(codec: Codec, video_BTHWC: Tensor) -> Tensor:
    """Latents z_BTCHW of uint8 video; a still is shown for as many frames as one latent frame has."""
    if video_BTHWC.shape[1] == 1 and not codec.first_frame_alone:
        video_BTHWC = video_BTHWC.expand(-1, codec.frames_per_latent, -1, -1, -1)
    return codec.encode(pixels_of(video_BTHWC))


def pixels_of(video_BTHWC: Tensor) -> Tensor:
    """Uint8 video to float pixels_BTCHW in [-1, 1]."""
    return video_BTHWC.movedim(-1, 2).float() / 127.5 - 1


def video_of(pixels_BTCHW: Tensor) -> Tensor:
    """Pixels in [-1, 1] (clipped) to uint8 video_BTHWC."""
    return ((pixels_BTCHW.clamp(-1, 1) + 1) * 127.5).round().byte().movedim(2, -1)
