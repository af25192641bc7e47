from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shards.errors import ConfigError
from shards.plans.bucketing import assign, bucket_kinds, num_tokens
from shards.plans.plan_config import PlanConfig
from shards.plans.view import ViewConfig

SHAPES = ("16x256x256", "16x192x336", "16x336x192", "32x256x256", "1x512x512")


def clips(*sizes_hw: tuple[int, int], **columns: Any) -> pa.Table:
    """Clips of 2 s and 16 frames of these sizes."""
    count = len(sizes_hw)
    rows = {
        "num_frames": [16] * count,
        "height": pa.array([height for height, _ in sizes_hw], pa.int32()),
        "width": pa.array([width for _, width in sizes_hw], pa.int32()),
        "rotation_deg": pa.array([None] * count, pa.int32()),
        "sar_num": pa.array([1] * count, pa.int32()),
        "sar_den": pa.array([1] * count, pa.int32()),
        "source_start_pts": [0] * count,
        "source_end_pts": [2] * count,
        "source_time_base_num": [1] * count,
        "source_time_base_den": [1] * count,
    }
    return pa.table({**rows, **columns})


def shapes_of(
    rows: pa.Table, shapes: tuple[str, ...] = SHAPES, max_enlarge: float | None = None, **plan: Any
) -> list[str | None]:
    config = PlanConfig.model_validate({"bucket_by": "shape", **plan})
    kinds = bucket_kinds(config, ViewConfig(shapes=shapes, fps=8, max_enlarge=max_enlarge))
    found = assign(rows, np.ones(len(rows), bool), kinds)
    return [kinds[place].name if place >= 0 else None for place in found]


def test_a_clip_goes_to_the_shape_of_its_aspect():
    rows = clips((1080, 1920), (1920, 1080), (600, 600), (480, 600))
    assert shapes_of(rows) == ["16x192x336", "16x336x192", "16x256x256", "16x256x256"]
    # Of 600x480 a square keeps 0.8 of 65536 px a frame, 192x336 keeps 0.71 of 64512.


def test_a_longer_clip_goes_to_the_shape_of_more_frames():
    rows = clips((512, 512), (512, 512), source_end_pts=[3, 4])  # 31 steps of 1/8 s need more than 3.875 s
    assert shapes_of(rows) == ["16x256x256", "32x256x256"]


def test_a_short_clip_goes_to_single_frames_where_they_are_listed():
    rows = clips((512, 512), source_end_pts=[1])
    assert shapes_of(rows) == ["1x512x512"]
    assert shapes_of(rows, ("16x256x256",)) == [None]


def test_a_clip_goes_to_the_largest_shape_that_it_covers():
    shapes = ("16x128x128", "16x256x256", "16x512x512")
    assert shapes_of(clips((300, 300), (512, 512), (2000, 2000)), shapes) == ["16x256x256", "16x512x512", "16x512x512"]


def test_a_clip_that_covers_none_is_enlarged_least_or_left_out():
    rows = clips((100, 100), (200, 200))
    assert shapes_of(rows, ("16x256x256", "16x512x512")) == ["16x256x256", "16x256x256"]
    assert shapes_of(rows, ("16x256x256", "16x512x512"), max_enlarge=1.5) == [None, "16x256x256"]


def test_what_is_seen_upright_decides():
    turned = clips((1080, 1920), rotation_deg=pa.array([90], pa.int32()))
    assert shapes_of(turned) == ["16x336x192"]
    wide_pixels = clips((600, 525), sar_num=pa.array([2], pa.int32()))  # shown as 1050x600: 1.75, as 336x192
    assert shapes_of(wide_pixels) == ["16x192x336"]


def test_a_view_of_one_size_has_one_bucket_and_may_refuse_to_enlarge():
    view = ViewConfig(num_frames=16, height=256, width=256)
    rows, everything = clips((100, 100), (300, 300)), np.ones(2, bool)
    for limit, expected in ((None, [0, 0]), (2.0, [-1, 0])):
        kinds = bucket_kinds(PlanConfig(), view.model_copy(update={"max_enlarge": limit}))
        assert [kind.name for kind in kinds] == ["view"]
        assert assign(rows, everything, kinds).tolist() == expected


def test_tokens_are_whole():
    config = PlanConfig(bucket_by="tokens", tokens_per_batch=1, token_size=(4, 16, 16))
    assert num_tokens(config, 17, 256, 256) == 5 * 16 * 16  # 1 + 16 / 4 of a causal codec
    assert num_tokens(config, 1, 16, 17) == 2


def test_batches_by_tokens_fill_the_budget_in_multiples():
    config = PlanConfig(bucket_by="tokens", tokens_per_batch=20_000, batch_multiple_of=8)
    kinds = bucket_kinds(config, ViewConfig(shapes=("16x256x256", "1x256x256")))
    # 4 * 256 = 1024 and 256 tokens a clip: 19 and 78 clips fit, 16 and 72 are multiples of 8.
    assert [(kind.name, kind.batch_size) for kind in kinds] == [("16x256x256", 16), ("1x256x256", 72)]


def test_images_are_the_listed_single_frames_or_those_of_every_size():
    view = ViewConfig(shapes=("16x256x256", "32x256x256", "16x192x336"))
    kinds = bucket_kinds(PlanConfig(bucket_by="shape", images=0.2), view)
    assert [kind.name for kind in kinds if kind.is_image] == ["1x256x256", "1x192x336"]
    kinds = bucket_kinds(PlanConfig(bucket_by="shape", images=0.2), ViewConfig(shapes=("16x256x256", "1x512x512")))
    assert [(kind.name, kind.is_image) for kind in kinds] == [("16x256x256", False), ("1x512x512", True)]


@pytest.mark.parametrize(
    ("plan", "shapes", "reason"),
    [
        ({"bucket_by": "shape"}, (), "view.shapes is empty"),
        ({}, ("16x256x256",), "plan.bucket_by is view"),
        ({"bucket_by": "tokens", "tokens_per_batch": 1000}, ("16x256x256",), "1 clips of 16x256x256 have 1024 tokens"),
    ],
)
def test_buckets_that_view_and_plan_do_not_agree_on_are_refused(plan: Any, shapes: tuple[str, ...], reason: str):
    with pytest.raises(ConfigError, match=reason):
        bucket_kinds(PlanConfig.model_validate(plan), ViewConfig(shapes=shapes))


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        ({"bucket_by": "tokens"}, "tokens has a budget"),
        ({"tokens_per_batch": 5}, "tokens has a budget"),
        ({"images_where": "num_frames = 1"}, "plan.images is 0"),
        ({"token_size": (0, 1, 1)}, "numbers from 1"),
        ({"captions": {}}, "weights above 0"),
        ({"captions": {"caption": 0}}, "weights above 0"),
    ],
)
def test_plans_that_do_not_agree_with_themselves_are_refused(plan: Any, reason: str):
    with pytest.raises(ValueError, match=reason):
        PlanConfig.model_validate(plan)
