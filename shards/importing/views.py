"""What `reelmill shards import` shows."""

import tempfile
from collections import Counter
from pathlib import Path

from shards.importing.run import ImportConfig, Imported, import_dataset
from shards.versions.cli_views import Listing

_EXAMPLES = 3


def importation(
    source: Path, out: str | Path, config: ImportConfig, scratch: Path | None = None, num_workers: int = 2
) -> Listing:
    """Import a foreign dataset, and say what was taken how and what was not.

    Raises:
        ConfigError: the source is not what `kind` says, or no clip can be taken.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="reelmill-") as folder:
        done = import_dataset(source, out, config, Path(folder), num_workers)
    return listing_of(done, out)


def listing_of(done: Imported, out: str | Path) -> Listing:
    """An import as a table."""
    stats = done.manifest.stats
    rows = [
        ["clips in the version", f"{stats.num_samples:,}", f"{stats.num_captions:,} captions, {stats.hours:.3f} hours"],
        ["tars adopted as they are", str(len(done.adopted)), ""],
        ["tars written anew", str(len(done.rewritten)), ""],
        *(["", tar.name, reason] for tar, reason in list(done.rewritten.items())[:_EXAMPLES]),
        ["clips not imported", str(len(done.failures)), ""],
    ]
    for code, number in sorted(Counter(failure.code for failure in done.failures).items()):
        examples = [failure for failure in done.failures if failure.code == code][:_EXAMPLES]
        rows.append([f"  {code}", str(number), ", ".join(failure.name for failure in examples)])
        rows.append(["", "", examples[0].detail])
    if done.left:
        rows.append(["values that are no columns", str(len(done.left)), ", ".join(sorted(done.left))])
    return Listing(f"version {done.manifest.version} of {out}", ["what", "number", "which"], rows)
