import numpy as np
import pytest

from reelmill.bench.scan_levers import (
    DEFAULT,
    FULL,
    LEVERS,
    as_table,
    compared,
    f1,
    file_costs,
    rank_correlation,
    toy_cuts,
    verdicts,
)


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    assert f1({1, 2, 3, 4}, {1, 2, 5}) == pytest.approx(2 / (1 / (2 / 4) + 1 / (2 / 3)))
    assert f1(set(), set()) == 1
    assert f1({1}, set()) == 0


def test_rank_correlation_sees_order_only():
    assert rank_correlation([1.0, 2.0, 3.0], [10.0, 400.0, 9000.0]) == pytest.approx(1)
    assert rank_correlation([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1)
    # Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 * (0 + 0 + 1 + 1) / (4 * 15).
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.0, 3.0]) == pytest.approx(0.8)


def test_ties_share_their_rank_and_nulls_are_left_out():
    # Ranks 1.5 1.5 3 against 1 2 3.
    expected = float(np.corrcoef([1.5, 1.5, 3], [1, 2, 3])[0, 1])
    assert rank_correlation([5.0, 5.0, None, 9.0], [1.0, 2.0, 7.0, 3.0]) == pytest.approx(expected)
    assert rank_correlation([5.0, 5.0], [7.0, 7.0]) == 1
    assert rank_correlation([5.0, 5.0], [7.0, 8.0]) == 0


def test_tables_are_markdown():
    assert as_table([{"lever": "both", "decoded": 0.5}]) == [
        "| lever | decoded |",
        "| --- | --- |",
        "| both | 0.500 |",
    ]


def test_the_levers_do_not_move_a_boundary_of_a_toy_video(tmp_path, monkeypatch):
    monkeypatch.setattr("reelmill.bench.scan_levers.NUM_TOY_VIDEOS", 1)
    monkeypatch.setattr("reelmill.bench.scan_levers.NUM_TOY_SHOTS", 4)
    truths = toy_cuts(tmp_path / "toy")
    found = {name: verdicts(truths, LEVERS[name], tmp_path) for name in (FULL, DEFAULT)}
    row = compared(DEFAULT, found[DEFAULT], found[FULL], truths)
    assert row["F1 to full pass"] == 1
    assert row["left out"] > 0.2
    assert found[DEFAULT].num_frames == found[FULL].num_decoded


def test_costs_stand_against_a_decode_of_the_same_file(tmp_path, monkeypatch):
    monkeypatch.setattr("reelmill.bench.scan_levers.FILE_S", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rows = list(file_costs("h264 2.5 Mbit/s", tmp_path))
    assert [row["lever"] for row in rows] == list(LEVERS)
    assert [row["can leave out"] for row in rows] == ["-", "-", "yes", "yes", "yes"]
    assert [row["left out"] > 0 for row in rows] == [False, False, True, True, True]
    assert all(row["CPU per decode"] > 0 for row in rows)
