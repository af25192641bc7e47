"""LitData: its own chunks, converted from the set."""

# pyright: reportMissingImports=false

from collections.abc import Iterator
from pathlib import Path

import reading


def prepare(folder: Path) -> None:
    """Convert the set, chunks of the shards' size."""
    import litdata

    if __name__ == "__main__":
        litdata.optimize(
            fn=_given,
            inputs=[{"key": key, **found} for key, found in reading.members(folder)],
            output_dir=str(reading.own_folder(folder, "litdata")),
            chunk_bytes=7 << 20,
            num_workers=1,
            keep_data_ordered=True,
        )


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once."""
    import litdata

    dataset = litdata.StreamingDataset(
        str(reading.own_folder(folder, "litdata")), shuffle=True, seed=reading.SEED + number
    )
    if workers:
        loader = litdata.StreamingDataLoader(
            dataset, batch_size=reading.BATCH, num_workers=workers, collate_fn=_parsed_all
        )
        for batch in loader:
            yield from batch
        return
    for item in dataset:
        yield _parsed(item)


def _given(item: dict) -> dict:
    return item


def _parsed(item: dict) -> reading.Sample:
    row, latent, text = (bytes(item[name]) for name in ("json", "latent.npy", "txt"))  # some releases give views
    return reading.parsed(item["key"], row, latent, text)


def _parsed_all(items: list[dict]) -> list[reading.Sample]:
    return [_parsed(item) for item in items]


if __name__ == "__main__":
    reading.main(prepare, epoch, ("litdata",))
