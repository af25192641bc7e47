import math

import pytest
import torch
from pydantic import TypeAdapter

from shards.errors import ConfigError
from train.models.temporal import BySiteConfig, MixerConfig, SiteMixerConfig, build_mixer, by_site
from train.models.temporal_attention import RelativeTable, TimeAttention, distance_buckets, visible

KINDS = [
    {"kind": "conv"},
    {"kind": "conv", "causal": True},
    {"kind": "conv_stack", "norm_groups": 4},
    {"kind": "conv_stack", "norm_groups": 4, "causal": True, "kernel": 5},
    {"kind": "attention", "num_heads": 2},
    {"kind": "attention", "num_heads": 2, "norm": "group", "norm_groups": 4, "positions": "relative"},
    {"kind": "attention", "num_heads": 2, "positions": "relative", "released_order": True},
    {"kind": "attention", "num_heads": 2, "positions": "bias", "causal": True, "window": 1},
    {"kind": "transformer", "num_heads": 2, "norm_groups": 4, "positions": "none", "head_width": 3},
    {"kind": "transformer", "num_heads": 2, "norm_groups": 4, "causal": True},
    {"kind": "shift"},
    {"kind": "none"},
]


def mixer_of(channels: int = 16, **values):
    torch.manual_seed(0)
    config: SiteMixerConfig = TypeAdapter(SiteMixerConfig).validate_python(values)
    return build_mixer(config, channels)


def frames_that_hear(mixer, heard: int, num_frames: int = 6) -> list[int]:
    """Frames whose output changes when one frame changes, all weights drawn."""
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    x_NCHW = torch.randn(num_frames, 16, 2, 2, generator=torch.Generator().manual_seed(1))
    moved_NCHW = x_NCHW.clone()
    moved_NCHW[heard] += 1 + torch.rand(16, 2, 2, generator=torch.Generator().manual_seed(2))
    change_N = (mixer(moved_NCHW, num_frames) - mixer(x_NCHW, num_frames)).flatten(1).abs().amax(1)
    return [frame for frame, change in enumerate(change_N.tolist()) if change > 1e-5]


@pytest.mark.parametrize("values", KINDS, ids=str)
def test_every_mixer_is_exactly_the_identity_at_the_start(values):
    x_NCHW = torch.randn(8, 16, 3, 2)
    assert torch.equal(mixer_of(**values)(x_NCHW, 4), x_NCHW)
    channels_last = x_NCHW.contiguous(memory_format=torch.channels_last)
    assert torch.equal(mixer_of(**values)(channels_last, 4), x_NCHW)


@pytest.mark.parametrize("values", [values for values in KINDS if values["kind"] != "none"], ids=str)
def test_no_mixer_is_the_identity_if_its_weights_are_drawn(values):
    x_NCHW = torch.randn(8, 16, 3, 2)
    assert not torch.equal(mixer_of(**{**values, "init": "random"})(x_NCHW, 4), x_NCHW)


@pytest.mark.parametrize(
    ("values", "heard_by"),
    [
        ({"kind": "conv"}, [1, 2, 3]),
        ({"kind": "conv", "kernel": 5}, [0, 1, 2, 3, 4]),
        ({"kind": "conv", "kernel": 5, "causal": True}, [2, 3, 4, 5]),
        ({"kind": "conv_stack", "norm_groups": 4, "causal": True, "num_layers": 2}, [2, 3, 4, 5]),
        ({"kind": "conv_stack", "norm_groups": 4, "num_layers": 1}, [0, 1, 2, 3, 4, 5]),  # its norm sees the clip
        ({"kind": "attention", "num_heads": 2}, [0, 1, 2, 3, 4, 5]),
        ({"kind": "attention", "num_heads": 2, "causal": True}, [2, 3, 4, 5]),
        ({"kind": "attention", "num_heads": 2, "window": 1}, [1, 2, 3]),
        ({"kind": "attention", "num_heads": 2, "window": 1, "causal": True, "positions": "relative"}, [2, 3]),
        ({"kind": "shift"}, [1, 2, 3]),
        ({"kind": "shift", "causal": True}, [2, 3]),
    ],
    ids=str,
)
def test_a_change_in_frame_two_is_heard_as_far_as_the_mixer_reaches(values, heard_by):
    assert frames_that_hear(mixer_of(**values), heard=2) == heard_by


