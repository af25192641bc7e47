import threading

import pytest
import torch

from train import checkpoint, saver
from train.checkpoint import CheckpointConfig
from train.parallel import World
from train.saver import Saver, newest_for_all
from train.tensor_files import read

ALONE = World(torch.device("cpu"))


def test_what_changes_after_the_call_is_not_in_the_checkpoint_and_training_need_not_wait(tmp_path, monkeypatch):
    may_commit = threading.Event()
    commit = checkpoint.commit

    def commit_later(*args):
        assert may_commit.wait(60)
        commit(*args)

    monkeypatch.setattr(saver.checkpoint, "commit", commit_later)
    weights = torch.ones(3)
    under_test = Saver(CheckpointConfig(), tmp_path, ALONE)
    under_test.save(1, {"model": {"w": weights}}, {}, {"step": 1})
    weights.zero_()
    assert newest_for_all(tmp_path, ALONE) is None  # not committed yet, and we are here
    may_commit.set()
    under_test.close()
    found = newest_for_all(tmp_path, ALONE)
    assert found == tmp_path / "step-00000001"
    assert read(tmp_path / "step-00000001", "model")["w"].tolist() == [1.0, 1.0, 1.0]


def test_a_checkpoint_that_could_not_be_written_stops_the_next_call(tmp_path, monkeypatch):
    def full(*args):
        raise OSError("no space left on device")

    monkeypatch.setattr(saver.checkpoint, "commit", full)
    under_test = Saver(CheckpointConfig(), tmp_path, ALONE)
    under_test.save(1, {"model": {"w": torch.ones(3)}}, {}, {})
    with pytest.raises(OSError, match="no space left"):
        under_test.save(2, {"model": {"w": torch.ones(3)}}, {}, {})


def test_without_beside_it_is_there_at_once(tmp_path):
    Saver(CheckpointConfig(beside=False), tmp_path, ALONE).save(1, {"model": {"w": torch.ones(1)}}, {}, {})
    assert newest_for_all(tmp_path, ALONE) == tmp_path / "step-00000001"
