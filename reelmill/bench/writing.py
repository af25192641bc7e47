"""What writing a shard of latents costs, against copying the same bytes and hashing them.

Ours: members in memory -> tar on disk, synced, read back by the parser that verifies, sha256 and xxh3 of all members
(`write_shard`). The peer: `cp` of that tar and `sha256sum` of the copy; the harder peer hashes by OpenSSL, which uses
the processor's sha instructions where `sha256sum` may not. CPU seconds, user and system, which are what one core has;
each of ours stands against the copy beside it.
"""

import hashlib
import statistics
import subprocess
import time
from pathlib import Path

from reelmill.bench.latent_set import whole_samples
from reelmill.bench.processes import children_cpu_s
from shards.format.writer import SampleBytes, write_shard


def write_figures(folder: Path, num_samples: int, repeats: int) -> dict[str, float]:
    """Throughput against the peers' (`write_vs_copy`, `write_vs_copy_openssl`) and its parts."""
    samples = [SampleBytes(f"clip-{n:06d}", members) for n, members in enumerate(whole_samples(num_samples))]
    rounds = [_round(folder, samples) for _ in range(repeats)]
    size_bytes = rounds[0]["size_bytes"]
    ours_s, copy_s, sum_s, openssl_s = (
        statistics.median(one[name] for one in rounds) for name in ("ours_s", "copy_s", "sum_s", "openssl_s")
    )
    return {
        "write_vs_copy": statistics.median((one["copy_s"] + one["sum_s"]) / one["ours_s"] for one in rounds),
        "write_vs_copy_openssl": statistics.median(
            (one["copy_s"] + one["openssl_s"]) / one["ours_s"] for one in rounds
        ),
        "write_mb_per_cpu_s": size_bytes / ours_s / 1e6,
        "cp_mb_per_cpu_s": size_bytes / copy_s / 1e6,
        "sha256sum_mb_per_cpu_s": size_bytes / sum_s / 1e6,
        "openssl_mb_per_cpu_s": size_bytes / openssl_s / 1e6,
    }


def _round(folder: Path, samples: list[SampleBytes]) -> dict[str, float]:
    tar, copy = folder / "written.tar", folder / "copied.tar"
    before_s = time.process_time()
    record = write_shard(tar, samples)
    ours_s = time.process_time() - before_s
    copy_s = _command_s("cp", str(tar), str(copy))
    sum_s = _command_s("sha256sum", str(copy))
    before_s = time.process_time()
    with copy.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    openssl_s = time.process_time() - before_s
    assert digest == record.sha256
    tar.unlink()
    copy.unlink()
    costs = {"ours_s": ours_s, "copy_s": copy_s, "sum_s": sum_s, "openssl_s": openssl_s}
    return {**{name: max(cost_s, 1e-6) for name, cost_s in costs.items()}, "size_bytes": record.size_bytes}


def _command_s(*command: str) -> float:
    before_s = children_cpu_s()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return children_cpu_s() - before_s
