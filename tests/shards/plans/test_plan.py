import hashlib
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.errors import ConfigError
from shards.plans.buckets import Bucket
from shards.plans.plan import BatchPlan, PlanConfig, plan_batches, sample_generator
from shards.plans.view import ViewConfig

BUCKETS = st.dictionaries(st.sampled_from("abc"), st.integers(1, 60), min_size=1)
SIZES = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 24])


def make_plan(sizes: dict[str, int], config: PlanConfig) -> BatchPlan:
    """Bucket k holds the ids 1000 * k, 1000 * k + 1, …"""
    pad = config.global_batch - 1 if config.tail == "pad" else 0
    return BatchPlan(
        [
            Bucket(name, 1000 * place + np.arange(size), config.global_batch, (size + pad) // config.global_batch)
            for place, (name, size) in enumerate(sizes.items())
        ],
        config,
    )


def index(num_rows: int, **columns: Any) -> pa.Table:
    """A plan index of square clips of 16 frames in 2 s, ten to a shard."""
    rows = {
        "id": np.arange(num_rows),
        "split": ["train"] * num_rows,
        "caption": ["a"] * num_rows,
        "shard": [f"shard-{number // 10:03d}" for number in range(num_rows)],
        "num_frames": pa.array([16] * num_rows, pa.int32()),
        "height": pa.array([512] * num_rows, pa.int32()),
        "width": pa.array([512] * num_rows, pa.int32()),
        "rotation_deg": pa.array([0] * num_rows, pa.int32()),
        "sar_num": pa.array([1] * num_rows, pa.int32()),
        "sar_den": pa.array([1] * num_rows, pa.int32()),
        "source_start_pts": [0] * num_rows,
        "source_end_pts": [2] * num_rows,
        "source_time_base_num": [1] * num_rows,
        "source_time_base_den": [1] * num_rows,
    }
    return pa.table({**rows, **columns})


def epoch_of(plan: BatchPlan, epoch: int) -> list[list[int]]:
    return [plan.batch(epoch, step).ids_B.tolist() for step in range(plan.steps_per_epoch)]


def shown(plan: BatchPlan, epoch: int = 0) -> list[int]:
    return [sample for batch in epoch_of(plan, epoch) for sample in batch]


@given(BUCKETS, SIZES, st.integers(0, 99), st.integers(0, 5))
def test_padded_epochs_show_every_sample_exactly_once(sizes: dict[str, int], size: int, seed: int, epoch: int):
    plan = make_plan(sizes, PlanConfig(global_batch=size, seed=seed, tail="pad"))
    batches = [plan.batch(epoch, step) for step in range(plan.steps_per_epoch)]
    once = np.concatenate([batch.ids_B[~batch.is_pad_B] for batch in batches])
    everything = np.concatenate([bucket.ids_N for bucket in plan.buckets.values()])
    assert sorted(once.tolist()) == sorted(everything.tolist())
    assert all(len(batch.ids_B) == size for batch in batches)
    assert all(set(batch.ids_B.tolist()) <= set(plan.buckets[batch.bucket].ids_N.tolist()) for batch in batches)


@given(BUCKETS, SIZES, st.integers(0, 99), st.integers(0, 5))
def test_dropped_tails_show_no_sample_twice_and_miss_less_than_a_batch(
    sizes: dict[str, int], size: int, seed: int, epoch: int
):
    sizes["full"] = size  # at least one batch
    once = shown(make_plan(sizes, PlanConfig(global_batch=size, seed=seed)), epoch)
    assert len(set(once)) == len(once)
    assert len(once) == sum(count // size * size for count in sizes.values())


@settings(deadline=None)
@given(
    st.integers(24, 90),
    st.sampled_from(["full", "blocks", "none"]),
    st.sampled_from([None, "1 + id"]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 99),
    st.integers(0, 3),
)
def test_worlds_of_1_2_3_4_and_8_share_the_same_global_batches(
    num_rows: int, shuffle: str, weight: str | None, images: float, seed: int, epoch: int
):
    config = PlanConfig.model_validate(
        {"global_batch": 24, "shuffle": shuffle, "block_shards": 2, "weight": weight, "images": images, "seed": seed}
    )
    plans = [plan_batches([index(num_rows)], config, ViewConfig()) for _ in range(2)]  # made anew by each rank
    for step in range(plans[0].steps_per_epoch):
        whole = plans[0].batch(epoch, step)
        for world in (1, 2, 3, 4, 8):
            plans[1].check_world(world)
            parts = [plans[1].batch(epoch, step).of_rank(rank, world) for rank in range(world)]
            assert {(part.bucket, len(part.ids_B)) for part in parts} == {(whole.bucket, 24 // world)}
            assert np.stack([part.ids_B for part in parts], axis=1).ravel().tolist() == whole.ids_B.tolist()


@given(BUCKETS, SIZES, st.integers(0, 99))
def test_a_plan_made_again_goes_on_with_the_same_batches(sizes: dict[str, int], size: int, seed: int):
    config = PlanConfig(global_batch=size, seed=seed, tail="pad")
    whole, again = make_plan(sizes, config), pickle.loads(pickle.dumps(make_plan(sizes, config)))
    later, earlier = epoch_of(again, 3), epoch_of(again, 0)  # in another order than before
    assert epoch_of(whole, 0) == earlier
    assert epoch_of(whole, 3) == later


def test_epochs_and_seeds_differ():
    plan = make_plan({"a": 50}, PlanConfig(global_batch=50))
    other = make_plan({"a": 50}, PlanConfig(global_batch=50, seed=1))
    assert len({tuple(shown(plan, 0)), tuple(shown(plan, 1)), tuple(shown(other, 0))}) == 3


def test_the_order_is_the_one_that_the_format_describes():
    """Key = first 16 bytes of sha256("order:seed:epoch:bucket"); samples sorted by 64-bit words of Philox4x64-10."""
    plan = make_plan({"view": 5}, PlanConfig(global_batch=5, seed=7))
    key = hashlib.sha256(b"order:7:2:view").digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw(5)
    assert plan.batch(2, 0).ids_B.tolist() == sorted(range(5), key=lambda place: words[place])


def test_without_shuffling_ids_come_in_order():
    plan = make_plan({"a": 4, "b": 4}, PlanConfig(global_batch=2, shuffle="none"))
    assert shown(plan, 5) == [0, 1, 2, 3, 1000, 1001, 1002, 1003]


def test_batches_of_buckets_are_mixed_over_the_steps():
    plan = make_plan({"a": 40, "b": 40}, PlanConfig(global_batch=2))
    firsts = Counter(plan.batch(epoch, step).bucket for epoch in range(50) for step in range(10))
    assert 200 < firsts["a"] < 300


def test_too_few_samples_name_the_knobs():
    with pytest.raises(ConfigError, match=r"has 3 usable samples .*3 of 4.* lower plan\.global_batch .*plan\.tail=pad"):
        make_plan({"a": 3}, PlanConfig(global_batch=4))


def test_a_world_that_does_not_divide_the_batch_is_refused():
    plan = make_plan({"a": 8}, PlanConfig(global_batch=8))
    plan.check_world(4)
    with pytest.raises(ConfigError, match=r"plan\.global_batch is 8; a multiple of 3 ranks"):
        plan.check_world(3)


def test_a_step_past_the_epoch_is_refused():
    with pytest.raises(IndexError, match="steps 0 to 1"):
        make_plan({"a": 8}, PlanConfig(global_batch=4)).batch(0, 2)


def test_split_caption_length_and_condition_decide_who_takes_part():
    table = index(
        5,
        split=["train", "train", "val", "train", "train"],
        caption=["a", None, "c", "d", "e"],
        num_frames=pa.array([16, 16, 16, 8, 16], pa.int32()),
        motion=pa.array([1.0, 1.0, 1.0, 2.0, None], pa.float32()),
    )

    def ids(**config: object) -> list[int]:
        return shown(plan_batches([table], PlanConfig.model_validate({"global_batch": 1, "shuffle": "none", **config})))

    assert ids() == [0, 3, 4]
    assert ids(split="val") == [2]
    assert ids(split="all", require_caption=False) == [0, 1, 2, 3, 4]
    assert ids(min_num_frames=9) == [0, 4]
    assert ids(where="motion <= 1") == [0]  # unknown is not true
    assert ids(where="motion > 1 OR motion IS NULL", require_caption=False) == [3, 4]


@given(st.integers(12, 80), st.integers(1, 9), st.sampled_from([1, 4, 12]), st.integers(0, 5))
def test_blocks_of_shards_show_every_sample_once(num_rows: int, per_block: int, size: int, epoch: int):
    config = PlanConfig(global_batch=size, shuffle="blocks", block_shards=per_block, tail="pad")
    plan = plan_batches([index(num_rows)], config)
    batches = [plan.batch(epoch, step) for step in range(plan.steps_per_epoch)]
    assert sorted(np.concatenate([batch.ids_B[~batch.is_pad_B] for batch in batches]).tolist()) == list(range(num_rows))


def test_blocks_are_read_one_after_the_other():
    plan = plan_batches([index(80)], PlanConfig(global_batch=20, shuffle="blocks", block_shards=2))
    shards = [{sample // 10 for sample in batch} for batch in epoch_of(plan, 3)]
    assert [len(pair) for pair in shards] == [2, 2, 2, 2]
    assert set.union(*shards) == set(range(8))
    weighed = plan_batches([index(80)], PlanConfig(global_batch=20, shuffle="blocks", block_shards=2, weight="1"))
    assert [len({sample // 10 for sample in batch}) for batch in epoch_of(weighed, 3)] == [2, 2, 2, 2]


def test_images_are_the_asked_share_of_the_steps_of_every_epoch():
    table = index(40, num_frames=pa.array([16] * 30 + [1] * 10, pa.int32()), source_end_pts=[2] * 30 + [1] * 10)
    config = PlanConfig(global_batch=5, images=0.25, images_where="num_frames = 1")
    plan = plan_batches([table], config, ViewConfig())
    assert plan.num_batches == {"images": 2, "view": 6}
    assert plan.view_of("images").num_frames == 1
    for epoch in range(3):
        batches = [plan.batch(epoch, step) for step in range(8)]
        images = [sample for batch in batches if batch.bucket == "images" for sample in batch.ids_B.tolist()]
        assert sorted(images) == list(range(30, 40))
        videos = [sample for batch in batches if batch.bucket == "view" for sample in batch.ids_B.tolist()]
        assert sorted(videos) == list(range(30))


def test_buckets_of_shapes_hold_the_clips_that_they_fit():
    table = index(
        20, height=pa.array([512] * 10 + [1080] * 10, pa.int32()), width=pa.array([512] * 10 + [1920] * 10, pa.int32())
    )
    view = ViewConfig(shapes=("16x256x256", "16x192x336", "20x256x256"))
    plan = plan_batches([table], PlanConfig(bucket_by="tokens", tokens_per_batch=5120, batch_multiple_of=2), view)
    assert plan.num_batches == {"16x192x336": 2, "16x256x256": 2, "20x256x256": 0}
    for step in range(4):
        batch = plan.batch(0, step)
        assert len(batch.ids_B) == 4
        assert {"16x192x336": 10, "16x256x256": 0}[batch.bucket] == batch.ids_B.min() // 10 * 10
    plan.check_world(2)
    with pytest.raises(ConfigError, match=r"plan\.batch_multiple_of is 2; a multiple of 3 ranks"):
        plan.check_world(3)


def test_an_empty_plan_says_where_the_samples_went():
    table = index(
        4, split=["train", "train", "train", "val"], caption=["a", None, None, "d"], motion=[0.0, 1.0, 1.0, 1.0]
    )
    with pytest.raises(
        ConfigError, match=r"\(4 rows, 3 in split train, 1 with a caption, 0 where plan.where is true\)"
    ):
        plan_batches([table], PlanConfig(where="motion > 0"))


def test_a_caption_in_any_of_the_columns_is_enough():
    table = index(3, caption=["a", None, None], short=["b", "c", None])
    config = PlanConfig(global_batch=1, shuffle="none", captions={"caption": 1, "short": 2})
    plan = plan_batches([table], config)
    assert shown(plan) == [0, 1]
    found = Counter(plan.caption(epoch, 0, ["a", "b"]) for epoch in range(300))
    assert 160 < found["b"] < 240  # 200 expected, deviation 8.2
    assert plan.caption(5, 0, ["a", "b"]) == plan_batches([table], config).caption(5, 0, ["a", "b"])
    with pytest.raises(ConfigError, match=r"plan\.captions names 'shrot'; .* did you mean short\?"):
        plan_batches([table], PlanConfig(captions={"shrot": 1}))


def test_a_view_leaves_out_clips_that_are_too_short():
    table = index(3, source_end_pts=[1, 2, 3])
    plan = plan_batches([table], PlanConfig(global_batch=1, shuffle="none"), ViewConfig(num_frames=16, fps=8))
    assert shown(plan) == [1, 2]  # 15 steps of 1/8 s need more than 1.875 s


def test_a_view_and_a_weight_are_part_of_the_plans_hash():
    def sha256(view: ViewConfig, **config: object) -> str:
        return plan_batches([index(3)], PlanConfig.model_validate({"global_batch": 1, **config}), view).sha256

    assert sha256(ViewConfig(num_frames=8)) == sha256(ViewConfig(num_frames=8))
    different = [sha256(ViewConfig(num_frames=8)), sha256(ViewConfig(num_frames=4)), sha256(ViewConfig(), weight="1")]
    assert len(set(different)) == 3


def test_weights_are_kept_over_the_epoch():
    table = index(30, motion=pa.array([1.0] * 10 + [2.0] * 10 + [0.0] * 10))
    plan = plan_batches([table], PlanConfig(global_batch=5, weight="motion"))
    assert plan.num_samples == 20  # weight 0 is never drawn
    assert plan.steps_per_epoch == 4  # an epoch shows as many samples as take part
    totals = sum((Counter(shown(plan, epoch)) for epoch in range(60)), Counter())
    assert set(totals) <= set(range(20))
    assert sum(totals[sample] for sample in range(10)) == pytest.approx(60 * 20 / 3, abs=60)
    counts = np.array([totals[sample] for sample in range(20)]) / 60
    assert counts[:10] == pytest.approx(np.full(10, 2 / 3), abs=0.2)
    assert counts[10:] == pytest.approx(np.full(10, 4 / 3), abs=0.2)


def test_equal_weights_show_every_sample_once():
    plan = plan_batches([index(24)], PlanConfig(global_batch=6, weight="3"))
    assert sorted(shown(plan, 4)) == list(range(24))


def test_a_missing_weight_is_counted():
    table = index(4, motion=pa.array([1.0, None, -1.0, 2.0]))
    with pytest.raises(ConfigError, match=r"plan\.weight is 'motion', .* for 2 of 4 samples \(the first is 1\)"):
        plan_batches([table], PlanConfig(global_batch=1, weight="motion"))
    plan = plan_batches([table], PlanConfig(global_batch=1, weight="motion", where="motion > 0"))
    assert plan.num_samples == 2  # those that take no part need no weight


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"where": "motoin > 1"}, r"plan\.where is 'motoin > 1'; column 'motoin' .* did you mean motion\?"),
        ({"where": "motion + 1"}, r"plan\.where .* gives double; true or false"),
        ({"weight": "motion > 1"}, r"plan\.weight .* gives bool; a number"),
        ({"weight": "motion +"}, r"plan\.weight is 'motion \+'; .*write an expression"),
        ({"images": 0.5, "images_where": "nothing"}, r"plan\.images_where is 'nothing'; column"),
    ],
)
def test_expressions_that_do_not_fit_are_refused(config: dict[str, Any], reason: str):
    with pytest.raises(ConfigError, match=reason):
        plan_batches([index(3, motion=[1.0, 2.0, 3.0])], PlanConfig.model_validate({"global_batch": 1, **config}))


def test_a_samples_randomness_depends_on_seed_epoch_and_id_only():
    first = sample_generator(0, 1, 2).random(4).tolist()
    assert first == sample_generator(0, 1, 2).random(4).tolist()
    others = [sample_generator(*name).random(4).tolist() for name in [(1, 1, 2), (0, 2, 2), (0, 1, 3), (0, 12, 0)]]
    assert all(other != first for other in others)
