import pytest
import torch

from shards.errors import ConfigError
from train.conditions import TextConditionConfig
from train.models.denoiser import VideoDenoiser
from train.models.temporal import AttentionMixerConfig, ConvMixerConfig, NoMixerConfig, build_mixer
from train.models.text import LevelEmbedding, TextEncoder, TextTimeFilm, WordsConfig, time_basis
from train.models.unet import UNetConfig

LATENT = (4, 6, 8, 8)
TRUNK = UNetConfig(channels=(8, 16), modulation_width=16, num_heads=2)
TEXT = WordsConfig(width=8, num_heads=2, max_words=5)
MIXERS = [ConvMixerConfig(), ConvMixerConfig(kernel=5), AttentionMixerConfig(num_heads=2), NoMixerConfig()]


def denoiser(mixer=MIXERS[0], injection: str = "film_time", trunk: UNetConfig = TRUNK, latent=LATENT) -> VideoDenoiser:
    torch.manual_seed(0)
    condition = TextConditionConfig.model_validate({"injection": injection, "layout_channels": 2, "layout_px": 4})
    return VideoDenoiser(trunk, mixer, TEXT, condition, 12, latent)


def stirred(network: VideoDenoiser) -> VideoDenoiser:
    """All zero-initialised layers get weights, so that every path carries signal."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def inputs(batch: int = 2, latent=LATENT) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    x_BTCHW = torch.randn(batch, *latent, generator=generator)
    return (
        x_BTCHW,
        torch.rand(batch, latent[0], generator=generator),
        torch.randint(2, 12, (batch, 5), generator=generator),
    )


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer.kind)
@pytest.mark.parametrize("injection", ["film_time", "cross_attention"])
def test_output_has_the_shape_of_the_latent_and_starts_at_zero(mixer, injection):
    output = denoiser(mixer, injection)(*inputs())
    assert output.shape == (2, *LATENT)
    assert output.abs().max() == 0


@pytest.mark.parametrize("mixer", MIXERS, ids=lambda mixer: mixer.kind)
def test_a_mixer_is_exactly_the_identity_at_the_start(mixer):
    x = torch.randn(8, 16, 3, 3)
    assert torch.equal(build_mixer(mixer, 16)(x, 4), x)


def test_a_convolution_over_time_sees_its_neighbours_only():
    mixer = build_mixer(ConvMixerConfig(kernel=3), 8)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(5, 8, 2, 2)
    moved = x.clone()
    moved[0] += torch.randn(8, 2, 2)
    changed = (mixer(moved, 5) - mixer(x, 5)).flatten(1).abs().amax(1) > 1e-6
    assert changed.tolist() == [True, True, False, False, False]


def test_attention_over_time_sees_every_frame_but_no_other_place():
    mixer = build_mixer(AttentionMixerConfig(num_heads=2), 8)
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x = torch.randn(5, 8, 1, 2)
    moved = x.clone()
    moved[0, :, 0, 0] += torch.randn(8)
    changed = (mixer(moved, 5) - mixer(x, 5)).abs().amax(dim=(1, 2)) > 1e-6
    assert changed[:, 0].all()
    assert not changed[:, 1].any()


def test_without_mixers_the_video_net_is_its_image_net_on_each_frame():
    network = stirred(denoiser(NoMixerConfig(), "cross_attention"))
    x, t, words = inputs()
    with torch.no_grad():
        whole = network(x, t, words)
        frames = [network(x[:, k : k + 1], t[:, k : k + 1], words) for k in range(LATENT[0])]
    # cross-attention reads words from all frames' tokens, each token for itself, so frames stay apart
    assert torch.allclose(whole, torch.cat(frames, dim=1), atol=1e-5)


@pytest.mark.parametrize("injection", ["film_time", "cross_attention"])
def test_text_reaches_the_output(injection):
    network = stirred(denoiser(injection=injection))
    x, t, words = inputs()
    assert (network(x, t, words) - network(x, t, words.flip(1))).abs().max() > 1e-4


def test_each_frame_hears_its_own_noise_level():
    network = stirred(denoiser(NoMixerConfig()))
    x, t, words = inputs()
    other = t.clone()
    other[:, 0] = 1 - other[:, 0]
    changed = (network(x, t, words) - network(x, other, words)).abs().amax(dim=(0, 2, 3, 4)) > 1e-6
    assert changed.tolist() == [True, False, False, False]


def test_time_basis_is_a_parabola_over_the_clip():
    assert time_basis(3).tolist() == [[1, -1, 1], [1, 0, 0], [1, 1, 1]]
    assert time_basis(1).tolist() == [[1, 0, 0]]


def test_text_times_time_turns_its_sign_with_the_text():
    """With P0 = P2 = 0 and P1 the identity, word -1 moves frames the other way than word +1."""
    film = TextTimeFilm(text_width=1, width=1, layout_channels=1, layout_px=1)
    film.bases.weight.data = torch.tensor([[0.0], [1.0], [0.0]])
    film.bases.bias.data.zero_()
    film_BTD, layout_BTCHW = film(torch.tensor([[[1.0]], [[-1.0]]]), 3)
    assert film_BTD[..., 0].tolist() == [[-1, 0, 1], [1, 0, -1]]
    assert layout_BTCHW.shape == (2, 3, 1, 1, 1)


def test_deeper_trunks_and_attention_at_levels_build():
    trunk = UNetConfig(
        channels=(8, 16, 16),
        blocks_per_level=2,
        middle_blocks=2,
        attention_levels=(2,),
        modulation_width=16,
        num_heads=2,
    )
    network = denoiser(trunk=trunk)
    assert network(*inputs()).shape == (2, *LATENT)


def test_a_latent_that_cannot_be_halved_is_refused():
    with pytest.raises(ConfigError, match="multiples of 2 are allowed"):
        denoiser(latent=(4, 6, 7, 8))


def test_the_layout_map_is_resized_to_the_latent():
    network = stirred(denoiser(latent=(4, 6, 6, 10)))
    assert network(*inputs(latent=(4, 6, 6, 10))).shape == (2, 4, 6, 6, 10)


def test_the_text_encoder_tells_word_order():
    encoder = TextEncoder(WordsConfig(width=8, num_heads=2, num_layers=2, max_words=3), 6)
    first, second = encoder(torch.tensor([[2, 3, 0], [3, 2, 0]]))
    assert (first - second).abs().max() > 1e-3


def test_noise_levels_have_distinct_vectors():
    vectors = LevelEmbedding(16)(torch.tensor([[0.0, 0.5, 1.0]]))
    assert vectors.shape == (1, 3, 16)
    assert torch.pdist(vectors[0]).min() > 1e-3
