"""Megatron Energon: the set's own tars with its index beside them, a buffer of 1,000 samples."""

# pyright: reportMissingImports=false

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import reading


def prepare(folder: Path) -> None:
    """Its index goes beside the tars, so they are linked into a folder of their own."""
    own = reading.own_folder(folder, "energon")
    own.mkdir(parents=True)
    for tar in reading.tars(folder):
        os.link(tar, own / Path(tar).name)
    command = [str(Path(sys.executable).parent / "energon"), "prepare", "--non-interactive", "--split-ratio", "1,0,0"]
    subprocess.run([*command, "--sample-type", "CrudeWebdataset", "--num-workers", "2", str(own)], check=True)


def epoch(folder: Path, workers: int, number: int) -> Iterator[reading.Sample]:
    """All samples, each once."""
    from megatron.energon import Cooker, DefaultTaskEncoder, WorkerConfig, get_loader, get_train_dataset, stateless

    @stateless
    def cook(sample: dict) -> dict:
        parsed = reading.parsed(sample["__key__"], sample["json"], sample["latent.npy"], sample["txt"])
        return {**{name: sample[name] for name in sample if name.startswith("__")}, "parsed": parsed}

    class Encoder(DefaultTaskEncoder):
        cookers = (Cooker(cook),)
        decoder = None

        def batch(self, samples: list[dict]) -> list:
            return [sample["parsed"] for sample in samples]

    dataset = get_train_dataset(
        str(reading.own_folder(folder, "energon")),
        worker_config=WorkerConfig(rank=0, world_size=1, num_workers=workers, seed_offset=number),
        batch_size=reading.BATCH,
        batch_drop_last=False,
        task_encoder=Encoder(),
        shuffle_buffer_size=1000,
        max_samples_per_sequence=100,
        shuffle_over_epochs_multiplier=1,
        repeat=False,
    )
    for batch in get_loader(dataset):
        for key, row, latent, caption in batch:
            yield key, row, np.asarray(latent), caption  # torch's loader has made it a tensor


if __name__ == "__main__":
    reading.main(prepare, epoch, ("megatron-energon",))
