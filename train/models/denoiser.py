"""The denoiser: noisy latent, noise level per frame and conditions in, the objective's target out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.errors import ConfigError
from train.conditions import TextConditionConfig
from train.models.sites import Conditioning
from train.models.temporal import MixerConfig
from train.models.text import LevelEmbedding, TextConfig, TextEncoder, TextTimeFilm
from train.models.trunk import TrunkConfig, build_trunk


class VideoDenoiser(nn.Module):
    """Text encoder, conditioning and trunk in one module, so that one `forward` is all that parallelism has to wrap."""

    EDGES = ("text.words", "text.place", "trunk.enter", "trunk.leave")  # where data comes in and goes out

    def __init__(
        self,
        trunk: TrunkConfig,
        mixer: MixerConfig,
        text: TextConfig,
        condition: TextConditionConfig,
        vocabulary_size: int,
        latent_TCHW: tuple[int, ...],
        *,
        signals: nn.Module | None = None,
        map_channels: int = 0,
    ) -> None:
        """Build the network.

        Args:
            trunk: spatial network.
            mixer: temporal mixer at its sites.
            text: vocabulary and encoder.
            condition: how text enters.
            vocabulary_size: words with an id.
            latent_TCHW: shape of one clip's latent.
            signals: vectors of other conditions: a module from `given` to (B, T or 1, trunk.modulation_width).
            map_channels: channels of `given["maps_BTCHW"]`, which stand beside the latent at the input.
        """
        super().__init__()
        _check_size(trunk, latent_TCHW)
        channels, width, layout = latent_TCHW[1], trunk.modulation_width, condition.layout_channels
        by_film = condition.injection == "film_time"
        self.text = TextEncoder(text, vocabulary_size)
        self.level = LevelEmbedding(width, trunk.level_features)
        self.film = TextTimeFilm(text.width * text.max_words, width, layout, condition.layout_px) if by_film else None
        self.signals, self.map_channels = signals, map_channels
        entering = channels + map_channels + (layout if by_film else 0)
        self.trunk = build_trunk(trunk, mixer, entering, channels, 0 if by_film else text.width)

    def forward(
        self,
        x_BTCHW: Tensor,
        level_BT: Tensor,
        words_BL: Tensor,
        given: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """What the objective's target is at x, frame by frame.

        Args:
            x_BTCHW: noisy latent.
            level_BT: noise level of each frame, in [0, 1].
            words_BL: word ids.
            given: other conditions by name: what `signals` reads, and maps_BTCHW.
        """
        num_frames, given = x_BTCHW.shape[1], given or {}
        text_BLD, film_BTD = self.text(words_BL), self.level(level_BT)
        if self.signals is not None:
            film_BTD = film_BTD + self.signals(given)
        if self.map_channels:
            x_BTCHW = torch.cat([x_BTCHW, given["maps_BTCHW"].to(x_BTCHW)], dim=2)
        if self.film is not None:
            text_BTD, layout_BTCHW = self.film(text_BLD, num_frames)
            film_BTD = film_BTD + text_BTD
            x_BTCHW = torch.cat([x_BTCHW, _resized(layout_BTCHW, x_BTCHW).to(x_BTCHW)], dim=2)
        sited = Conditioning(film_BTD.flatten(0, 1), text_BLD if self.film is None else None, num_frames)
        x_NCHW = x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.trunk(x_NCHW, sited).unflatten(0, (-1, num_frames))


def _resized(layout_BTCHW: Tensor, like_BTCHW: Tensor) -> Tensor:
    size = like_BTCHW.shape[-2:]
    if layout_BTCHW.shape[-2:] == size:
        return layout_BTCHW
    layout_NCHW = functional.interpolate(layout_BTCHW.flatten(0, 1), size, mode="bilinear", align_corners=False)
    return layout_NCHW.unflatten(0, layout_BTCHW.shape[:2])


def _check_size(trunk: TrunkConfig, latent_TCHW: tuple[int, ...]) -> None:
    step = 2 ** (len(trunk.channels) - 1)
    if latent_TCHW[2] % step or latent_TCHW[3] % step:
        raise ConfigError(
            f"latents are {latent_TCHW[2]}x{latent_TCHW[3]}; multiples of {step} are allowed by trunk.channels with "
            f"{len(trunk.channels)} levels; change data.view or trunk.channels"
        )
