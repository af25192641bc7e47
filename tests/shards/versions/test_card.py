from collections.abc import Callable

import pytest
import yaml

from shards.versions.card import dataset_card
from shards.versions.manifest import Manifest

TASKS = {"text-to-video", "video-classification", "video-text-to-text"}  # of the Hub, those that could fit
SIZES = {"n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "n>10M"}


@pytest.mark.parametrize("data_files", [None, {"train": "data/train-*.tar", "validation": "data/val-*.tar"}])
def test_hugging_face_reads_the_front_matter(dataset_of: Callable[..., Manifest], data_files: dict[str, str] | None):
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed; pip install reelmill[hub]")
    text = dataset_card(dataset_of(3), data_files)
    card = hub.DatasetCard(text)  # parses, and refuses values of the wrong type
    assert isinstance(card.data, hub.DatasetCardData)
    assert card.data.to_dict() == yaml.safe_load(text.split("---\n")[1])
    assert card.data.license == "other"
    assert set(card.data.task_categories) <= TASKS
    assert set(card.data.size_categories) <= SIZES
    [config] = card.data.configs  # type: ignore[attr-defined]
    wanted = data_files or {"train": "shards/*/*.tar"}
    assert {item["split"]: item["path"] for item in config["data_files"]} == wanted
    assert card.text.lstrip().startswith("# Version 1")


def test_the_card_says_what_the_tars_hold(dataset_of: Callable[..., Manifest]):
    manifest = dataset_of(3)
    assert "Each tar holds samples of one split" in dataset_card(manifest, {"train": "data/train-*.tar"})
    assert "may\nalso hold samples that this version does not publish" in dataset_card(manifest)


@pytest.mark.parametrize(("num_samples", "size"), [(999, "n<1K"), (1000, "1K<n<10K"), (10_000_000, "n>10M")])
def test_sizes_are_those_of_the_hub(dataset_of: Callable[..., Manifest], num_samples: int, size: str):
    manifest = dataset_of(1)
    stats = manifest.stats.model_copy(update={"num_samples": num_samples})
    front = yaml.safe_load(dataset_card(manifest.model_copy(update={"stats": stats})).split("---\n")[1])
    assert front["size_categories"] == [size]
