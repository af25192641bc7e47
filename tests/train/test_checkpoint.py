from pathlib import Path

import pytest
import torch

from shards.errors import ConfigError, ContractError
from train import checkpoint
from train.parallel import World
from train.tensor_files import read, write

MODEL = "shard-00001-model-00001-of-00001.safetensors"


def save(root: Path, step: int, keep: int = 2) -> Path:
    folder = checkpoint.fresh(root, step)
    write(folder, {"model": {"w": torch.full((2,), float(step))}}, World(torch.device("cpu"))).result()
    checkpoint.commit(folder, {"vocabulary": ["red"]}, {"step": step}, keep)
    return folder


def test_what_was_saved_is_read_back(tmp_path):
    folder = save(tmp_path, 7)
    assert checkpoint.newest(tmp_path) == folder
    assert read(folder, "model")["w"].tolist() == [7.0, 7.0]
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
    (torn / MODEL).write_bytes(b"half")
    assert checkpoint.newest(tmp_path) == first
    save(tmp_path, 10)
    assert checkpoint.newest(tmp_path) == torn


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(tmp_path, caplog):
    first, second = save(tmp_path, 5), save(tmp_path, 10)
    flip_last_byte(second / MODEL)
    assert checkpoint.newest(tmp_path) == first
    assert f"{second / MODEL} has sha256" in caplog.text
    assert read(save(tmp_path, 10), "model")["w"].tolist() == [10.0, 10.0]  # written anew over the damage
    assert checkpoint.newest(tmp_path) == second


def test_only_damaged_checkpoints_stop_everything(tmp_path):
    flip_last_byte(save(tmp_path, 5) / MODEL)
    (save(tmp_path, 10) / "vocabulary.json").unlink()
    with pytest.raises(ContractError, match="holds 2 checkpoints, none of them whole"):
        checkpoint.newest(tmp_path)
    with pytest.raises(ContractError, match=r"vocabulary\.json has sha256 missing"):
        checkpoint.verify(tmp_path / "step-00000010")


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_run_folder_means_its_newest_checkpoint(tmp_path):
    folder = save(tmp_path / "checkpoints", 5)
    assert checkpoint.find(tmp_path) == folder
    assert checkpoint.find(folder) == folder


def test_an_empty_run_folder_says_to_train_first(tmp_path):
    with pytest.raises(ConfigError, match="train first"):
        checkpoint.find(tmp_path)
