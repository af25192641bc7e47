from curate.scenes.segments import ScenesConfig
from curate.scenes.unsettled import unsettled_spans
from tests.curate.scans import flat, mixed, panned, scan_of, texture

A, B = (panned(texture(seed), 40) for seed in (1, 2))


def spans_of(folder, frames, seen):
    return unsettled_spans(scan_of(folder, frames, seen=seen), ScenesConfig())


def test_a_scan_that_saw_everything_is_settled(tmp_path):
    assert spans_of(tmp_path, A + B, range(80)) == []


def test_one_shot_is_settled_from_every_second_frame(tmp_path):
    assert spans_of(tmp_path, A, range(0, 40, 2)) == []


def test_a_hidden_cut_asks_for_the_frames_that_the_detector_compares(tmp_path):
    # The cut is at 39; frames 38 and 40 were seen, and the window reaches two frames beyond both.
    assert spans_of(tmp_path, A[:39] + B, range(0, 79, 2)) == [(36, 42)]


def test_once_those_are_seen_it_is_settled(tmp_path):
    assert spans_of(tmp_path, A[:39] + B, sorted({*range(0, 79, 2), *range(36, 43)})) == []


def test_a_fade_asks_for_its_ramps_but_not_for_the_depth_of_its_black(tmp_path):
    down, up = mixed(A[20:], flat(0, 20)), mixed(flat(0, 20), B[:20])
    frames = [*A[:20], *down, *flat(0, 60), *up, *B[20:]]
    seen, wanted = set(range(0, len(frames), 2)), set()
    while spans := spans_of(tmp_path, frames, sorted(seen)):
        wanted |= {pts for first, last in spans for pts in range(first, last + 1)}
        seen |= wanted
    assert {*range(18, 41), *range(100, 122)} <= wanted
    assert not wanted & {*range(50, 90)}
