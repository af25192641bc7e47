"""Curves: an axis from zero, numbers one can derive."""

import pytest

from reelmill.curves import curve


def test_a_curve_starts_left_and_ends_right_at_its_loss():
    found = curve([[0, 4.0], [10, 4.0], [20, 4.0]])
    assert found
    assert found.points == found.smooth == "0.00,0.00 50.00,0.00 100.00,0.00"
    assert (found.last_step, found.last_value) == (20, pytest.approx(4.0))


def test_a_curve_needs_two_finite_losses():
    assert curve([]) is None
    assert curve([[0, 1.0], [1, float("nan")]]) is None


def test_without_smoothing_a_curve_keeps_its_values():
    found = curve([[0, 0.0], [1, 2.0], [2, 4.0]], smoothing=0)
    assert found is not None
    assert found.smooth == found.points == "0.00,100.00 50.00,50.00 100.00,0.00"
    assert (found.first_step, found.last_step, found.last_value) == (0, 2, 4.0)
