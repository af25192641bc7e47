from pathlib import Path

import pytest
import torch

from shards.errors import ConfigError, ContractError
from train import checkpoint


def save(root: Path, step: int, keep: int = 2) -> Path:
    tensors = {"model": {"w": torch.full((2,), float(step))}}
    return checkpoint.save(root, step, tensors, {"vocabulary": ["red"]}, {"step": step}, keep)


def test_what_was_saved_is_read_back(tmp_path):
    folder = save(tmp_path, 7)
    assert checkpoint.newest(tmp_path) == folder
    assert checkpoint.read_tensors(folder, "model")["w"].tolist() == [7.0, 7.0]
    assert checkpoint.read_document(folder, "vocabulary") == ["red"]
    assert checkpoint.read_record(folder) == {"step": 7}
    assert (tmp_path / "LATEST").read_text() == "step-00000007"


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step)
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-00000010", "step-00000015"]


def test_a_folder_without_commit_record_does_not_count_and_is_replaced(tmp_path):
    first = save(tmp_path, 5)
    torn = tmp_path / "step-00000010"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    assert checkpoint.newest(tmp_path) == first
    save(tmp_path, 10)
    assert checkpoint.newest(tmp_path) == torn


def test_a_flipped_bit_stops_everything(tmp_path):
    path = save(tmp_path, 5) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ContractError, match=r"model\.safetensors has sha256"):
        checkpoint.newest(tmp_path)


def test_a_missing_file_stops_everything(tmp_path):
    (save(tmp_path, 5) / "vocabulary.json").unlink()
    with pytest.raises(ContractError, match=r"vocabulary\.json has sha256 missing"):
        checkpoint.newest(tmp_path)


def test_a_run_folder_means_its_newest_checkpoint(tmp_path):
    folder = save(tmp_path / "checkpoints", 5)
    assert checkpoint.find(tmp_path) == folder
    assert checkpoint.find(folder) == folder


def test_an_empty_run_folder_says_to_train_first(tmp_path):
    with pytest.raises(ConfigError, match="train first"):
        checkpoint.find(tmp_path)
