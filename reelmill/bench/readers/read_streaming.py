"""MosaicML streaming: its own shards (MDS), converted from the set."""

# pyright: reportMissingImports=false

from collections.abc import Iterator
from pathlib import Path

import reading

COLUMNS = {"key": "str", "json": "bytes", "latent": "bytes", "txt": "bytes"}


def prepare(folder: Path) -> None:
    """Convert the set, shards of the same size."""
    from streaming import MDSWriter

    out = str(reading.own_folder(folder, "streaming"))
    with MDSWriter(out=out, columns=COLUMNS, size_limit=7 << 20) as writer:
        for key, found in reading.members(folder):
            writer.write({"key": key, "json": found["json"], "latent": found["latent.npy"], "txt": found["txt"]})


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once."""
    import streaming
    from torch.utils.data import DataLoader

    streaming.base.util.clean_stale_shared_memory()  # of the epoch before, or of a process that was killed
    dataset = streaming.StreamingDataset(
        local=str(reading.own_folder(folder, "streaming")),
        shuffle=True,
        shuffle_seed=reading.SEED + number,
        batch_size=reading.BATCH,
        num_canonical_nodes=1,
    )
    if workers:
        for batch in DataLoader(dataset, batch_size=reading.BATCH, num_workers=workers, collate_fn=_parsed_all):
            yield from batch
        return
    for item in dataset:
        yield _parsed(item)


def _parsed(item: dict) -> reading.Sample:
    return reading.parsed(item["key"], item["json"], item["latent"], item["txt"])


def _parsed_all(items: list[dict]) -> list[reading.Sample]:
    return [_parsed(item) for item in items]


if __name__ == "__main__":
    reading.main(prepare, epoch, ("mosaicml-streaming",))
