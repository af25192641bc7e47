import time

import cv2
import numpy as np
import pytest

from curate.scenes.dissolves import DissolvesConfig, find_dissolves
from tests.curate.scans import HEIGHT, WIDTH, flat, mixed, panned, texture

A, B, C = (panned(texture(seed), 60) for seed in (1, 2, 3))
EXACT = DissolvesConfig(margin_frames=0)


def found(frames, cuts=(), config=EXACT, rate: float = 25.0) -> list[tuple[int, int, str]]:
    grey = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    thumb_THW = np.stack([cv2.resize(frame, (16, 12), interpolation=cv2.INTER_AREA) for frame in grey])
    return [(item.start, item.end, item.kind) for item in find_dissolves(thumb_THW, cuts, rate, config)]


def wiped(before, after) -> list[np.ndarray]:
    edges = (np.arange(len(before)) + 1) * WIDTH // (len(before) + 1)
    return [np.where(np.arange(WIDTH)[None, :, None] < x, b, a) for a, b, x in zip(before, after, edges, strict=True)]


@pytest.mark.parametrize("num_frames", [4, 7, 12, 24, 40])
@pytest.mark.parametrize(("join", "kind"), [(mixed, "dissolve"), (wiped, "wipe")])
def test_a_transition_between_moving_shots_is_found_to_a_few_frames(join, kind, num_frames):
    both = join(A[-1:] * num_frames, B[:1] * num_frames)
    ((start, end, name),) = found(A + both + B)
    assert name == kind
    slack = 1 + num_frames // 8  # the first and the last tenth of a slow transition hardly show
    assert abs(start - 60) <= slack
    assert abs(end - 60 - num_frames) <= slack


def test_the_margin_covers_the_whole_of_a_short_transition():
    ((start, end, _),) = found(A + mixed(A[-1:] * 8, B[:1] * 8) + B, config=DissolvesConfig(margin_frames=1))
    assert start <= 60 < 68 <= end


def test_several_transitions_are_told_apart():
    frames = A + mixed(A[-1:] * 10, B[:1] * 10) + B + wiped(B[-1:] * 10, C[:1] * 10) + C
    assert [kind for _, _, kind in found(frames)] == ["dissolve", "wipe"]


@pytest.mark.parametrize("step_px", [0.5, 2, 5])
def test_a_pan_is_no_transition(step_px):
    assert found(panned(texture(4), 150, step_px)) == []


def test_a_zoom_is_no_transition():
    zoom = [cv2.resize(texture(5), None, fx=1 + i / 40, fy=1 + i / 40)[:HEIGHT, :WIDTH] for i in range(100)]
    assert found(zoom) == []


def test_a_change_of_light_is_no_transition():
    gains = np.concatenate([np.full(40, 1.0), np.linspace(1, 0.3, 30), np.full(40, 0.3)])
    assert found([cv2.convertScaleAbs(A[0], alpha=float(gain)) for gain in gains]) == []


def test_an_object_that_crosses_is_no_transition():
    frames = [A[0].copy() for _ in range(100)]
    for index, frame in enumerate(frames):
        frame[10:50, max(0, 2 * index - 40) : max(0, 2 * index)] = 230
    assert found(frames) == []


def test_a_hard_cut_is_no_transition_and_none_reaches_across_it():
    assert found(A + B) == []
    frames = A + mixed(A[-1:] * 10, B[:1] * 10) + B[:4] + C
    assert [(start, end) for start, end, _ in found(frames, cuts=[74])] in (
        [(60, 70)],
        [(61, 70)],
        [(60, 69)],
        [(61, 69)],
    )


def test_nothing_is_looked_for_beyond_the_longest_length():
    frames = A + mixed(A[-1:] * 24, B[:1] * 24) + B
    assert found(frames, config=DissolvesConfig(max_s=0)) == []
    assert len(found(frames, rate=25.0)) == 1


def test_a_video_shorter_than_any_transition_has_none():
    assert found(A[:3]) == []
    assert find_dissolves(np.zeros((0, 12, 16), np.uint8), [], 25.0, EXACT) == []


def test_blocks_do_not_hide_a_transition(monkeypatch):
    frames = A + mixed(A[-1:] * 10, B[:1] * 10) + B
    whole = found(frames)
    monkeypatch.setattr("curate.scenes.dissolves._BLOCK_FRAMES", 16)
    assert found(frames) == whole


def test_a_minute_costs_a_tenth_of_a_second_or_so():
    frames = panned(texture(1), 100, 3.0) * 18
    thumb_THW = np.stack([cv2.resize(frame[..., 1], (16, 12), interpolation=cv2.INTER_AREA) for frame in frames])
    start_s = time.process_time()
    find_dissolves(thumb_THW, range(100, 1800, 100), 30.0, DissolvesConfig())
    assert time.process_time() - start_s < 1  # 0.1 s here; slower machines exist


def test_black_alone_is_no_transition():
    assert found(flat(0, 80)) == []
