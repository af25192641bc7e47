import numpy as np
import pytest
from PIL import Image

from shards.errors import ConfigError
from train.metrics import read_reports
from train.sample.generate import generate
from train.trainer import fit

PROMPT = "a red square moves left"


def test_previews_are_what_sampling_gives_and_change_no_loss(tiny, squares, tmp_path):
    fit(tiny(), tmp_path / "plain", source=squares)
    fit(
        tiny("previews.every_steps=3", f"previews.prompts=[{PROMPT}]", "previews.seed=5"),
        tmp_path / "seen",
        source=squares,
    )
    assert sorted(path.name for path in (tmp_path / "seen" / "previews").iterdir()) == [
        "step-00000003",
        "step-00000006",
    ]
    with Image.open(tmp_path / "seen" / "previews" / "step-00000006" / "000.webp") as animation:
        assert getattr(animation, "n_frames", 1) == 4
        animation.seek(2)
        drawn_HWC = np.asarray(animation.convert("RGB")).astype(int)
    sampled_HWC = generate(tmp_path / "seen", [PROMPT], [5])[0, 2].astype(int)
    assert np.abs(drawn_HWC - sampled_HWC).max() <= 1
    plain, seen = ([report.loss for report in read_reports(tmp_path / name)] for name in ("plain", "seen"))
    assert plain == seen


def test_previews_without_prompts_are_refused(tiny):
    with pytest.raises(ConfigError, match="both or neither"):
        tiny("previews.every_steps=3")
