"""What `reelmill shards …` shows: titles, columns and rows, printed by the command."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shards.errors import ConfigError
from shards.format.commit import list_commits
from shards.reading.reader import open_dataset
from shards.storage.store import Store, open_store
from shards.versions.manifest import Manifest, read_manifest, versions
from shards.versions.publish import publish
from shards.versions.splits import SplitConfig
from shards.versions.tombstones import Withdrawal
from shards.versions.verify import verify


@dataclass(frozen=True)
class Listing:
    """A printable table.

    Attributes:
        title: one line.
        columns: headings.
        rows: cells, as text; may hold text of strangers, so the printer escapes.
        failed: the command should exit with 1.
    """

    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    failed: bool = False


def ls(uri: str | Path) -> Listing:
    """The versions of a dataset."""
    store = open_store(uri)
    manifests = [read_manifest(store, version) for version in versions(store)]
    columns = ["version", "clips", "captions", "hours", "shards", "MB", "train", "val", "test", "sha256"]
    return Listing(f"{store.uri}: {len(manifests)} versions", columns, [_version_row(item) for item in manifests])


def show(uri: str | Path, version: int | None = None, key: str | None = None) -> Listing:
    """A version's facts and score columns, or all values of one sample.

    Raises:
        ConfigError: no such dataset, version or key.
    """
    if key is not None:
        return _show_sample(uri, version, key)
    manifest = read_manifest(open_store(uri), version)
    stats = manifest.stats
    facts = [
        ["clips", f"{stats.num_samples:,}"],
        ["sources", f"{stats.num_sources:,}"],
        ["frames", f"{stats.num_frames:,}"],
        ["hours", f"{stats.hours:.4f}"],
        ["captions", f"{stats.num_captions:,}"],
        ["bytes", f"{stats.size_bytes:,} in {len(manifest.shards)} shards"],
        *([name, f"{s.num_samples:,} clips of {s.num_sources:,} sources"] for name, s in manifest.splits.items()),
        *([f"withdrawn {item.date or ''}".strip(), _withdrawal(item)] for item in manifest.withdrawn),
        *([f"column {name}", _range(s)] for name, s in stats.columns.items()),
    ]
    return Listing(f"version {manifest.version}, sha256 {manifest.sha256()}", ["what", "value"], facts)


def verification(uri: str | Path, version: int | None = None, deep: bool = True, frames: bool = False) -> Listing:
    """The problems of a dataset; failed if there is any but what killed writers left."""
    problems = verify(uri, version, deep, frames)
    checked = "frames" if frames else "bytes" if deep else "sizes"
    title = f"{uri}: {len(problems)} problems ({checked} checked)"
    failed = any(problem.code != "leftover" for problem in problems)
    return Listing(title, ["code", "path", "detail"], [[p.code, p.path, p.detail] for p in problems], failed)


def publication(uri: str | Path, plan_id: str | None = None, splits: SplitConfig | None = None) -> Listing:
    """Publish all commits of a plan; configuration and splits are those of the newest version where not given.

    Raises:
        ConfigError: there are several plans and none is named, or no commit.
    """
    store = open_store(uri)
    commits = list_commits(store, plan_id)
    if not commits:
        raise ConfigError(
            f"dataset {store.uri} has no committed shard of plan {plan_id}; run curation or name another plan"
        )
    newest = _newest(store)
    config: dict[str, Any] = newest.config if newest else {}
    manifest = publish(store, commits, config, splits or (newest.split_config if newest else SplitConfig()))
    state = "is unchanged" if newest and newest.version == manifest.version else "is published"
    return Listing(f"version {manifest.version} {state}", ["version", "clips"], [_version_row(manifest)[:2]])


def _newest(store: Store) -> Manifest | None:
    return read_manifest(store) if versions(store) else None


def _version_row(manifest: Manifest) -> list[str]:
    stats, splits = manifest.stats, manifest.splits
    return [
        f"v{manifest.version}",
        f"{stats.num_samples:,}",
        f"{stats.num_captions:,}",
        f"{stats.hours:.4f}",
        str(len(manifest.shards)),
        f"{stats.size_bytes / 1e6:.1f}",
        *(f"{splits[name].num_samples:,}" for name in ("train", "val", "test")),
        manifest.sha256()[:12],
    ]


def _show_sample(uri: str | Path, version: int | None, key: str) -> Listing:
    dataset = open_dataset(uri, version)
    found = dataset.find(key)
    row = dataset.rows.slice(found, 1).to_pylist()[0]
    return Listing(f"{key} in {row['shard']}", ["column", "value"], [[name, str(value)] for name, value in row.items()])


def _withdrawal(item: Withdrawal) -> str:
    return f"{len(item.sources)} sources, {len(item.keys)} keys: {item.reason}" + (f" ({item.by})" if item.by else "")


def _range(stats: Any) -> str:
    if not stats.num_values:
        return "no value"
    return f"{stats.min:.4g} to {stats.max:.4g}, mean {stats.mean:.4g}, {stats.num_values:,} values"
