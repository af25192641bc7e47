"""Batches of several shapes, from planned buckets to pictures."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import torch

from shards.plans.plan import PlanConfig
from shards.plans.view import ViewConfig
from shards.reading.batch import loader
from shards.reading.reader import open_dataset
from shards.versions.manifest import Manifest


def test_every_batch_has_the_shape_and_size_of_its_bucket(tmp_path: Path, dataset_of: Callable[..., Manifest]):
    dataset_of(12)  # 24 frames of 64x48 in 3 s
    dataset = open_dataset(tmp_path / "dataset")
    view = ViewConfig(shapes=("16x48x64", "20x32x32"), fps=8)
    config = PlanConfig(
        bucket_by="tokens", tokens_per_batch=96, batch_multiple_of=2, images=0.5, images_where="motion > 2"
    )
    plan = dataset.plan(config, view)
    # 4 * 3 * 4 = 48 and 3 * 4 = 12 tokens a clip: two videos or eight images of the clips' own size.
    assert plan.num_batches == {"16x48x64": 6, "1x32x32": 0, "1x48x64": 6, "20x32x32": 0}
    whole = list(itertools.islice(loader(dataset, plan, view), 12))
    shapes = Counter(tuple(batch.video_BTHWC.shape) for batch in whole)
    assert shapes == {(2, 16, 48, 64, 3): 6, (8, 1, 48, 64, 3): 6}
    videos = [sample for batch in whole if batch.video_BTHWC.shape[1] > 1 for sample in batch.ids.tolist()]
    images = {sample for batch in whole if batch.video_BTHWC.shape[1] == 1 for sample in batch.ids.tolist()}
    assert sorted(videos) == list(range(12))
    assert images == {3, 4, 8, 9}  # five to a shard, motion is the place in it
    for step, batch in enumerate(itertools.islice(loader(dataset, plan, view, rank=1, world=2), 3)):
        assert torch.equal(batch.video_BTHWC, whole[step].video_BTHWC[1::2])
