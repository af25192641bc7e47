"""A forecast on drawn clips beside the real run over the clips that were not tried."""

from pathlib import Path

import numpy as np
import pytest

from curate.ask.forecast import Forecast, forecast, one_video_per_part
from curate.ask.forecast_view import as_json, describe
from curate.ask.measured import as_array, measure
from curate.config import CurateConfig
from curate.pipeline import Pipeline
from curate.run import curate_videos
from reelmill.progress import LineProgress
from shards.config import parse_config
from shards.errors import ConfigError
from tests.curate.videos import moving_square, write_video

CONFIG = {"keep": {"motion": "luma_change >= 10"}, "scenes": {"min_clip_s": 0.5}, "run": {"workers": 1}}
NUM_VIDEOS = 18


def config() -> CurateConfig:
    return parse_config(CurateConfig, CONFIG)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares that move for one to three seconds, every third one stands still; and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        frames_THWC = moving_square(25 + number * 7 % 50, step_px=0 if number % 3 == 0 else 3 + number)
        frames_THWC[:, :8, :8] = number * 10  # no two files are equal
        write_video(folder / f"clip{number:02d}.mp4", frames_THWC)
    (folder / "noise.mp4").write_bytes(b"noise" * 100)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> Forecast:
    return forecast(config(), [str(folder)], "33%", seed=0, percent=98, progress=LineProgress())


def test_the_real_numbers_of_the_rest_lie_in_the_intervals(found: Forecast, folder: Path, tmp_path: Path):
    rest = sorted(str(path) for path in folder.glob("clip*.mp4") if str(path) not in found.sampled)
    assert len(rest) == NUM_VIDEOS - 6
    own = one_video_per_part(config())
    curate_videos(own, rest, tmp_path, LineProgress())
    real_M = as_array(list(measure(tmp_path, Pipeline.of(own)).values())).sum(axis=1)
    for (name, total), real in zip(found.totals.items(), real_M.tolist(), strict=True):
        if name not in ("model_cpu_s", "model_wall_s"):  # there is no model: the clock's noise
            slack = 1.3 if name == "media_cpu_s" else 1  # CPU seconds of the same work differ with what else runs
            assert total.rest_low / slack <= real <= total.rest_high * slack, (name, total, real)
            assert total.sample > 0
    assert found.totals["input_s"].rest == pytest.approx(found.totals["input_s"].rest_low)  # headers tell the truth
    kept_share, low, high = found.kept_share
    assert low < kept_share < high <= 1


def test_the_table_and_json_say_what_was_tried_and_what_cannot_be_opened(found: Forecast):
    text = describe(found)
    assert text.startswith("6 of 18 videos tried, seed 0; 98 % intervals")
    assert "1 inputs cannot be opened" in text
    assert "GPU-hours are 0: no model stage is configured" in text
    values = as_json(found)
    assert values["strata"] == {"h264/0/0": {"videos": 18, "sampled": 6}}
    np.testing.assert_allclose(values["totals"]["kept_s"]["all"][0], sum(values["totals"]["kept_s"]["rest"][:1]) +
                               values["totals"]["kept_s"]["sample"])  # fmt: skip


def test_one_video_is_no_sample(folder: Path):
    with pytest.raises(ConfigError, match="inputs that can be opened are 1 of 2; 2 are needed"):
        forecast(config(), [str(folder / "clip01.mp4"), str(folder / "noise.mp4")], "1%", 0, 90, LineProgress())
