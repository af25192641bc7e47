import numpy as np
import pytest

from curate.scenes.fades import FadesConfig, Gradual, find_fades

EXACT = FadesConfig(margin_frames=0)
RATE = 25.0


def fades_of(levels, blanks, cuts=(), config=EXACT) -> list[tuple[int, int]]:
    found = find_fades(np.array(levels, float), blanks, cuts, RATE, config)
    assert all(item.kind == "fade" and 0 <= item.confidence <= 1 for item in found)
    return [(item.start, item.end) for item in found]


def ramp(first: float, last: float, num_frames: int) -> list[float]:
    """Frames strictly between two levels."""
    return np.linspace(first, last, num_frames + 2)[1:-1].tolist()


def test_a_fade_reaches_from_the_last_to_the_first_full_picture():
    levels = [100] * 20 + ramp(100, 0, 9) + [0] * 5 + ramp(0, 160, 7) + [160] * 20
    assert fades_of(levels, [(29, 34)]) == [(20, 41)]


def test_a_margin_trims_the_neighbours_of_a_ramp_and_none_of_a_cut():
    levels = [100] * 20 + ramp(100, 0, 9) + [0] * 5 + [160] * 20
    assert fades_of(levels, [(29, 34)], [34], FadesConfig(margin_frames=2)) == [(18, 34)]


def test_noise_of_light_does_not_end_a_ramp():
    noise = np.random.default_rng(0).normal(0, 0.5, 50)
    levels = np.array([120] * 10 + ramp(120, 0, 25) + [0] * 15) + noise
    ((start, end),) = fades_of(levels, [(35, 50)])
    assert 6 <= start <= 11
    assert end == 50


def test_a_ramp_does_not_go_past_a_cut_behind_it():
    levels = [200] * 10 + [100] * 10 + ramp(100, 0, 9) + [0] * 5
    assert fades_of(levels, [(29, 34)], [10]) == [(20, 34)]


def test_a_ramp_of_two_frames_that_a_detector_took_for_cuts_is_followed():
    levels = [144] * 10 + [96, 48] + [0] * 3 + [26, 53] + [80] * 10
    assert fades_of(levels, [(12, 15)], [10, 12, 15]) == [(10, 17)]


def test_a_hard_cut_to_black_has_no_ramp():
    assert fades_of([90] * 10 + [0] * 10 + [90] * 10, [(10, 20)], [10, 20]) == [(10, 20)]


@pytest.mark.parametrize(
    ("level", "expected"), [(0, [(10, 20)]), (3, [(10, 20)]), (9, []), (246, []), (254, [(10, 20)])]
)
def test_dim_frames_between_hard_cuts_are_a_shot_unless_they_are_pure(level, expected):
    assert fades_of([90] * 10 + [level] * 10 + [90] * 10, [(10, 20)], [10, 20]) == expected


def test_fades_that_touch_are_one():
    levels = ramp(100, 0, 9) + [0] * 3 + ramp(0, 60, 5) + [60] + ramp(60, 0, 5) + [0] * 3 + ramp(0, 90, 9) + [90] * 9
    assert len(fades_of(levels, [(9, 12), (23, 26)], (), FadesConfig(margin_frames=1))) == 1


def test_a_ramp_is_followed_no_farther_than_the_limit():
    levels = ramp(200, 0, 200) + [0] * 10
    assert fades_of(levels, [(200, 210)], (), FadesConfig(max_ramp_s=1, margin_frames=0)) == [(175, 210)]


def test_a_deep_fade_is_surer_than_a_shallow_one():
    deep, shallow = (
        find_fades(np.array([top] * 9 + ramp(top, 0, 9) + [0.0] * 9), [(18, 27)], (), RATE, EXACT)[0]
        for top in (200, 40)
    )
    assert deep == Gradual(9, 27, "fade", 1.0)
    assert shallow.confidence == pytest.approx(36 / 128)
