"""Which clips of a catalog lie in published shards, exactly as the catalog has them: what need not be cut again."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.ask.finished import FinishedRun
from curate.reuse import find_reuse
from shards.format.commit import Commit
from shards.schema import STATUS_OK, strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class Shelf:
    """Clips that published shards hold.

    Attributes:
        commits: the shards, each with one or more of the clips.
        clip_ids: what they hold of the wanted clips.
    """

    commits: Sequence[Commit]
    clip_ids: frozenset[str]


def shelf_of(run: FinishedRun, wanted: Collection[str]) -> Shelf:
    """What a rerun that keeps these clips would take from published shards, by the same test as the run."""
    rows = run.clips.filter(pc.is_in(run.clips["clip_id"], value_set=pa.array(sorted(wanted), pa.string())))
    videos = run.videos.filter(pc.equal(run.videos["status"], STATUS_OK))
    reuse = find_reuse(run.run_dir, rows, videos, run.config.cut, "")
    return Shelf(reuse.commits, frozenset(strings(rows.filter(pa.array(reuse.held_N)), "clip_id")))
