import pytest
import torch

from shards.errors import ContractError
from train.data import Clips
from train.denoising import StepValues
from train.parallel import World
from train.skipped import SkippedSteps, read_skipped

CLIPS = Clips(torch.zeros(2, 1, 1, 1, 3), ["a", "b"], [4, 7], ["clip4", "clip7"], 3, {})


def values(skipped: bool) -> StepValues:
    nan = torch.tensor(float("nan"))
    return StepValues(nan if skipped else torch.tensor(1.0), torch.zeros(2, 1), nan, skipped, 2, 1)


def test_a_skipped_step_is_recorded_with_its_clips(tmp_path):
    skips = SkippedSteps(tmp_path, 2, World(torch.device("cpu")))
    skips.after(5, values(False), CLIPS)
    assert read_skipped(tmp_path) == []
    skips.after(6, values(True), CLIPS)
    assert read_skipped(tmp_path) == [{"step": 6, "epoch": 3, "loss": None, "keys": ["clip4", "clip7"]}]


def test_a_run_that_only_skips_ends(tmp_path):
    skips = SkippedSteps(tmp_path, 2, World(torch.device("cpu")))
    skips.after(1, values(True), CLIPS)
    skips.after(2, values(False), CLIPS)  # counts anew
    skips.after(3, values(True), CLIPS)
    with pytest.raises(ContractError, match="2 steps in a row up to 4 were not finite"):
        skips.after(4, values(True), CLIPS)
