import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from shards.errors import ConfigError, ContractError
from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import Batch, loader
from shards.reading.config import ReadingConfig
from shards.reading.reader import ShardDataset, open_dataset
from shards.versions.manifest import Manifest

VIEW = ViewConfig(num_frames=4, fps=4, height=12, width=16, score_columns=("motion",))
PLAN = PlanConfig(global_batch=4, seed=3)


@pytest.fixture
def dataset(tmp_path: Path, dataset_of: Callable[..., Manifest]) -> ShardDataset:
    dataset_of(11)
    return open_dataset(tmp_path / "dataset")


def take(dataset: ShardDataset, count: int, **options: object) -> list[Batch]:
    plan = dataset.plan(PLAN, VIEW)
    return list(itertools.islice(loader(dataset, plan, VIEW, **options), count))  # type: ignore[arg-type]


def test_a_batch_has_frames_captions_ids_scores_and_the_position_after_it(dataset: ShardDataset):
    batch = take(dataset, 1)[0]
    assert batch.video_BTHWC.shape == (4, 4, 12, 16, 3)
    assert batch.video_BTHWC.dtype == torch.uint8
    assert batch.captions == [f"caption of clip-{number:03d}" for number in batch.ids.tolist()]
    assert batch.keys == [f"clip-{number:03d}" for number in batch.ids.tolist()]
    assert batch.scores["motion"].tolist() == [float(number % 5) for number in batch.ids.tolist()]
    assert (batch.position.epoch, batch.position.step) == (0, 1)
    assert not batch.is_pad_B.any()


def test_captions_are_chosen_among_columns_the_same_on_every_rank(dataset: ShardDataset):
    plan = dataset.plan(PLAN.model_copy(update={"captions": {"caption": 1, "source_uri": 1}}), VIEW)
    wholes, *parts = (
        list(itertools.islice(loader(dataset, plan, VIEW, rank=rank, world=world), 4))
        for rank, world in ((0, 1), (0, 2), (1, 2))
    )
    kinds = {str(caption).split("-")[0] for batch in wholes for caption in batch.captions}
    assert kinds == {"caption of clip", "/videos/clip"}
    for rank, part in enumerate(parts):
        assert [batch.captions for batch in part] == [whole.captions[rank::2] for whole in wholes]


def test_the_position_turns_over_at_the_end_of_the_epoch(dataset: ShardDataset):
    positions = [(batch.epoch, batch.position.epoch, batch.position.step) for batch in take(dataset, 3)]
    assert positions == [(0, 0, 1), (0, 1, 0), (1, 1, 1)]


def test_a_stored_position_goes_on_exactly_also_after_a_second_resume(dataset: ShardDataset):
    whole = take(dataset, 6)
    for step in range(1, 5):
        once = take(dataset, 2, state=whole[step - 1].position)
        assert_same(once[0], whole[step])
        assert_same(take(dataset, 1, state=once[0].position)[0], whole[step + 1])


def test_two_ranks_together_see_what_one_sees(dataset: ShardDataset):
    for whole, *parts in zip(take(dataset, 4), *(take(dataset, 4, rank=rank, world=2) for rank in (0, 1)), strict=True):
        for rank, part in enumerate(parts):
            assert torch.equal(part.video_BTHWC, whole.video_BTHWC[rank::2])
            assert part.keys == whole.keys[rank::2]
            assert part.position == whole.position


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more processes than this machine has cores
def test_any_number_of_worker_processes_gives_the_same_batches(dataset: ShardDataset):
    """Five steps: two epochs and a half."""
    for here, *there in zip(
        take(dataset, 5), *(take(dataset, 5, num_workers=number) for number in (1, 3)), strict=True
    ):
        for batch in there:
            assert_same(here, batch)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize(
    "num_workers", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_worlds_of_1_2_3_4_and_8_see_the_same_global_batches(
    tmp_path: Path, dataset_of: Callable[..., Manifest], num_workers: int
):
    """30 samples in batches of 24, the rest padded: two steps an epoch; three steps, loaded by each rank of each world.

    Brightness says the frame, and a clip begins where its randomness says: equal pixels are equal choices.
    """
    dataset_of(30)
    dataset = open_dataset(tmp_path / "dataset")
    plan = dataset.plan(PlanConfig(global_batch=24, seed=3, tail="pad"), VIEW)
    wholes = list(itertools.islice(loader(dataset, plan, VIEW), 3))
    assert [len(set(whole.keys)) for whole in wholes] == [24, 24, 24]
    assert len({*wholes[0].keys, *wholes[1].keys}) == 30
    for world in (1, 2, 3, 4, 8):
        for rank in range(world):
            batches = loader(dataset, plan, VIEW, rank=rank, world=world, num_workers=num_workers)
            for whole, part in zip(wholes, itertools.islice(batches, 3), strict=True):
                assert part.keys == whole.keys[rank::world]
                assert torch.equal(part.ids, whole.ids[rank::world])
                assert torch.equal(part.video_BTHWC, whole.video_BTHWC[rank::world])
                assert torch.equal(part.is_pad_B, whole.is_pad_B[rank::world])
                assert part.captions == whole.captions[rank::world]
                assert part.position == whole.position


@pytest.mark.slow
def test_workers_that_are_spawned_give_the_same_batches(dataset: ShardDataset):
    spawned = take(dataset, 3, num_workers=1, reading=ReadingConfig(start="spawn"))
    for here, there in zip(take(dataset, 3), spawned, strict=True):
        assert_same(here, there)


def test_a_position_of_another_plan_is_refused(dataset: ShardDataset):
    state = take(dataset, 1)[0].position
    other = dataset.plan(PLAN.model_copy(update={"seed": 4}), VIEW)
    with pytest.raises(ContractError, match="resume with the version"):
        loader(dataset, other, VIEW, state=state)


def test_a_world_that_does_not_divide_the_batch_is_refused(dataset: ShardDataset):
    with pytest.raises(ConfigError, match=r"plan\.global_batch is 4; a multiple of 3 ranks"):
        take(dataset, 1, world=3)


def test_a_view_that_needs_borders_says_so_where_there_are_none(dataset: ShardDataset):
    view = VIEW.model_copy(update={"crop": "inner_box"})
    with pytest.raises(ConfigError, match="has no columns border_top, border_right"):
        loader(dataset, dataset.plan(PLAN, view), view)


def test_a_flipped_bit_stops_the_loader(tmp_path: Path, dataset: ShardDataset):
    tar = tmp_path / "dataset" / dataset.manifest.shards[0].shard.path
    data = bytearray(tar.read_bytes())
    data[int(dataset.rows.column("mp4_offset")[0].as_py()) + 100] ^= 1
    tar.unlink()
    tar.write_bytes(data)
    with pytest.raises(ContractError, match="the file is damaged"):
        take(dataset, 2)


def assert_same(left: Batch, right: Batch) -> None:
    assert torch.equal(left.video_BTHWC, right.video_BTHWC)
    assert left.keys == right.keys
    assert left.captions == right.captions
    assert left.position == right.position
    np.testing.assert_array_equal(left.scores["motion"], right.scores["motion"])
