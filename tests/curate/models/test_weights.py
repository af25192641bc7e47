import hashlib
from pathlib import Path

import pytest

from curate.models.weights import ModelRef, NeededModel, missing_models, resolve, weights_sha256
from shards.config import parse_config
from shards.errors import ConfigError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Stage:
    def __init__(self, *needed: NeededModel) -> None:
        self.needed = list(needed)

    def needs(self) -> list[NeededModel]:
        return self.needed


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "head.safetensors").write_bytes(b"weights")
    monkeypatch.setenv("REELMILL_MODELS", str(folder))
    return folder


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the hub's client lays it out, with one model, and no network."""
    constants = pytest.importorskip("huggingface_hub.constants")
    snapshot = tmp_path / "hub" / "models--org--captioner" / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    refs = snapshot.parents[1] / "refs"
    refs.mkdir()
    (refs / "main").write_text(COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return snapshot


def test_a_relative_path_lies_below_the_models_folder(models):
    weights = resolve(ModelRef(path="head.safetensors"), "aesthetic.head")
    assert weights.path == models / "head.safetensors"
    assert weights.name == "head.safetensors"
    assert weights.revision == hashlib.sha256(b"weights").hexdigest()


def test_an_absolute_path_needs_no_models_folder(models, monkeypatch):
    monkeypatch.delenv("REELMILL_MODELS")
    assert resolve(ModelRef(path=str(models)), "caption.model").path == models


def test_a_relative_path_without_a_models_folder_names_variable_and_key(monkeypatch):
    monkeypatch.delenv("REELMILL_MODELS", raising=False)
    with pytest.raises(ConfigError, match=r"caption\.model\.path is 'blip2' and REELMILL_MODELS is not set"):
        resolve(ModelRef(path="blip2"), "caption.model")


def test_a_missing_path_names_key_value_and_where_it_was_looked_for(models):
    with pytest.raises(ConfigError) as caught:
        resolve(ModelRef(path="blip2"), "caption.model")
    assert str(caught.value).startswith(f"caption.model.path is 'blip2', and {models}/blip2 does not exist;")


def test_a_pin_refuses_other_weights(models):
    good = hashlib.sha256(b"weights").hexdigest()
    assert resolve(ModelRef(path="head.safetensors", pin_sha256=good), "k").revision == good
    with pytest.raises(ConfigError, match=rf"is {good}; k\.pin_sha256 allows {'0' * 64}"):
        resolve(ModelRef(path="head.safetensors", pin_sha256="0" * 64), "k")


def test_changed_weights_have_another_hash_and_moved_ones_the_same(models, tmp_path):
    folder = models / "clip"
    folder.mkdir()
    (folder / "a").write_bytes(b"1")
    before = weights_sha256(folder)
    moved = folder.rename(tmp_path / "elsewhere")
    assert weights_sha256(moved) == before
    (moved / "a").write_bytes(b"22")
    assert weights_sha256(moved) != before


@pytest.mark.parametrize("data", [{}, {"path": "a", "hub_id": "org/a"}])
def test_a_reference_is_a_path_or_a_hub_id(data):
    with pytest.raises(ConfigError, match="exactly one of path and hub_id"):
        parse_config(ModelRef, data)


def test_a_hub_id_is_taken_from_the_cache_with_its_commit(hub_cache):
    weights = resolve(ModelRef(hub_id="org/captioner"), "caption.model")
    assert (weights.name, weights.path, weights.revision) == ("org/captioner", hub_cache, COMMIT)


@pytest.mark.parametrize(
    ("download", "where"), [(True, "local cache or on the hub"), (False, "in the local cache \\(")]
)
def test_a_hub_id_that_is_nowhere_names_key_revision_and_places(hub_cache, download, where):
    with pytest.raises(ConfigError, match=rf"caption\.model\.hub_id is 'org/other' at revision 'v1'.*{where}"):
        resolve(ModelRef(hub_id="org/other", revision="v1"), "caption.model", download)


def test_all_missing_models_are_named_at_once_required_and_optional_apart(models):
    there = NeededModel("aesthetic.head", ModelRef(path="head.safetensors"), True)
    first = NeededModel("embed.clip.model", ModelRef(path="clip"), True)
    second = NeededModel("caption.model", ModelRef(path="blip2"), False)
    stages = [Stage(there, first), Stage(first, second), object()]
    assert [line.split()[0] for line in missing_models(stages)] == ["embed.clip.model.path"]
    assert [line.split()[0] for line in missing_models(stages, required=False)] == ["caption.model.path"]
