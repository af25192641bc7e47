"""Our reader: the plan's order, the index's places, xxh3 of every member."""

import json
from collections.abc import Iterator
from pathlib import Path

import reading


def prepare(folder: Path) -> None:
    """The set is ours already."""


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once, in the order of a full shuffle."""
    from shards.plans.plan import PlanConfig
    from shards.reading.reader import open_dataset

    dataset = open_dataset(folder / "dataset")
    plan = dataset.plan(PlanConfig(global_batch=reading.BATCH, seed=reading.SEED, tail="pad"))
    if workers:
        yield from _by_workers(dataset, plan, workers, number)
        return
    for step in range(plan.steps_per_epoch):
        yield from _batch(dataset, plan, number, step)


def _batch(dataset, plan, number: int, step: int) -> list[reading.Sample]:
    batch = plan.batch(number, step)
    return [_sample(dataset, sample_id) for sample_id in batch.ids_B[~batch.is_pad_B].tolist()]


def _sample(dataset, sample_id: int) -> reading.Sample:
    row = json.loads(dataset.read_member(sample_id, "json"))
    latent = dataset.read_array(sample_id, "latent.npy")
    return row["key"], row, latent, dataset.read_member(sample_id, "txt").decode()


def _by_workers(dataset, plan, workers: int, number: int) -> Iterator[reading.Sample]:
    from torch.utils.data import DataLoader

    class Steps:
        def __len__(self) -> int:
            return plan.steps_per_epoch

        def __getitem__(self, step: int) -> list[reading.Sample]:
            return _batch(dataset, plan, number, step)

    for batch in DataLoader(Steps(), batch_size=None, num_workers=workers, collate_fn=lambda batch: batch):  # type: ignore[arg-type]
        yield from batch


if __name__ == "__main__":
    reading.main(prepare, epoch, ("xxhash", "pyarrow"))
