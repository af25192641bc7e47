"""Damaged shards: stop, or put the same other sample in their place wherever and whenever the batch is made."""

import itertools
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from shards.errors import ContractError, ReelmillError
from shards.plans.plan import PlanConfig
from shards.plans.position import LoaderState
from shards.plans.view import ViewConfig
from shards.reading.batch import Batch, loader
from shards.reading.config import ReadingConfig
from shards.reading.damage import first_intact
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16)
PLAN = PlanConfig(global_batch=4, seed=3)
SUBSTITUTE = ReadingConfig(on_damage="substitute")


@pytest.fixture
def dataset(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> ShardDataset:
    """12 samples, 3 per shard: 3 steps per epoch."""
    dataset_of(12, per_shard=3)
    return open_dataset(tmp_path / "dataset")


def take(dataset: ShardDataset, count: int, **options: object) -> list[Batch]:
    plan = dataset.plan(PLAN, VIEW)
    return list(itertools.islice(loader(dataset, plan, VIEW, reading=SUBSTITUTE, **options), count))  # type: ignore[arg-type]


def shard_path(dataset: ShardDataset, sample_id: int) -> Path:
    return Path(dataset.store.uri) / dataset.rows.column("shard")[sample_id].as_py()


def rewrite(path: Path, data: bytes) -> None:
    path.unlink()  # the scratch file is linked to it
    path.write_bytes(data)


def flip_a_bit(dataset: ShardDataset, sample_id: int) -> None:
    path = shard_path(dataset, sample_id)
    data = bytearray(path.read_bytes())
    data[int(dataset.rows.column("mp4_offset")[sample_id].as_py()) + 100] ^= 1
    rewrite(path, bytes(data))


def truncate(dataset: ShardDataset, sample_id: int) -> None:
    """The sample and all after it in its shard are gone, as if cut at a sample's edge."""
    path = shard_path(dataset, sample_id)
    rewrite(path, path.read_bytes()[: dataset.rows.column("json_offset")[sample_id].as_py() - 512])


def remove(dataset: ShardDataset, sample_id: int) -> None:
    shard_path(dataset, sample_id).unlink()


def test_the_next_of_the_batch_that_is_intact_is_taken():
    def whole(sample_id: int) -> str:
        if sample_id in (7, 9):
            raise ContractError(f"{sample_id} is damaged")
        return f"frames of {sample_id}"

    broken: dict[int, str] = {}
    assert first_intact([5, 9, 7, 6], 1, broken, whole) == (6, "frames of 6")
    assert first_intact([5, 6, 9, 7], 3, broken, whole) == (5, "frames of 5")
    assert broken == {9: "9 is damaged", 7: "7 is damaged"}
    with pytest.raises(ContractError, match=r"all 2 samples of a batch are damaged; .* 9 is damaged"):
        first_intact([7, 9], 1, broken, whole)


@pytest.mark.parametrize(
    ("damage", "broken", "detail", "stops"),
    [
        (flip_a_bit, {4}, "checksum", r"sample 4, \.mp4"),
        (truncate, {4, 5}, "has 0 bytes", r"bytes, [0-9]+ are in the manifest; .*1 of 4 shards are damaged"),
        (remove, {3, 4, 5}, "is missing", "is missing"),
    ],
)
def test_a_damaged_sample_stops_the_run_or_is_replaced_and_the_epoch_keeps_its_length(
    dataset: ShardDataset, damage: Callable[..., None], broken: set[int], detail: str, stops: str
):
    whole = take(dataset, 3)
    damage(dataset, 4)
    with pytest.raises(ReelmillError, match=stops):
        list(itertools.islice(loader(dataset, dataset.plan(PLAN, VIEW), VIEW), 3))
    found = take(dataset, 3)
    damages = [record for batch in found for record in batch.damages]
    assert {record.sample_id for record in damages} == broken
    assert all(detail in record.detail for record in damages)
    assert set(found[-1].position.damaged) == broken
    for before, after in zip(whole, found, strict=True):
        stands_for = {record.sample_id: record.substitute_id for record in after.damages}
        assert set(stands_for.values()) <= set(before.ids.tolist()) - broken
        assert after.ids.tolist() == [stands_for.get(number, number) for number in before.ids.tolist()]
        assert after.keys == [f"clip-{number:03d}" for number in after.ids.tolist()]
        assert after.captions == [f"caption of {key}" for key in after.keys]
        intact = [place for place, number in enumerate(before.ids.tolist()) if number not in broken]
        assert torch.equal(after.video_BTHWC[intact], before.video_BTHWC[intact])


def test_ranks_replace_as_one_process_does(dataset: ShardDataset):
    remove(dataset, 4)
    for whole, *parts in zip(take(dataset, 3), *(take(dataset, 3, rank=rank, world=2) for rank in (0, 1)), strict=True):
        for rank, part in enumerate(parts):
            assert part.keys == whole.keys[rank::2]
            assert torch.equal(part.video_BTHWC, whole.video_BTHWC[rank::2])


def test_a_resumed_run_replaces_what_the_first_had_replaced_though_it_was_restored(dataset: ShardDataset):
    path = shard_path(dataset, 4)
    data = path.read_bytes()
    flip_a_bit(dataset, 4)
    whole = take(dataset, 6)
    assert whole[2].position.damaged == (4,)
    rewrite(path, data)
    stored = LoaderState(**whole[2].position.model_dump(mode="json"))
    again = take(dataset, 3, state=stored)
    assert [batch.keys for batch in again] == [batch.keys for batch in whole[3:]]
    assert [batch.position for batch in again] == [batch.position for batch in whole[3:]]


def test_the_merged_state_of_all_ranks_resumes_in_any_world_though_all_was_restored(dataset: ShardDataset):
    """Each rank has met damage of its own; together they know of both."""
    order = [number for batch in take(dataset, 3) for number in batch.ids.tolist()]
    broken = {order[0], order[5]}  # places 0 and 1 of their batches: of rank 0 and of rank 1
    intact = {sample_id: shard_path(dataset, sample_id).read_bytes() for sample_id in broken}
    for sample_id in broken:
        flip_a_bit(dataset, sample_id)
    whole = take(dataset, 9)
    states = [take(dataset, 3, rank=rank, world=2)[-1].position for rank in (0, 1)]
    assert [set(state.damaged) for state in states] == [{order[0]}, {order[5]}]
    merged = LoaderState.merged(states)
    assert set(merged.damaged) == broken
    for world in (1, 2, 4):  # of one rank's state: as long as the damage lasts
        assert resumed(dataset, states[0], world) == [batch.keys for batch in whole[3:]]
    for sample_id in broken:
        rewrite(shard_path(dataset, sample_id), intact[sample_id])
    for world in (1, 2, 4):
        assert resumed(dataset, merged, world) == [batch.keys for batch in whole[3:]]


def resumed(dataset: ShardDataset, state: LoaderState, world: int) -> list[list[str]]:
    """Keys of six global batches from a state on, put together from those of the ranks."""
    ranks = [take(dataset, 6, state=state, rank=rank, world=world) for rank in range(world)]
    return [[batch[place % world].keys[place // world] for place in range(4)] for batch in zip(*ranks, strict=True)]


def test_states_of_different_steps_are_not_merged(dataset: ShardDataset):
    first, second = (batch.position for batch in take(dataset, 2))
    with pytest.raises(ContractError, match="rank 1 is at epoch 0, step 2, rank 0 at epoch 0, step 1"):
        LoaderState.merged([first, second])


def test_each_damaged_sample_is_told_once_and_counted_each_time(
    dataset: ShardDataset, caplog: pytest.LogCaptureFixture
):
    flip_a_bit(dataset, 4)
    batches = loader(dataset, dataset.plan(PLAN, VIEW), VIEW, reading=SUBSTITUTE)
    with caplog.at_level(logging.WARNING):
        list(itertools.islice(batches, 9))
    assert batches.num_substituted == 3
    (message,) = caplog.messages
    assert message.startswith("sample clip-004 is damaged (1 so far), clip-0")


def test_no_batch_is_skipped_after_an_error(dataset: ShardDataset):
    flip_a_bit(dataset, 4)
    batches = loader(dataset, dataset.plan(PLAN.model_copy(update={"shuffle": "none"}), VIEW), VIEW)
    next(batches)
    for _ in range(2):
        with pytest.raises(ContractError, match=r"sample 4, \.mp4"):
            next(batches)
