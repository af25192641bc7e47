import hashlib
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest

from reelmill.toyworld import truth
from reelmill.toyworld.encode import RECIPES
from reelmill.toyworld.make import make, make_world, truth_of
from reelmill.toyworld.plan import SHOT_DEFECTS, ToyworldConfig
from reelmill.toyworld.planner import plan_world
from reelmill.toyworld.truth import ShotTruth, VideoTruth
from reelmill.toyworld.world import combinations
from shards.errors import ConfigError

CONFIG = ToyworldConfig(num_videos=9, seed=5, shots_per_video=6, defect_share=0.4, duplicate_share=0.1)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, VideoTruth]]:
    folder = tmp_path_factory.mktemp("toyworld")
    make_world(folder, CONFIG)
    return folder, truth.load(folder)


@pytest.fixture(scope="module")
def decoded(world: tuple[Path, dict[str, VideoTruth]]) -> dict[str, tuple[np.ndarray, list[float]]]:
    folder, truths = world
    return {video: decode(folder / video) for video in truths}


@pytest.fixture(scope="module")
def frames(decoded: dict[str, tuple[np.ndarray, list[float]]]) -> dict[str, np.ndarray]:
    return {video: frames_THWC for video, (frames_THWC, _) in decoded.items()}


def decode(path: Path) -> tuple[np.ndarray, list[float]]:
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded]), [frame.time or 0.0 for frame in decoded]


def shots_with(truths: dict[str, VideoTruth], defect: str) -> list[tuple[VideoTruth, ShotTruth]]:
    found = [(video, shot) for video in truths.values() for shot in video.shots if defect in shot.defects]
    assert found, f"no shot is {defect}"
    return found


def test_each_file_decodes_to_the_frames_and_times_of_its_truth(
    world: tuple[Path, dict[str, VideoTruth]], decoded: dict[str, tuple[np.ndarray, list[float]]]
):
    folder, truths = world
    for video in truths.values():
        frames_THWC, times = decoded[video.video]
        assert frames_THWC.shape == (video.num_frames, 96, 96, 3)
        wanted = [float(video.time(frame)) for frame in range(video.num_frames)]
        np.testing.assert_allclose(np.array(times) - times[0], wanted, atol=0.0006)  # Matroska counts milliseconds
        with av.open(str(folder / video.video)) as container:
            assert container.streams.video[0].codec_context.codec.canonical_name == video.codec


def test_several_codecs_containers_and_rates_occur_and_one_rate_varies(world: tuple[Path, dict[str, VideoTruth]]):
    truths = world[1]
    assert {video.codec for video in truths.values()} == {"h264", "vp9", "hevc", "mpeg4"}
    assert {video.container for video in truths.values()} == {"mp4", "webm", "mkv", "avi", "mov"}
    assert len({recipe.rate for recipe in RECIPES}) >= 4
    varying = [video for video in truths.values() if video.is_vfr]
    assert varying
    assert all(set(np.diff(video.frame_ticks)) == {1, 2} for video in varying)


def test_h264_files_have_reordered_frames(world: tuple[Path, dict[str, VideoTruth]]):
    folder, truths = world
    video = next(video for video in truths.values() if video.codec == "h264")
    with av.open(str(folder / video.video)) as container:
        pts = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert pts != sorted(pts)


def test_shots_and_transitions_partition_the_frames(world: tuple[Path, dict[str, VideoTruth]]):
    for video in world[1].values():
        edge = 0
        for shot in video.shots:
            assert shot.transition.start_frame == edge
            assert shot.transition.end_frame == shot.start_frame
            edge = shot.end_frame
        assert edge == video.num_frames
        assert video.shots[0].transition.kind == "start"


def test_every_shot_shows_two_seconds_of_its_own(world: tuple[Path, dict[str, VideoTruth]]):
    own_s = [
        float(video.time(shot.end_frame) - video.time(shot.start_frame))
        for video in world[1].values()
        for shot in video.shots
    ]
    assert min(own_s) >= 2.0
    assert max(own_s) <= 3.0


