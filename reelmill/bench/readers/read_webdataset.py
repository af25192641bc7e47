"""webdataset's pipeline: shards in random order, a buffer of 1,000 samples, no checksums."""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false

from collections.abc import Iterator
from pathlib import Path

import reading


def prepare(folder: Path) -> None:
    """It reads the set as it is."""


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once."""
    import webdataset

    files = reading.tars(folder)
    seed = reading.SEED + number
    samples = (
        webdataset.WebDataset(files, shardshuffle=len(files), seed=seed, workersplitter=webdataset.split_by_worker)
        .shuffle(1000, seed=seed)
        .map(_sample)
    )
    yield from webdataset.WebLoader(samples, batch_size=None, num_workers=workers) if workers else samples


def _sample(sample: dict) -> reading.Sample:
    return reading.parsed(sample["__key__"], sample["json"], sample["latent.npy"], sample["txt"])


if __name__ == "__main__":
    reading.main(prepare, epoch, ("webdataset",))
