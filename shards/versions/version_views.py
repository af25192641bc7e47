"""What the commands about versions show: titles, columns and rows, printed by `reelmill shards …`."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from shards.errors import ConfigError
from shards.format.commit import list_commits
from shards.storage.store import Store, open_store
from shards.versions.append import append
from shards.versions.cli_views import Listing
from shards.versions.collect import collect, parse_duration_s
from shards.versions.compact import compact, partly_published
from shards.versions.diff import count_moves, diff
from shards.versions.export import HUB_SPLITS, data_files, export
from shards.versions.hub import push
from shards.versions.manifest import Manifest, read_manifest, versions
from shards.versions.withdraw import lift, withdraw

_EXAMPLES = 3
_COLUMNS = ["what", "number", "which"]


def difference(uri: str | Path, before: int | None = None, after: int | None = None, keys: bool = False) -> Listing:
    """What differs between two versions.

    Args:
        uri: of the dataset.
        before: number of the one; None for the one before `after`.
        after: number of the other; None for the newest.
        keys: every key on a line of its own instead of the first few.

    Raises:
        ConfigError: a version does not exist.
    """
    found = diff(uri, before, after)
    added, removed, changed = found.columns()
    new_shards, gone_shards = found.shards()
    rows = [
        *_some("added", found.added, keys),
        *_some("removed", found.removed, keys),
        *_some("changed", [f"{key} ({', '.join(parts)})" for key, parts in found.changed.items()], keys),
        *_some("moved", [f"{move.key} ({move.before} to {move.after})" for move in found.moves], keys),
        *([f"moved {way}", str(number), ""] for way, number in count_moves(found.moves).items()),
        *_some("columns added", added, True),
        *_some("columns removed", removed, True),
        *_some("columns changed", changed, True),
        *([name, f"{new - old:+,.6g}", f"{old:,.6g} to {new:,.6g}"] for name, (old, new) in found.stats().items()),
        *_some("shards added", new_shards, keys),
        *_some("shards removed", gone_shards, keys),
    ]
    state = "the same samples" if found.same_samples else "other samples"
    title = f"version {found.before.version} to {found.after.version}: {state}"
    return Listing(title, _COLUMNS, rows)


def appended(uri: str | Path, plan_id: str | None) -> Listing:
    """Append the shards of a plan to the newest version.

    Raises:
        ConfigError: the plan has no commit, or there are several.
    """
    store = open_store(uri)
    commits = list_commits(store, plan_id)
    if not commits:
        raise ConfigError(f"dataset {store.uri} has no committed shard of plan {plan_id}; name another plan")
    return _published(store, lambda: append(store, commits))


def key_list(path: Path | None) -> list[str]:
    """Keys in a file, one a line; none without a file.

    Raises:
        ConfigError: the file cannot be read as text.
    """
    if path is None:
        return []
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"keys are in {path}; {error}; name a text file with one key a line") from error


def withdrawal(
    uri: str | Path,
    reason: str,
    sources: Sequence[str],
    keys: Sequence[str],
    by: str | None = None,
    date: str | None = None,
    unseen: bool = False,
) -> Listing:
    """Withdraw samples, and say where their bytes still are.

    Raises:
        ConfigError: nothing is published, nothing is named, or a name is unknown.
    """
    store = open_store(uri)
    listing = _published(
        store,
        lambda: withdraw(store, reason=reason, sources=sources, keys=keys, by=by, date=date, unseen=unseen),
    )
    holding = partly_published(store, read_manifest(store))
    if holding:
        advice = (
            "the bytes are there until `reelmill shards compact`, then `reelmill shards gc --keep-versions 1 --delete`"
        )
        listing.rows.append(["shards with unpublished samples", str(len(holding)), advice])
    return listing


def compaction(uri: str | Path, scratch: str | Path | None = None) -> Listing:
    """Write shards with unpublished samples again.

    Raises:
        ConfigError: nothing is published.
    """
    store = open_store(uri)
    with tempfile.TemporaryDirectory(dir=scratch, prefix="reelmill-") as folder:
        return _published(store, lambda: compact(store, Path(folder)))


def collection(uri: str | Path, grace: str, keep_versions: int | None = None, delete: bool = False) -> Listing:
    """What no version names: removed, or only shown.

    Raises:
        ConfigError: an argument makes no sense, or nothing is published.
    """
    found = collect(uri, grace_s=parse_duration_s(grace), keep_versions=keep_versions, delete=delete)
    megabytes = sum(item.size_bytes for item in found.garbage) / 1e6
    rows = [[item.kind, f"{item.size_bytes:,}", item.path] for item in found.garbage]
    if found.too_young:
        rows.append(["kept", str(len(found.too_young)), f"named by nothing, younger than {grace}, or just published"])
    if found.withdrawn_in:
        which = ", ".join(f"v{number}" for number in found.withdrawn_in)
        rows.append(["withdrawn samples", "", f"still published by {which}; --keep-versions drops old versions"])
    verb = "removed" if delete else "would go; --delete removes them"
    title = f"{uri}: {len(found.garbage)} objects of {megabytes:,.1f} MB {verb}"
    return Listing(title, ["kind", "bytes", "path"], rows)


def exported(
    uri: str | Path, out: str | Path, version: int | None = None, scratch: str | Path | None = None
) -> Listing:
    """Write a version by split as a dataset of its own.

    Raises:
        ConfigError: no such version, or the folder holds something else.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="reelmill-") as folder:
        manifest = export(uri, out, Path(folder), version)
    rows = [
        [name, f"{manifest.splits[split].num_samples:,}", data_files(manifest)[name]]
        for split, name in HUB_SPLITS.items()
        if manifest.splits[split].num_samples
    ]
    return Listing(f"version {manifest.version} is exported to {out}", ["split", "clips", "tars"], rows)


