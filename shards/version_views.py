"""What the commands about versions show: titles, columns and rows, printed by `reelmill shards …`."""

from collections.abc import Sequence
from pathlib import Path

from shards.cli_views import Listing
from shards.diff import count_moves, diff

_EXAMPLES = 3


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
    return Listing(title, ["what", "number", "which"], rows)


def _some(what: str, names: Sequence[str], every: bool) -> list[list[str]]:
    """One line with the number and the first names, or a line for each."""
    if every:
        return [[what, "", name] for name in names]
    if not names:
        return []
    more = ", …" if len(names) > _EXAMPLES else ""
    return [[what, f"{len(names):,}", ", ".join(names[:_EXAMPLES]) + more]]
