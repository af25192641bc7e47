"""`train sample`, on a tiny model that knows text, classes, scores and given frames."""

from copy import deepcopy

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from reelmill.cli import app
from shards.config import apply_overrides, parse_config
from shards.errors import ConfigError
from tests.train.moving_square import TINY, MovingSquares
from train.config import TrainConfig
from train.trainer import fit

KNOWS = (
    "codec={kind: transform, haar_frames: 1}",
    "data.view.score_columns=[kind, motion]",
    "conditions={classes: {column: kind, num_classes: 2}, scores: [{column: motion, low: 0, high: 1}], frames: {}}",
    "budget.steps=1",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    fit(parse_config(TrainConfig, apply_overrides(deepcopy(TINY), KNOWS)), folder, source=MovingSquares())
    return folder


def sample(run, output, *options: str):
    command = ["train", "sample", str(run), "--prompt", "a red square moves left", "--output", str(output), *options]
    return CliRunner().invoke(app, command)


def test_samples_begin_with_a_picture_and_go_on_as_long_as_asked(run, tmp_path):
    Image.fromarray(np.full((40, 60, 3), 20, np.uint8)).save(tmp_path / "first.png")
    windows = ("--frames", "9", "--set", "windows.kind=autoregressive", "--set", "guidance=1")
    told = ("--class", "1", "--score", "motion=0.5", "--first-frame", str(tmp_path / "first.png"))
    result = sample(run, tmp_path, *told, *windows)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "000-a-red-square-moves-left.gif") as animation:
        assert animation.n_frames == 9  # pyright: ignore[reportAttributeAccessIssue]
        assert abs(np.asarray(animation.convert("RGB")).astype(int) - 20).max() <= 4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--score", "motion=fast"), "COLUMN=NUMBER is allowed"),
        (("--score", "light=1"), "this model knows the scores motion and classes"),
        (("--first-frame", "nowhere.png"), "a picture is allowed"),
        (("--frames", "9"), "windows is single"),
    ],
)
def test_what_the_model_cannot_do_is_said(run, tmp_path, options, reason):
    result = sample(run, tmp_path, *options)
    assert isinstance(result.exception, ConfigError)
    assert reason in str(result.exception)
