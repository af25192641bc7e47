"""Hugging Face datasets: its webdataset builder, streamed from the set's own tars, a buffer of 1,000 samples."""

# pyright: reportMissingImports=false

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import reading


def prepare(folder: Path) -> None:
    """It reads the set as it is."""


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once; the library itself parses .json and .npy."""
    import datasets

    dataset = datasets.load_dataset("webdataset", data_files=reading.tars(folder), split="train", streaming=True)
    dataset = dataset.shuffle(seed=reading.SEED + number, buffer_size=1000)
    if workers:
        from torch.utils.data import DataLoader

        for batch in DataLoader(dataset, batch_size=reading.BATCH, num_workers=workers, collate_fn=_samples):
            yield from batch
        return
    for row in dataset:
        yield _sample(row)


def _sample(row: dict) -> reading.Sample:
    return row["__key__"], row["json"], np.asarray(row["latent.npy"]), row["txt"]


def _samples(rows: list[dict]) -> list[reading.Sample]:
    return [_sample(row) for row in rows]


if __name__ == "__main__":
    reading.main(prepare, epoch, ("datasets",))
