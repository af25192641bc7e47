import itertools
import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from shards.errors import ConfigError, ContractError
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import loader
from shards.reading.mixture import MixedDataset, PartConfig, open_mixture
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)


@pytest.fixture
def roots(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> list[Path]:
    """Two datasets of 12 and of 4 samples, whose clips have the same names."""
    for name, size in (("first", 12), ("second", 4)):
        dataset_of(size, caption=f"of the {name}")
        (tmp_path / "dataset").rename(tmp_path / name)
    return [tmp_path / "first", tmp_path / "second"]


def mixture(roots: list[Path], weights: Sequence[float | None] = (None, None)) -> MixedDataset:
    return open_mixture([PartConfig(uri=str(root), weight=w) for root, w in zip(roots, weights, strict=True)])


def test_ids_go_on_from_part_to_part(roots: list[Path]):
    mixed = mixture(roots)
    parts = [open_dataset(root) for root in roots]
    assert len(mixed) == 16
    assert mixed.rows.column("id").to_pylist() == list(range(16))
    for sample_id, (part, own_id) in enumerate([(0, n) for n in range(12)] + [(1, n) for n in range(4)]):
        assert mixed.read(sample_id) == parts[part].read(own_id)
        assert mixed.row(sample_id) == parts[part].row(own_id)
        assert mixed.place(sample_id, "mp4") == f"{parts[part].place(own_id, 'mp4')} in {parts[part].store.uri}"
    assert mixed.scores("motion", np.array([11, 13])).tolist() == [1, 1]
    with pytest.raises(ConfigError, match="key is 'nobody'; no sample has this name"):
        mixed.find("nobody")


def test_without_weights_an_epoch_shows_every_sample_once(roots: list[Path]):
    plan = mixture(roots).plan(PlanConfig(global_batch=4), VIEW)
    shown = [sample for step in range(4) for sample in plan.batch(0, step).ids_B.tolist()]
    assert sorted(shown) == list(range(16))


def test_weights_are_shares_of_what_an_epoch_shows(roots: list[Path]):
    plan = mixture(roots, [1.0, 3.0]).plan(PlanConfig(global_batch=4), VIEW)
    assert plan.steps_per_epoch == 4
    for epoch in range(5):
        shown = Counter(int(sample) for step in range(4) for sample in plan.batch(epoch, step).ids_B)
        assert sum(count for sample, count in shown.items() if sample < 12) == 4
        assert [shown[sample] for sample in range(12, 16)] == [3, 3, 3, 3]


def test_a_weight_of_samples_counts_within_their_dataset(roots: list[Path]):
    config = PlanConfig(global_batch=6, weight="CASE WHEN motion = 0 THEN 0 ELSE 1 END")
    plan = mixture(roots, [1.0, 1.0]).plan(config, VIEW)  # of 5 a shard motion is 0 to 4: 9 and 3 samples are left
    assert plan.steps_per_epoch == 2
    shown = Counter(int(sample) for epoch in range(20) for step in (0, 1) for sample in plan.batch(epoch, step).ids_B)
    assert {sample for sample in shown if sample >= 12} == {13, 14, 15}
    assert sum(count for sample, count in shown.items() if sample < 12) == 120


def test_a_loader_reads_a_mixture_and_goes_on_at_its_position(roots: list[Path]):
    mixed = pickle.loads(pickle.dumps(mixture(roots, [1.0, 1.0])))
    plan = mixed.plan(PlanConfig(global_batch=4), VIEW)
    whole = list(itertools.islice(loader(mixed, plan, VIEW), 3))
    for batch in whole:
        named = ["of the first" if sample < 12 else "of the second" for sample in batch.ids.tolist()]
        assert batch.captions == named
    again = next(iter(loader(mixed, plan, VIEW, state=whole[1].position)))
    assert torch.equal(again.video_BTHWC, whole[2].video_BTHWC)


def test_a_position_pins_every_manifest(tmp_path: Path, roots: list[Path], dataset_of: Callable[..., Manifest]):
    mixed = mixture(roots)
    config = PlanConfig(global_batch=4)
    state = next(iter(loader(mixed, mixed.plan(config, VIEW), VIEW))).position
    assert len(state.model_dump_json()) < 300
    dataset_of(4, caption="changed")
    other = mixture([roots[0], tmp_path / "dataset"])
    with pytest.raises(ContractError, match="resume with the version"):
        loader(other, other.plan(config, VIEW), VIEW, state=state)
    turned = mixture(roots[::-1])
    assert turned.manifest_sha256 != mixed.manifest_sha256
    weighed = mixture(roots, [1.0, 2.0]).plan(config, VIEW).sha256
    assert weighed != mixture(roots, [2.0, 1.0]).plan(config, VIEW).sha256


def test_weights_are_for_all_parts_or_none(roots: list[Path]):
    with pytest.raises(ConfigError, match="2 datasets, 1 of them with a weight"):
        mixture(roots, [1.0, None])
    with pytest.raises(ConfigError, match="0 datasets"):
        open_mixture([])


def test_a_part_that_shows_nothing_is_named(roots: list[Path]):
    with pytest.raises(ConfigError, match=r"mix\.1 has a weight and no sample"):
        mixture(roots, [1.0, 1.0]).plan(PlanConfig(global_batch=2, where="caption LIKE '%first%'"), VIEW)


def test_columns_of_other_types_are_refused(roots: list[Path]):
    parts = [open_dataset(root) for root in roots]
    place = parts[1].rows.column_names.index("motion")
    parts[1].rows = parts[1].rows.set_column(place, "motion", pa.array(["fast"] * 4))
    with pytest.raises(ConfigError, match="columns differ"):
        MixedDataset(parts)
