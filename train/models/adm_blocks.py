"""Blocks of the ADM U-Net: resizing, spatial attention, spatial transformer."""

from torch import Tensor, nn
from torch.nn import functional

from train.models.layers import (
    Attention,
    FeedForward,
    channels_first,
    channels_last,
    check_divides,
    norm_over_clip,
    zeroed,
)
from train.models.sites import Conditioning, Site, words_of_frames
from train.models.temporal import BySiteConfig, NoMixerConfig, build_mixer
from train.models.temporal_conv import Mixer


class Down(Site):
    """Half the size by a strided convolution."""

    kinds = (("", "down"),)

    def __init__(self, channels: int, level: int) -> None:
        super().__init__()
        self.level, self.channels = level, channels
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """The smaller picture."""
        return self.conv(x_NCHW)


class Up(Site):
    """Twice the size by repetition, then a convolution."""

    kinds = (("", "up"),)

    def __init__(self, channels: int, level: int) -> None:
        super().__init__()
        self.level, self.channels = level, channels
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: Tensor, given: Conditioning) -> Tensor:
        """The larger picture."""
        return self.conv(functional.interpolate(x_NCHW, scale_factor=2.0, mode="nearest"))


class PlainAttention(nn.Module):
    """Attention among the places of one frame (Dhariwal and Nichol 2021, section 3)."""

    def __init__(self, channels: int, num_heads: int, norm_groups: int) -> None:
        super().__init__()
        self.attention = Attention(channels, num_heads, norm_groups=norm_groups)

    def forward(self, x_NCHW: Tensor, given: Conditioning, normed_frames: int = 1) -> Tensor:
        """Attend; text does not enter here, and each frame has its own norm."""
        x_NHWC = channels_last(x_NCHW)
        return channels_first(self.attention(x_NHWC.flatten(1, 2)).unflatten(1, x_NHWC.shape[1:3]))


class SpatialTransformer(nn.Module):
    """Attention to places, to text, feed-forward (Rombach et al. 2022, table 16); mixers may stand between them."""

    def __init__(
        self, channels: int, num_heads: int, norm_groups: int, text_width: int, mixers: BySiteConfig | NoMixerConfig
    ) -> None:
        super().__init__()
        inner = mixers.inner if isinstance(mixers, BySiteConfig) else mixers
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.first = nn.Linear(channels, channels)
        self.places = Attention(channels, num_heads, bias=False)
        self.places_time = build_mixer(inner, channels)
        self.words = Attention(channels, num_heads, text_width, bias=False) if text_width else None
        self.words_time = build_mixer(inner, channels)
        self.feed = FeedForward(channels)
        self.last = zeroed(nn.Linear(channels, channels))
        for attention in (self.places, self.words):  # the projection behind them makes the identity
            if attention is not None and isinstance(attention.last, nn.Linear):
                attention.last.reset_parameters()

    def forward(self, x_NCHW: Tensor, given: Conditioning, normed_frames: int = 1) -> Tensor:
        """Attend and feed forward; the first norm goes over so many frames."""
        h_NPC = self.first(channels_last(norm_over_clip(self.norm, x_NCHW, normed_frames)).flatten(1, 2))
        h_NPC = self._mixed(self.places_time, self.places(h_NPC), given)
        if self.words is not None:
            h_NPC = self.words(h_NPC, words_of_frames(given))
        h_NPC = self.last(self.feed(self._mixed(self.words_time, h_NPC, given)))
        return x_NCHW + channels_first(h_NPC.unflatten(1, x_NCHW.shape[2:]))

    def _mixed(self, mixer: Mixer, h_NPC: Tensor, given: Conditioning) -> Tensor:
        return mixer.mix(h_NPC.unflatten(0, (-1, given.num_frames))).flatten(0, 1)


def build_attention(
    kind: str, channels: int, num_heads: int, norm_groups: int, text_width: int, mixers: BySiteConfig | NoMixerConfig
) -> PlainAttention | SpatialTransformer:
    """The spatial attention of a level."""
    check_divides("trunk.norm_groups", norm_groups, channels)
    if kind == "plain":
        return PlainAttention(channels, num_heads, norm_groups)
    return SpatialTransformer(channels, num_heads, norm_groups, text_width, mixers)
