"""The denoiser: noisy latent, noise level per frame and conditions in, the objective's target out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from shards.errors import ConfigError
from train.conditions import TextConditionConfig
from train.models.sites import Conditioning
from train.models.temporal import MixerConfig
from train.models.text import LevelEmbedding, TextConfig, TextTimeFilm, build_text_encoder
from train.models.trunk import TrunkConfig, build_trunk


class VideoDenoiser(nn.Module):
    """Text encoder, conditioning and trunk in one module, so that one `forward` is all that parallelism has to wrap."""

    EDGES = ("text.words", "text.place", "trunk.enter", "trunk.leave")  # where data comes in and goes out

    def __init__(
        self,
        trunk: TrunkConfig,
        mixer: MixerConfig,
        text: TextConfig,
        condition: TextConditionConfig | None,
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
            condition: how text enters; None has no text.
            vocabulary_size: words with an id; of a frozen encoder, the width of its states.
            latent_TCHW: shape of one clip's latent.
            signals: vectors of other conditions: a module from `given` to (B, T or 1, trunk.modulation_width).
            map_channels: channels of `given["maps_BTCHW"]`, which stand beside the latent at the input, last of all.
        """
        super().__init__()
        check_latent(trunk, latent_TCHW)
        channels, width = latent_TCHW[1], trunk.modulation_width
        layout, words_width = 0, 0
        self.text = None if condition is None else build_text_encoder(text, vocabulary_size)
        text_width = 0 if self.text is None else self.text.width
        self.level = LevelEmbedding(width, trunk.level_features)
        self.film = None
        if condition is not None and condition.injection == "film_time":
            layout = condition.layout_channels
            self.film = TextTimeFilm(text_width * text.max_words, width, layout, condition.layout_px)
        elif condition is not None:
            words_width = text_width
        self.signals, self.map_channels = signals, map_channels
        self.trunk = build_trunk(trunk, mixer, channels + layout + map_channels, channels, words_width)

    def forward(
        self, x_BTCHW: Tensor, level_BT: Tensor, words_BL: Tensor, given: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """What the objective's target is at x, frame by frame.

        Args:
            x_BTCHW: noisy latent.
            level_BT: noise level of each frame, in [0, 1].
            words_BL: word ids, or states of a frozen encoder [B, L, D]; not read without text.
            given: other conditions by name: what `signals` reads, and maps_BTCHW.
        """
        num_frames, told = x_BTCHW.shape[1], given or {}
        text_BLD, film_BTD = None if self.text is None else self.text(words_BL), self.level(level_BT)
        if self.signals is not None:
            film_BTD = film_BTD + self.signals(told)
        if self.film is not None:
            text_BTD, layout_BTCHW = self.film(text_BLD, num_frames)
            film_BTD = film_BTD + text_BTD
            x_BTCHW = torch.cat([x_BTCHW, _resized(layout_BTCHW, x_BTCHW).to(x_BTCHW)], dim=2)
        if self.map_channels:
            x_BTCHW = torch.cat([x_BTCHW, told["maps_BTCHW"].to(x_BTCHW)], dim=2)
        words_BLD = text_BLD if self.film is None else None
        sited = Conditioning(film_BTD.flatten(0, 1), words_BLD, num_frames)
        x_NCHW = x_BTCHW.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return self.trunk(x_NCHW, sited).unflatten(0, (-1, num_frames))


def _resized(layout_BTCHW: Tensor, like_BTCHW: Tensor) -> Tensor:
    size = like_BTCHW.shape[-2:]
    if layout_BTCHW.shape[-2:] == size:
        return layout_BTCHW
    layout_NCHW = functional.interpolate(layout_BTCHW.flatten(0, 1), size, mode="bilinear", align_corners=False)
    return layout_NCHW.unflatten(0, layout_BTCHW.shape[:2])


def check_latent(trunk: TrunkConfig, latent_TCHW: tuple[int, ...]) -> None:
    """Refuse latents that the trunk cannot halve as often as it has levels.

    Raises:
        ConfigError: their size does not fit.
    """
    step = 2 ** (len(trunk.channels) - 1)
    if latent_TCHW[2] % step or latent_TCHW[3] % step:
        raise ConfigError(
            f"latents are {latent_TCHW[2]}x{latent_TCHW[3]}; multiples of {step} are allowed by trunk.channels with "
            f"{len(trunk.channels)} levels; change data.view or trunk.channels"
        )
