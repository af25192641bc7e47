"""Totals of invented videos whose every number is known."""

import numpy as np

from curate.ask.estimate import interval, rest_totals
from curate.ask.sampling import Stratum


def stratum(members: int, sample: list[int], first: int = 0) -> Stratum:
    return Stratum("s", list(range(first, first + members)), sample)


def test_a_measure_that_only_grows_with_its_size_is_known_exactly():
    """Two strata: 2 and 5 per unit; sizes 1 to 10."""
    sizes_MN = np.arange(1.0, 11.0)[None]
    values_MN = sizes_MN * np.where(np.arange(10) < 5, 2.0, 5.0)
    totals = rest_totals(values_MN, sizes_MN, [stratum(5, [0, 1]), stratum(5, [5, 9], first=5)], seed=0)
    assert totals.point_M.tolist() == [2 * (3 + 4 + 5) + 5 * (7 + 8 + 9)]
    assert np.ptp(totals.draw_MB) < 1e-9


def test_nothing_is_left_to_estimate_if_all_are_tried():
    totals = rest_totals(np.ones((1, 3)), np.ones((1, 3)), [stratum(3, [0, 1, 2])], seed=0)
    assert (totals.point_M.tolist(), totals.draw_MB.max()) == ([0.0], 0.0)


def test_values_of_untried_videos_are_not_read():
    values_MN = np.array([[1.0, 1.0, np.nan, np.nan]])
    assert rest_totals(values_MN, np.ones((1, 4)), [stratum(4, [0, 1])], seed=0).point_M.tolist() == [2.0]


def test_a_share_of_two_sums_is_right_because_they_share_their_choice():
    """Whatever is drawn, the second measure is half of the first."""
    rng = np.random.default_rng(0)
    first_N = rng.lognormal(0, 1, 50)
    values_MN, sizes_MN = np.stack([first_N, first_N / 2]), np.ones((2, 50))
    draw_MB = rest_totals(values_MN, sizes_MN, [stratum(50, list(range(10)))], seed=0).draw_MB
    np.testing.assert_allclose(draw_MB[1], draw_MB[0] / 2)


def test_ninety_percent_intervals_hold_the_real_sum_about_nine_times_in_ten():
    """300 worlds of 200 videos, 12 tried; costs vary by a third around size, a third of the videos give nothing."""
    hits = {"cost": 0, "kept": 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sizes_N = rng.lognormal(0, 0.5, 200)
        cost_N = sizes_N * rng.normal(1, 0.33, 200).clip(0.1)
        kept_N = sizes_N * (rng.random(200) > 1 / 3)
        sample = rng.choice(200, 12, replace=False).tolist()
        draws_MB = rest_totals(
            np.stack([cost_N, kept_N]), np.stack([sizes_N, sizes_N]), [stratum(200, sorted(sample))], seed
        ).draw_MB
        rest = sorted(set(range(200)) - set(sample))
        for name, real_N, draw_B in zip(hits, (cost_N, kept_N), draws_MB, strict=True):
            low, high = interval(draw_B, 90)
            hits[name] += low <= real_N[rest].sum() <= high
    assert all(0.84 * 300 <= number <= 0.97 * 300 for number in hits.values()), hits
