import pytest
import torch

from shards.errors import ConfigError
from train.models.adm_unet import AdmUNetConfig
from train.models.sites import Conditioning, site_names
from train.models.temporal import BySiteConfig, ConvMixerConfig, NoMixerConfig
from train.models.temporal_attention import AttentionMixerConfig, TransformerMixerConfig
from train.models.temporal_conv import ConvStackMixerConfig, ShiftMixerConfig
from train.models.trunk import build_trunk
from train.models.unet import UNetConfig

PLAIN = AdmUNetConfig(channels=(8, 16), blocks_per_level=1, attention_levels=(1,), num_heads=2, norm_groups=4)
TRANSFORMER = PLAIN.model_copy(update={"attention": "transformer", "modulation": "add"})
COMPACT = UNetConfig(channels=(8, 16), modulation_width=32, num_heads=2, middle_attention=False)
MIXERS = {
    "conv": ConvMixerConfig(),
    "shift": ShiftMixerConfig(),
    "attention": AttentionMixerConfig(num_heads=2, positions="relative"),
    "transformer": TransformerMixerConfig(num_heads=2, norm_groups=4),
    "by_site": BySiteConfig(
        enter=TransformerMixerConfig(num_heads=2, norm_groups=4),
        block=ConvStackMixerConfig(norm_groups=4),
        inner=AttentionMixerConfig(num_heads=2, positions="relative", bias=False),
        attention=AttentionMixerConfig(num_heads=2, positions="bias", norm="group", norm_groups=4),
    ),
}
T = 3


def trunk_of(config, mixer=None, text_width: int = 0):
    torch.manual_seed(0)
    return build_trunk(config, mixer or NoMixerConfig(), 4, 4, text_width)


def inputs(width: int = 32, text_width: int = 0, clips: int = 2) -> tuple[torch.Tensor, Conditioning]:
    generator = torch.Generator().manual_seed(1)
    x_NCHW = torch.randn(clips * T, 4, 8, 8, generator=generator).contiguous(memory_format=torch.channels_last)
    words_BLD = torch.randn(clips, 5, text_width, generator=generator) if text_width else None
    return x_NCHW, Conditioning(torch.randn(clips * T, width, generator=generator), words_BLD, T)


def inflated(config, mixer, text_width: int):
    """An image net with drawn weights, and the video net that has the same and mixers besides."""
    image = trunk_of(config, None, text_width)
    generator = torch.Generator().manual_seed(2)
    for parameter in image.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    video = trunk_of(config, mixer, text_width)
    left_out = video.load_state_dict(image.state_dict(), strict=False)
    assert not left_out.unexpected_keys
    assert left_out.missing_keys
    assert all("time." in name for name in left_out.missing_keys)  # only mixers are new
    return image.eval(), video.eval()


@pytest.mark.parametrize("mixer", MIXERS)
@pytest.mark.parametrize("attention", ["plain", "transformer", "compact"])
def test_an_inflated_net_on_frames_is_the_image_net_on_each_frame(attention, mixer):
    config = {"plain": PLAIN, "transformer": TRANSFORMER, "compact": COMPACT}[attention]
    if mixer == "by_site" and attention != "transformer":
        pytest.skip("by_site has an inner mixer, which the config refuses here")
    text_width = 6 if attention == "transformer" else 0
    image, video = inflated(config, MIXERS[mixer], text_width)
    x_NCHW, given = inputs(text_width=text_width)
    with torch.no_grad():
        whole = video(x_NCHW, given)
        assert torch.equal(whole, image(x_NCHW, given))  # merged frames: the same operations
        for number in range(len(x_NCHW)):
            words = None if given.words_BLD is None else given.words_BLD[number // T][None]
            frame = image(x_NCHW[number][None], Conditioning(given.film_ND[number][None], words, 1))
            assert torch.allclose(whole[number], frame[0], atol=1e-5)


def test_the_output_is_zero_at_the_start_and_has_the_shape_of_the_latent():
    output = trunk_of(PLAIN, MIXERS["attention"])(*inputs())
    assert output.shape == (6, 4, 8, 8)
    assert output.abs().max() == 0


def test_sites_are_named_by_level():
    names = list(site_names(trunk_of(PLAIN)))
    assert [(site.name, site.kind, site.level, site.channels) for site in names] == [
        ("down.0.block", "block", 0, 8),
        ("down.1.block", "block", 1, 16),
        ("down.1.attention", "attention", 1, 16),
        ("up.0.block", "block", 1, 16),
        ("up.0.attention", "attention", 1, 16),
        ("up.1.block", "block", 1, 16),
        ("up.1.attention", "attention", 1, 16),
        ("up.2.block", "block", 0, 8),
        ("up.3.block", "block", 0, 8),
        ("shrink.0", "down", 0, 8),
        ("grow.0", "up", 1, 16),
        ("middle.0.block", "block", 1, 16),
        ("middle.0.attention", "attention", 1, 16),
        ("middle.1.block", "block", 1, 16),
    ]
    assert [site.name for site in site_names(trunk_of(COMPACT))][:2] == ["down.0.space", "down.1.space"]


def test_every_named_site_is_a_module_of_the_trunk():
    trunk = trunk_of(TRANSFORMER, MIXERS["by_site"], 6)
    modules = dict(trunk.named_modules())
    assert all(site.name in modules for site in site_names(trunk))


def test_text_reaches_the_output_through_the_transformer_only():
    _, video = inflated(TRANSFORMER, MIXERS["by_site"], 6)
    x_NCHW, given = inputs(text_width=6)
    assert given.words_BLD is not None
    other = Conditioning(given.film_ND, given.words_BLD.flip(0), T)
    assert (video(x_NCHW, given) - video(x_NCHW, other)).abs().max() > 1e-4


def test_heads_and_levels_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="exactly one is allowed"):
        AdmUNetConfig(num_heads=4, head_width=64)
    with pytest.raises(ValueError, match="0 to 1 are allowed"):
        AdmUNetConfig(channels=(32, 64), attention_levels=(2,))
    with pytest.raises(ConfigError, match=r"trunk\.norm_groups is 32; a divisor of the 8 channels"):
        trunk_of(PLAIN.model_copy(update={"norm_groups": 32}))


def test_mixers_without_a_site_are_refused_with_the_reason():
    with pytest.raises(ValueError, match="transformer is allowed, which has an inside"):
        PLAIN.check_mixer(MIXERS["by_site"])
    with pytest.raises(ValueError, match="one site per block; a single mixer is allowed"):
        COMPACT.check_mixer(MIXERS["by_site"])
    TRANSFORMER.check_mixer(MIXERS["by_site"])