def pushed(
    uri: str | Path,
    repo_id: str,
    version: int | None = None,
    create: bool = False,
    public: bool = False,
    scratch: Path | None = None,
) -> Listing:
    """Push a version to the Hugging Face Hub.

    Raises:
        ConfigError: huggingface_hub is missing, or there is no such version or repository.
        StoreError: the Hub refused or was not reached.
    """
    done = push(uri, repo_id, version=version, create=create, private=not public, scratch=scratch)
    rows = [
        ["commit", done.commit],
        ["manifest sha256", done.manifest_sha256],
        ["files", f"{done.num_files} of {done.size_bytes / 1e6:,.1f} MB"],
        ["removed from the newest commit", f"{len(done.removed)} files; the Hub's history still has them"],
    ]
    return Listing(f"version {done.version} is what {repo_id} shows", ["what", "value"], rows)


def lifting(uri: str | Path, sources: Sequence[str], keys: Sequence[str]) -> Listing:
    """Lift tombstones.

    Raises:
        ConfigError: nothing is published, or a name is not withdrawn.
    """
    store = open_store(uri)
    listing = _published(store, lambda: lift(store, sources=sources, keys=keys))
    listing.rows.append(["to bring samples back", "", "`reelmill shards publish`, or a curation run"])
    return listing


def _published(store: Store, act: Callable[[], Manifest]) -> Listing:
    """What a publication changed, seen from the version before."""
    before = versions(store)
    manifest = act()
    if manifest.version in before:
        return Listing(f"version {manifest.version} is unchanged", _COLUMNS)
    if manifest.parent is None:
        return Listing(
            f"version {manifest.version} is published", _COLUMNS, [["added", str(manifest.stats.num_samples), ""]]
        )
    listing = difference(store.uri, manifest.parent.version, manifest.version)
    return replace(listing, title=f"version {manifest.version} is published; before it, {manifest.parent.version}")


def _some(what: str, names: Sequence[str], every: bool) -> list[list[str]]:
    """One line with the number and the first names, or a line for each."""
    if every:
        return [[what, "", name] for name in names]
    if not names:
        return []
    more = ", …" if len(names) > _EXAMPLES else ""
    return [[what, f"{len(names):,}", ", ".join(names[:_EXAMPLES]) + more]]