def test_a_cut_changes_the_picture_and_frames_within_a_shot_hardly(
    world: tuple[Path, dict[str, VideoTruth]], frames: dict[str, np.ndarray]
):
    for video in world[1].values():
        green_THW = frames[video.video][..., 1].astype(np.int16)
        steps_T = np.abs(np.diff(green_THW, axis=0)).mean(axis=(1, 2))
        for shot, before in zip(video.shots[1:], video.shots, strict=False):
            if shot.transition.kind == "cut" and "dark" not in (*shot.defects, *before.defects):
                assert steps_T[shot.start_frame - 1] > 25
        quiet = [shot for shot in video.shots if "flash" not in shot.defects]
        assert max(steps_T[shot.start_frame : shot.end_frame - 1].max() for shot in quiet) < 10


def test_fades_pass_through_black_and_dissolves_do_not(
    world: tuple[Path, dict[str, VideoTruth]], frames: dict[str, np.ndarray]
):
    kinds = Counter()
    for video in world[1].values():
        for shot in video.shots:
            extent = slice(shot.transition.start_frame, shot.transition.end_frame)
            kinds[shot.transition.kind] += 1
            if shot.transition.kind == "fade":
                lumas_T = frames[video.video][extent].mean(axis=(1, 2, 3))
                assert lumas_T.min() < 4
                assert np.argmin(lumas_T) not in (0, len(lumas_T) - 1)
    assert set(kinds) == {"start", "cut", "fade", "dissolve", "wipe"}


def test_a_dissolve_mixes_and_a_wipe_shows_the_next_shot_from_the_left():
    from reelmill.toyworld.edit import join

    tail_THWC, head_THWC = np.full((3, 4, 4, 3), 200, np.uint8), np.full((3, 4, 4, 3), 100, np.uint8)
    assert join("dissolve", tail_THWC, head_THWC)[:, 0, 0, 0].tolist() == [175, 150, 125]
    assert join("wipe", tail_THWC, head_THWC)[:, 0, :, 0].tolist() == [
        [100, 200, 200, 200],
        [100, 100, 200, 200],
        [100, 100, 100, 200],
    ]


def test_dark_blurred_barred_and_still_shots_are_what_they_say(
    world: tuple[Path, dict[str, VideoTruth]], frames: dict[str, np.ndarray]
):
    def shown(video: VideoTruth, shot: ShotTruth) -> np.ndarray:
        return frames[video.video][shot.start_frame : shot.end_frame].astype(float)

    truths = world[1]
    assert all(shown(*found).mean() < 25 for found in shots_with(truths, "dark"))
    for video, shot in shots_with(truths, "border"):
        box = shot.picture_box
        assert box
        bars = np.ones((96, 96), bool)
        bars[box.top : box.bottom, box.left : box.right] = False
        assert bars.sum() == 2 * 12 * 96
        assert shown(video, shot)[:, bars].mean() < 6
        assert shown(video, shot)[:, ~bars].mean() > 40
    for video, shot in shots_with(truths, "still"):
        assert np.abs(shown(video, shot)[-1] - shown(video, shot)[0]).mean() < 8
        assert shot.combination is None
        assert shot.caption.endswith("stands still")
        assert shot.start_centre_px == shot.end_centre_px
    for video, shot in shots_with(truths, "blur"):
        assert np.abs(np.diff(shown(video, shot)[3].mean(axis=2), axis=1)).max() < 35


