"""A DataLoader of torch's own over an epoch: however its workers begin, and however many there are."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from shards.errors import ConfigError, ContractError, ReelmillError
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import Batch
from shards.reading.config import ReadingConfig
from shards.reading.epoch import EpochBatches
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)
PLAN = PlanConfig(global_batch=4, seed=3)


@pytest.fixture
def dataset(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> ShardDataset:
    """13 samples: 3 steps per epoch."""
    dataset_of(13)
    return open_dataset(tmp_path / "dataset")


def epoch_of(dataset: ShardDataset, **options: object) -> EpochBatches:
    return EpochBatches(dataset, dataset.plan(PLAN, VIEW), VIEW, **options)  # type: ignore[arg-type]


def whole(batches: EpochBatches, **options: object) -> list[Batch]:
    return list(DataLoader(batches, batch_size=None, **options))  # type: ignore[arg-type]


def same(left: list[Batch], right: list[Batch]) -> bool:
    named = [[(batch.keys, batch.position) for batch in batches] for batches in (left, right)]
    pictures = zip(left, right, strict=True)
    return named[0] == named[1] and all(torch.equal(one.video_BTHWC, other.video_BTHWC) for one, other in pictures)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than this machine has cores
@pytest.mark.parametrize(("start", "num_workers"), [("spawn", 2), ("forkserver", 1)])
def test_workers_give_the_batches_of_this_process(dataset: ShardDataset, start: str, num_workers: int):
    here = whole(epoch_of(dataset))
    assert len(here) == 3
    there = whole(epoch_of(dataset), num_workers=num_workers, multiprocessing_context=start)
    assert same(here, there)


def test_ranks_share_the_batches_of_one_and_any_sampler_finds_them(dataset: ShardDataset):
    alone = whole(epoch_of(dataset, epoch=2))
    parts = [whole(epoch_of(dataset, epoch=2, rank=rank, world=2), sampler=[2, 0, 1]) for rank in (0, 1)]
    for place, number in enumerate((2, 0, 1)):
        for rank in (0, 1):
            assert parts[rank][place].keys == alone[number].keys[rank::2]


def test_a_position_leaves_the_rest_of_its_epoch(dataset: ShardDataset):
    first = whole(epoch_of(dataset))
    rest = epoch_of(dataset, state=first[0].position)
    assert len(rest) == 2
    assert same(whole(rest), first[1:])
    assert same(whole(epoch_of(dataset, state=first[2].position)), whole(epoch_of(dataset, epoch=1)))
    with pytest.raises(ConfigError, match="epoch is 5; the state is of epoch 0"):
        epoch_of(dataset, state=first[0].position, epoch=5)
    with pytest.raises(IndexError, match="0 to 1 are left"):
        rest[2]


def test_damage_stops_or_is_replaced(dataset: ShardDataset):
    gone = dataset.rows.column("shard")[4].as_py()
    before = whole(epoch_of(dataset))
    (Path(dataset.store.uri) / gone).unlink()
    lost = [number for number in range(13) if dataset.rows.column("shard")[number].as_py() == gone]
    with pytest.raises(ReelmillError, match="is missing"):
        whole(epoch_of(dataset))
    after = whole(epoch_of(dataset, reading=ReadingConfig(on_damage="substitute")))
    for old, new in zip(before, after, strict=True):
        stands_for = {damage.sample_id: damage.substitute_id for damage in new.damages}
        assert set(stands_for) == set(old.ids.tolist()) & set(lost)
        assert new.ids.tolist() == [stands_for.get(number, number) for number in old.ids.tolist()]


def test_a_state_of_other_data_is_refused(dataset: ShardDataset):
    state = whole(epoch_of(dataset))[0].position.model_copy(update={"seed": 9})
    with pytest.raises(ContractError, match="resume with the version"):
        epoch_of(dataset, state=state)