@pytest.mark.parametrize("positions", ["none", "sinusoidal", "relative", "bias"])
def test_attention_tells_order_by_its_positions_alone(positions):
    mixer = mixer_of(kind="attention", num_heads=2, positions=positions, init="random")
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x_NCHW = torch.randn(5, 16, 1, 1)
    backwards = mixer(x_NCHW.flip(0), 5).flip(0)
    assert torch.allclose(backwards, mixer(x_NCHW, 5), atol=1e-5) == (positions == "none")


def test_shifted_channels_come_from_the_frames_beside():
    mixer = mixer_of(channels=4, kind="shift", share=0.5, init="random")
    x_NCHW = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])[..., None, None]
    assert mixer(x_NCHW, 3)[..., 0, 0].tolist() == [[0, 6, 3, 4], [1, 10, 7, 8], [5, 0, 11, 12]]


def test_a_relative_table_gives_the_vector_of_the_clipped_distance():
    table = RelativeTable(max_distance=1, width=1)
    table.table.data = torch.tensor([[-1.0], [0.0], [1.0]])
    assert table(3)[..., 0].tolist() == [[0, 1, 1], [-1, 0, 1], [-1, -1, 0]]


@pytest.mark.parametrize("released", [False, True])
def test_relative_attention_is_the_sum_of_its_paper_or_that_of_the_released_code(released):
    """Shaw et al. 2018, eq. 3 and 4, written out; released: q of the other frame, scaled by D^-1/4."""
    config: SiteMixerConfig = TypeAdapter(SiteMixerConfig).validate_python(
        {"kind": "attention", "num_heads": 1, "positions": "relative", "max_distance": 2, "released_order": released}
    )
    torch.manual_seed(0)
    attention = TimeAttention(config, 4, 1, bias=True)  # pyright: ignore[reportArgumentType] (it is an AttentionMixerConfig)
    attention.released_order = released
    torch.nn.init.eye_(attention.last.weight)
    x_TC = torch.randn(3, 4)
    h_TC = attention.norm(x_TC)
    query_TD, (key_TD, value_TD) = attention.query(h_TC), attention.key_value(h_TC).chunk(2, dim=-1)
    assert attention.keys is not None
    assert attention.values is not None
    keys_TUD, values_TUD = attention.keys(3), attention.values(3)
    expected_TD = torch.zeros(3, 4)
    for t in range(3):
        scores = []
        for u in range(3):
            score = query_TD[t] @ key_TD[u] / 2
            score += query_TD[u] @ keys_TUD[u, t] / math.sqrt(2) if released else query_TD[t] @ keys_TUD[t, u] / 2
            scores.append(score)
        weights = torch.stack(scores).softmax(0)
        for u in range(3):
            expected_TD[t] += weights[u] * (value_TD[u] + values_TUD[t, u])
    assert torch.allclose(attention.branch_over_time(x_TC[None, :, None])[0, :, 0], expected_TD, atol=1e-6)


def test_buckets_are_exact_near_and_shared_far_away():
    distance = torch.tensor([-40, -3, -1, 0, 1, 3, 7, 8, 31, 40])
    assert distance_buckets(distance, 32, 32).tolist() == [15, 3, 1, 0, 17, 19, 23, 24, 31, 31]


def test_what_is_visible_is_a_band():
    like = torch.zeros(1)
    assert visible(3, False, None, like) is None
    assert visible(3, False, 2, like) is None  # the window holds the clip
    seen = visible(3, True, 1, like)
    assert seen is not None
    assert (seen == 0).tolist() == [[True, False, False], [True, True, False], [False, True, True]]


def test_a_single_mixer_is_laid_out_over_the_sites():
    def laid(kind: str) -> BySiteConfig:
        places = by_site(TypeAdapter(MixerConfig).validate_python({"kind": kind}))
        assert isinstance(places, BySiteConfig)
        return places

    assert (laid("conv").block.kind, laid("conv").attention.kind) == ("conv", "none")
    assert (laid("attention").block.kind, laid("attention").attention.kind) == ("none", "attention")


def test_mixers_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="relative is allowed"):
        mixer_of(kind="attention", positions="bias", released_order=True)
    with pytest.raises(ConfigError, match="num_heads is 3; a divisor of the 16 channels"):
        mixer_of(kind="attention", num_heads=3)
    with pytest.raises(ValueError, match="by_site has 0 mixers"):
        TypeAdapter(MixerConfig).validate_python({"kind": "by_site"})