def test_flashes_marks_and_subtitles_are_where_the_truth_says(
    world: tuple[Path, dict[str, VideoTruth]], frames: dict[str, np.ndarray]
):
    truths = world[1]
    for video, shot in shots_with(truths, "flash"):
        lumas_T = frames[video.video][shot.start_frame : shot.end_frame].mean(axis=(1, 2, 3))
        assert [int(index) + shot.start_frame for index in np.flatnonzero(lumas_T > 215)] == list(shot.flash_frames)
    for video, shot in shots_with(truths, "subtitle"):
        box = shot.subtitle_box
        assert box
        assert 0 <= box.left < box.right <= 96
        assert 70 < box.top < box.bottom <= 96
        letters = frames[video.video][shot.start_frame + 3, box.top : box.bottom, box.left : box.right]
        assert letters.max() > 200 > 60 > letters.min()
    marked = shots_with(truths, "mark")
    assert {video.video for video, _ in marked} == {"toy_0005.mp4"}
    assert len(marked) == CONFIG.shots_per_video
    assert all(shot.mark_box == marked[0][1].mark_box for _, shot in marked)


def test_near_duplicates_repeat_a_shot_of_another_file_a_little_brighter(
    world: tuple[Path, dict[str, VideoTruth]], frames: dict[str, np.ndarray]
):
    repeats = [(video, shot) for video in world[1].values() for shot in video.shots if shot.duplicate_of]
    assert repeats
    for video, shot in repeats:
        assert shot.duplicate_of
        source = world[1][shot.duplicate_of.video]
        original = source.shots[shot.duplicate_of.shot]
        assert source.video != video.video
        assert original.caption == shot.caption
        first = frames[video.video][shot.start_frame].astype(float) - frames[source.video][original.start_frame]
        assert 5 < np.median(first) < 23


def test_the_last_file_repeats_the_first_byte_for_byte(world: tuple[Path, dict[str, VideoTruth]]):
    folder, truths = world
    copy = truths["toy_0008.mp4"]
    assert copy.duplicate_of == "toy_0000.mp4"
    assert (folder / copy.video).read_bytes() == (folder / copy.duplicate_of).read_bytes()


def test_held_out_combinations_are_not_shown_unless_asked_for():
    def shown(config: ToyworldConfig) -> Counter[str]:
        shots = [shot.shot.combination for video in plan_world(config) for shot in video.shots]
        return Counter(combination.split for combination in shots)

    assert set(shown(ToyworldConfig(num_videos=10))) == {"train"}
    assert set(shown(ToyworldConfig(num_videos=10, split="all"))) == {"train", "held_triple", "held_pair"}


def test_train_combinations_and_defects_are_shown_about_equally_often():
    videos = plan_world(ToyworldConfig(num_videos=12, seed=1))[:-1]
    shots = [shot for video in videos for shot in video.shots]
    counts = Counter(shot.shot.combination for shot in shots if not shot.duplicate_of)
    assert set(counts) == set(combinations("train"))
    assert max(counts.values()) - min(counts.values()) <= 1
    defects = Counter(defect for shot in shots for defect in shot.defects if defect != "mark")
    assert set(defects) == set(SHOT_DEFECTS)
    assert max(defects.values()) - min(defects.values()) <= 1


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path):
    def hashes(name: str, seed: int, num_workers: int) -> list[str]:
        make(tmp_path / name, 3, seed, shots_per_video=2, num_workers=num_workers)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]

    first = hashes("a", 7, 1)
    assert len(first) == 6
    assert first == hashes("b", 7, 2)
    assert not set(first) & set(hashes("c", 8, 1))


def test_truth_survives_its_file_and_finds_the_shot_of_a_span(world: tuple[Path, dict[str, VideoTruth]]):
    plans = plan_world(CONFIG)
    assert world[1] == {plan.name: truth_of(plan) for plan in plans}
    video = world[1]["toy_0001.webm"]
    shot = video.shots[3]
    start_s, end_s = float(video.time(shot.start_frame)), float(video.time(shot.end_frame))
    assert video.shot_at(start_s + 0.3, end_s - 0.1) == shot
    assert video.shot_at(start_s - 20, start_s - 10) is None


def test_a_folder_without_truth_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="make one first"):
        truth.load(tmp_path)
