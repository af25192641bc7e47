import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shards.errors import ConfigError
from shards.plan import BatchPlan, PlanConfig, plan_batches, sample_generator

BUCKETS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 60), min_size=1)
SIZES = st.sampled_from([1, 2, 3, 4, 6, 8, 12])


def make_plan(sizes: dict[str, int], config: PlanConfig) -> BatchPlan:
    """Bucket k holds the ids 1000 * k, 1000 * k + 1, …"""
    return BatchPlan({name: 1000 * place + np.arange(size) for place, (name, size) in enumerate(sizes.items())}, config)


def epoch_of(plan: BatchPlan, epoch: int) -> np.ndarray:
    return np.stack([plan.batch(epoch, step).ids_B for step in range(plan.steps_per_epoch)])


@given(BUCKETS, SIZES, st.integers(0, 99), st.integers(0, 5))
def test_padded_epochs_show_every_sample_exactly_once(sizes: dict[str, int], size: int, seed: int, epoch: int):
    plan = make_plan(sizes, PlanConfig(global_batch=size, seed=seed, tail="pad"))
    batches = [plan.batch(epoch, step) for step in range(plan.steps_per_epoch)]
    shown = np.concatenate([batch.ids_B[~batch.is_pad_B] for batch in batches])
    assert sorted(shown.tolist()) == sorted(np.concatenate(list(plan.ids_of.values())).tolist())
    assert all(len(batch.ids_B) == size for batch in batches)
    assert all(set(batch.ids_B.tolist()) <= set(plan.ids_of[batch.bucket].tolist()) for batch in batches)


@given(BUCKETS, SIZES, st.integers(0, 99), st.integers(0, 5))
def test_dropped_tails_show_no_sample_twice_and_miss_less_than_a_batch(
    sizes: dict[str, int], size: int, seed: int, epoch: int
):
    sizes["full"] = size  # at least one batch
    plan = make_plan(sizes, PlanConfig(global_batch=size, seed=seed))
    shown = epoch_of(plan, epoch).ravel().tolist()
    assert len(set(shown)) == len(shown)
    assert len(shown) == sum(count // size * size for count in sizes.values())


@given(BUCKETS, SIZES, st.integers(0, 99), st.data())
def test_ranks_of_any_world_share_the_same_global_batches(
    sizes: dict[str, int], size: int, seed: int, data: st.DataObject
):
    plan = make_plan(sizes, PlanConfig(global_batch=size, seed=seed, tail="pad"))
    world = data.draw(st.sampled_from([world for world in range(1, size + 1) if size % world == 0]))
    step = data.draw(st.integers(0, plan.steps_per_epoch - 1))
    parts = [plan.batch(1, step).of_rank(rank, world) for rank in range(world)]
    assert {len(part.ids_B) for part in parts} == {size // world}
    whole = np.empty(size, np.int64)
    for rank, part in enumerate(parts):
        whole[rank::world] = part.ids_B
    assert whole.tolist() == plan.batch(1, step).ids_B.tolist()


@given(BUCKETS, SIZES, st.integers(0, 99))
def test_a_plan_made_again_goes_on_with_the_same_batches(sizes: dict[str, int], size: int, seed: int):
    config = PlanConfig(global_batch=size, seed=seed, tail="pad")
    whole, again = make_plan(sizes, config), make_plan(sizes, config)
    later, earlier = epoch_of(again, 3), epoch_of(again, 0)  # in another order than before
    np.testing.assert_array_equal(epoch_of(whole, 0), earlier)
    np.testing.assert_array_equal(epoch_of(whole, 3), later)
    assert whole.sha256 == again.sha256


def test_epochs_and_seeds_differ():
    plan = make_plan({"a": 50}, PlanConfig(global_batch=50))
    other = make_plan({"a": 50}, PlanConfig(global_batch=50, seed=1))
    orders = [epoch_of(plan, 0), epoch_of(plan, 1), epoch_of(other, 0)]
    assert len({tuple(order.ravel().tolist()) for order in orders}) == 3


def test_the_order_is_the_one_that_the_format_describes():
    """Key = first 16 bytes of sha256("order:seed:epoch:bucket"); samples sorted by 64-bit words of Philox4x64-10."""
    plan = BatchPlan({"view": np.arange(5)}, PlanConfig(global_batch=5, seed=7))
    key = hashlib.sha256(b"order:7:2:view").digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(5)
    assert plan.batch(2, 0).ids_B.tolist() == sorted(range(5), key=lambda place: words[place])


def test_without_shuffling_ids_come_in_order():
    plan = make_plan({"a": 4, "b": 4}, PlanConfig(global_batch=2, shuffle=False))
    assert epoch_of(plan, 5).ravel().tolist() == [0, 1, 2, 3, 1000, 1001, 1002, 1003]


def test_too_few_samples_name_the_knobs():
    with pytest.raises(ConfigError, match=r"has 3 usable samples .* global_batch = 4; lower it, set plan\.tail=pad"):
        make_plan({"a": 3}, PlanConfig(global_batch=4))


def test_a_world_that_does_not_divide_the_batch_is_refused():
    plan = make_plan({"a": 8}, PlanConfig(global_batch=8))
    plan.check_world(4)
    with pytest.raises(ConfigError, match="a multiple of 3 ranks"):
        plan.check_world(3)


def test_split_caption_and_length_decide_who_takes_part():
    table = pa.table(
        {
            "id": [0, 1, 2, 3, 4],
            "split": ["train", "train", "val", "train", "train"],
            "caption": ["a", None, "c", "d", "e"],
            "num_frames": [16, 16, 16, 8, 16],
        }
    )

    def ids(usable: list[bool] | None = None, **config: object) -> list[int]:
        plan_config = PlanConfig(global_batch=1, shuffle=False, **config)  # type: ignore[arg-type]
        return (
            epoch_of(plan_batches(table, plan_config, None if usable is None else np.array(usable)), 0).ravel().tolist()
        )

    assert ids() == [0, 3, 4]
    assert ids(split="val") == [2]
    assert ids(split="all", require_caption=False) == [0, 1, 2, 3, 4]
    assert ids(min_num_frames=9) == [0, 4]
    assert ids([True, True, True, True, False]) == [0, 3]


def test_a_view_is_part_of_the_plans_hash():
    config, ids = PlanConfig(global_batch=1), {"view": np.arange(3)}
    assert BatchPlan(ids, config, {"fps": 8}).sha256 != BatchPlan(ids, config, {"fps": 4}).sha256


def test_a_samples_randomness_depends_on_seed_epoch_and_id_only():
    first = sample_generator(0, 1, 2).random(4).tolist()
    assert first == sample_generator(0, 1, 2).random(4).tolist()
    others = [sample_generator(*name).random(4).tolist() for name in [(1, 1, 2), (0, 2, 2), (0, 1, 3), (0, 12, 0)]]
    assert all(other != first for other in others)


def test_philox_gives_the_words_of_its_authors():
    """Known answer of Philox4x64-10 for key 0, counter 0 (Random123, kat_vectors); numpy counts before it draws."""
    generator = np.random.Philox(key=0, counter=2**256 - 1)
    assert generator.random_raw(4).tolist() == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
