from fractions import Fraction

import cv2
import numpy as np
import pytest
import xxhash

from curate.scores.hashes import Hashes, frames_xxh3, hamming, perceptual_hash
from curate.stage import Clip
from shards.errors import ClipTooShort
from tests.curate.scans import span_of, texture


def moving(seed: int = 1, num_frames: int = 6) -> np.ndarray:
    return np.stack([np.roll(texture(seed)[..., 0], 3 * index, axis=1) for index in range(num_frames)])


def fingerprint(grey_THW: np.ndarray, pts, time_base: Fraction) -> str:
    span = span_of(grey_THW, pts, time_base)
    return frames_xxh3(span.i420_THW, span.pts_T, span.time_base)


def test_the_perceptual_hash_is_the_sign_of_low_cosine_frequencies_about_their_median():
    small_HW = cv2.resize(texture(4)[..., 0], (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    k, n = np.arange(8)[:, None], np.arange(32)[None]
    basis = np.cos(np.pi * (2 * n + 1) * k / 64) * np.where(k == 0, np.sqrt(1 / 32), np.sqrt(2 / 32))
    low = (basis @ small_HW @ basis.T).ravel()
    bits = "".join("1" if value > np.median(low) else "0" for value in low)
    assert perceptual_hash(texture(4)[..., 0]) == f"{int(bits, 2):016x}"


def test_like_pictures_have_close_hashes_and_unlike_ones_far_ones():
    picture_HW = texture(1)[..., 0]
    smaller_HW = cv2.resize(picture_HW, (96, 56), interpolation=cv2.INTER_AREA)
    brighter_HW = cv2.convertScaleAbs(picture_HW, alpha=0.9, beta=20)
    assert hamming(perceptual_hash(picture_HW), perceptual_hash(smaller_HW)) <= 4
    assert hamming(perceptual_hash(picture_HW), perceptual_hash(brighter_HW)) <= 4
    assert hamming(perceptual_hash(picture_HW), perceptual_hash(texture(2)[..., 0])) >= 16


def test_equal_frames_at_equal_pace_have_one_fingerprint_wherever_they_lie():
    frames_THW = moving()
    mp4 = fingerprint(frames_THW, [512 * index for index in range(6)], Fraction(1, 12800))
    mkv_later = fingerprint(frames_THW, [7000 + 40 * index for index in range(6)], Fraction(1, 1000))
    assert mp4 == mkv_later


@pytest.mark.parametrize("change", ["pixel", "pace", "frame", "order"])
def test_any_difference_gives_another_fingerprint(change):
    frames_THW, pts = moving(), [40 * index for index in range(6)]
    before = fingerprint(frames_THW, pts, Fraction(1, 1000))
    changed = frames_THW.copy()
    if change == "pixel":
        changed[3, 10, 10] ^= 1
    if change == "order":
        changed[[2, 3]] = changed[[3, 2]]
    if change == "frame":
        changed, pts = changed[:-1], pts[:-1]
    if change == "pace":
        pts = [41 * index for index in range(6)]
    assert fingerprint(changed, pts, Fraction(1, 1000)) != before


def test_the_fingerprint_is_xxh3_of_shape_times_and_pixels():
    span = span_of(moving(num_frames=2))
    text = "((2, 108, 128), [0, 40000000])"
    expected = xxhash.xxh3_64(text.encode() + span.i420_THW.tobytes()).hexdigest()
    assert frames_xxh3(span.i420_THW, span.pts_T, span.time_base) == expected


def test_times_of_a_fine_time_base_do_not_overflow():
    pts = [index * 10**12 for index in range(6)]
    assert len(fingerprint(moving(), pts, Fraction(1, 10**9))) == 16


def test_the_stage_hashes_first_middle_and_last_frame():
    stage = Hashes()
    span = span_of(np.stack([texture(seed)[..., 0] for seed in (1, 2, 3)]))
    values = stage.score(Clip("c", "v", 0, span.end_pts, span.time_base, {}), span)
    assert list(values) == stage.adds.names
    expected = [perceptual_hash(texture(seed)[..., 0]) for seed in (1, 2, 3)]
    assert [values[f"phash_{place}"] for place in ("first", "mid", "last")] == expected


def test_a_clip_without_frames_has_no_fingerprint():
    span = span_of(np.zeros((0, 72, 128), np.uint8), [])
    with pytest.raises(ClipTooShort, match="hashes need 1"):
        Hashes().score(Clip("c", "v", 0, 0, Fraction(1, 25), {}), span)
