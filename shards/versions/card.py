"""The dataset card: a README.md with Hugging Face front matter, every number of it from the manifest."""

from collections.abc import Mapping

import yaml

from shards.schema import members_of
from shards.versions.manifest import Manifest

_SIZES = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
]


def dataset_card(manifest: Manifest, data_files: Mapping[str, str] | None = None) -> str:
    """The card of a version.

    Args:
        manifest: of the version.
        data_files: for each split a pattern of the tars that hold it and nothing else; None if tars hold several.
    """
    front, reading = _front_matter(manifest, data_files), _reading(manifest, split_tars=data_files is not None)
    return f"---\n{front}---\n\n{_summary(manifest)}\n{reading}\n{_columns(manifest)}"


def _front_matter(manifest: Manifest, data_files: Mapping[str, str] | None) -> str:
    size = next((name for limit, name in _SIZES if manifest.stats.num_samples < limit), "n>10M")
    files = (data_files or {"train": "shards/*/*.tar"}).items()
    front = {
        "license": "other",
        "task_categories": ["text-to-video"],
        "size_categories": [size],
        "tags": ["video", "webdataset", "reelmill"],
        "configs": [{"config_name": "default", "data_files": [{"split": s, "path": path} for s, path in files]}],
    }
    return yaml.safe_dump(front, sort_keys=False)


def _summary(manifest: Manifest) -> str:
    stats = manifest.stats
    lines = [
        f"# Version {manifest.version}",
        "",
        f"{stats.num_samples:,} clips, {stats.hours:.3f} hours, {stats.num_frames:,} frames, "
        f"{stats.num_captions:,} captions, from {stats.num_sources:,} sources; "
        f"{stats.size_bytes / 1e6:,.1f} MB in {len(manifest.shards)} shards.",
        "",
        "| split | clips | sources | hours |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {name} | {s.num_samples:,} | {s.num_sources:,} | {s.hours:.3f} |" for name, s in manifest.splits.items()),
        "",
        "No source and no group of duplicates lies in two splits.",
        f"Licences that came with the sources: {_cell(', '.join(manifest.licences)) or 'none stated'}.",
        "",
    ]
    return "\n".join(lines)


def _reading(manifest: Manifest, split_tars: bool) -> str:
    members = ", ".join(f"`<key>.{suffix}`" for suffix in members_of([column.name for column in manifest.columns]))
    splits = (
        "Each tar holds samples of one split, and nothing that this version does not publish."
        if split_tars
        else "Splits are a decision of the\nversion, not of the tars: they stand in the column `split` of the plan "
        "index that the manifest names. A tar may\nalso hold samples that this version does not publish; "
        "`reelmill shards export` writes tars for each split without them."
    )
    return f"""## Reading

The tars are plain WebDataset: {members} for every clip. {splits}

```python
import shards

dataset = shards.open("this folder")
dataset.table("train")  # one row per clip
```
"""


def _columns(manifest: Manifest) -> str:
    rows = [f"| {c.name} | {c.type} | {_cell(c.unit)} | {_cell(c.doc)} |" for c in manifest.columns]
    return "\n".join(["## Columns", "", "| column | type | unit | meaning |", "| --- | --- | --- | --- |", *rows, ""])


def _cell(text: str) -> str:
    """Text from outside, inert in a table of Markdown."""
    printable = "".join(char if char.isprintable() else " " for char in text)
    for char in "\\`*_[]|":
        printable = printable.replace(char, f"\\{char}")
    return printable.replace("&", "&amp;").replace("<", "&lt;")
