from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.media.keyframes import KeyPackets, num_key_frames
from tests.curate.videos import grey_levels, moving_square, write_video


@dataclass(frozen=True)
class FakePacket:
    number: int
    is_keyframe: bool = True


def chosen(num_seen: int, num_kept: int, num: int) -> list[int]:
    keys = KeyPackets(num_kept)
    for number in range(num_seen):
        keys.offer(FakePacket(number))  # pyright: ignore
    return [packet.number for packet in keys.choose(num)]  # pyright: ignore


@given(st.integers(1, 500), st.integers(1, 16), st.integers(1, 16))
def test_the_choice_is_bounded_increasing_and_within_the_stream(num_seen, num_kept, num):
    numbers = chosen(num_seen, num_kept, num)
    assert 1 <= len(numbers) <= min(num, 2 * num_kept)
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < num_seen


def test_the_choice_is_spread_over_the_whole_stream():
    numbers = np.array(chosen(1000, 16, 16))
    assert numbers[0] < 100
    assert numbers[-1] > 900
    assert np.diff(numbers).max() <= 128


def test_packets_that_are_no_key_frames_are_not_kept():
    keys = KeyPackets(4)
    for number in range(20):
        keys.offer(FakePacket(number, is_keyframe=number % 10 == 0))  # pyright: ignore
    assert [packet.number for packet in keys.choose(4)] == [0, 10]  # pyright: ignore


@pytest.mark.parametrize(("num_packets", "expected"), [(1, 1), (24, 1), (50, 2), (400, 16), (100_000, 16)])
def test_at_most_four_percent_are_decoded_but_always_one(num_packets, expected):
    assert num_key_frames(num_packets, 16, 0.04) == expected


def columns_of(child, path) -> dict:
    return child.call("probe", path=str(path))["columns"]


def test_scores_of_flat_grey_key_frames_are_their_levels(media_child, tmp_path):
    levels = [level for level in (40, 40, 200, 80) for _ in range(25)]
    path = write_video(tmp_path / "a.mp4", grey_levels(levels), options={"g": "25", "keyint_min": "25", "crf": "1"})
    columns = columns_of(media_child, path)
    luma = [16 + level * 219 / 255 for level in (40, 40, 200, 80)]
    assert columns["key_luma_mean"] == pytest.approx(np.mean(luma), abs=1.5)
    assert columns["key_luma_std"] == pytest.approx(0, abs=0.5)
    assert columns["key_change"] == pytest.approx(luma[2] - luma[1], abs=1.5)


def test_one_key_frame_has_no_change(media_child, tmp_path):
    assert columns_of(media_child, write_video(tmp_path / "a.mp4", moving_square(10)))["key_change"] is None


def test_intra_only_video_decodes_four_percent_and_no_more(media_child, tmp_path):
    path = write_video(tmp_path / "a.avi", moving_square(100), codec="mjpeg", pix_fmt="yuvj420p")
    assert media_child.call("probe", path=str(path))["decoded_frames"] == 4
