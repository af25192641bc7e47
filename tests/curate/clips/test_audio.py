"""Sound in step: a track of clicks, each of another pitch, is found again where it must be."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from curate.clips.audio import AudioNotInStep, check_in_step
from curate.media.opening import ffmpeg_path
from reelmill.bench.clip_judge import Truth, judge, read_truth
from reelmill.bench.clip_matrix import AUDIO_RATE, clicks, draw, quick_matrix
from tests.curate.clips.matrix_cuts import cutter
from tests.curate.videos import ffmpeg

FRAME_SAMPLES = 1024  # of AAC
HEARD = [source for source in quick_matrix() if source.has_audio]  # AAC, MP2, Opus; MP4, TS, Matroska, WebM, MOV


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sound")


@pytest.fixture
def cut(media_child, tmp_path):
    return cutter(media_child, tmp_path)


def pcm(path: Path) -> np.ndarray:
    """The presented sound, float32 mono, by the ffmpeg binary."""
    command = [ffmpeg_path(), "-nostdin", "-v", "error", "-i", str(path), "-map", "0:a", "-ac", "1", "-f", "f32le", "-"]
    return np.frombuffer(subprocess.run(command, check=True, capture_output=True).stdout, np.float32)


def lag_samples(sound: np.ndarray, truth: Truth, first: int) -> int:
    """Samples by which a clip's sound comes late, by cross-correlation with what was drawn, up to 0.4 s."""
    start_s = float((truth.pts_N[first] - truth.pts_N[0]) * truth.time_base)
    reach = int(0.4 * AUDIO_RATE)
    wanted = clicks(start_s + np.arange(-reach, len(sound) + reach) / AUDIO_RATE)
    size = len(wanted) + len(sound)
    product = np.fft.rfft(wanted, size) * np.conj(np.fft.rfft(sound, size))
    return reach - int(np.fft.irfft(product, size)[: 2 * reach].argmax())


@pytest.mark.parametrize("mode", ["copy", "encode"])
@pytest.mark.parametrize("source", HEARD, ids=lambda source: source.name)
def test_sound_is_kept_in_step_within_a_frame_of_it(source, mode, folder, cut):
    truth = read_truth(draw(source, folder), source.stream_index)
    for first, last in [(0, 30), (65, 96)]:
        result = cut(truth, first, last, mode=mode, audio="keep")
        assert judge(result.path, truth, first, last).is_exact
        start_pts, end_pts = truth.span(first, last)
        sound = pcm(result.path)
        assert abs(lag_samples(sound, truth, first)) <= FRAME_SAMPLES
        assert abs(len(sound) - float((end_pts - start_pts) * truth.time_base) * AUDIO_RATE) <= FRAME_SAMPLES
        if source.codec in ("h264", "hevc", "vp9"):
            assert result.mode == mode


def test_sound_is_dropped_unless_asked_for(folder, cut):
    truth = read_truth(draw(HEARD[0], folder), HEARD[0].stream_index)
    with av.open(str(cut(truth, 0, 30).path)) as container:
        assert len(container.streams) == 1


def test_a_source_without_sound_gives_clips_without(folder, cut):
    source = next(one for one in quick_matrix() if not one.has_audio)
    result = cut(read_truth(draw(source, folder), source.stream_index), 0, 30, audio="keep")
    with av.open(str(result.path)) as container:
        assert len(container.streams) == 1


@pytest.mark.parametrize("mode", ["copy", "encode"])
def test_where_sound_ends_early_there_is_silence(mode, folder, cut, tmp_path):
    whole, short = draw(HEARD[0], folder), tmp_path / "short.mp4"
    half = ("-i", str(whole), "-t", "1.5", "-i", str(whole))
    ffmpeg(*half, "-map", "0:v", "-map", "1:a", "-c", "copy", str(short))
    truth = read_truth(short, 0)
    for first, last in [(30, 65), (65, 96)]:  # sound ends within the first, before the second
        sound = pcm(cut(truth, first, last, mode=mode, audio="keep").path)
        assert abs(len(sound) - (last - first) * AUDIO_RATE / 25) <= FRAME_SAMPLES
        assert np.abs(sound[-AUDIO_RATE // 4 :]).max() < 1e-3


def test_sound_of_another_length_is_refused(folder):
    path = draw(HEARD[0], folder)
    with pytest.raises(AudioNotInStep, match="48000 are planned"):
        check_in_step(path, Fraction(1))
