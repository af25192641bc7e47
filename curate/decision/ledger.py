"""The ledger: every second of every input ends kept, rejected by a rule or failed with a code, or the run is wrong.

Seconds are sums of integer pts times a time base, as fractions: the two sides are equal, not nearly equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute

from curate.decision.partition import MAX_OFFENDERS, named, partition_offences
from shards.errors import ContractError
from shards.schema import STATUS_FAILED, STATUS_KEPT, STATUS_OK, STATUS_REJECTED, STATUS_UNSCORED

if TYPE_CHECKING:
    from curate.decision.decide import RuleStats

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_STATUSES = [STATUS_KEPT, STATUS_REJECTED, STATUS_FAILED, STATUS_UNSCORED]
_SPAN = ("start_pts", "end_pts", "time_base_num", "time_base_den")


@dataclass(frozen=True)
class Entry:
    """Seconds that ended the same way.

    Attributes:
        status: kept, rejected or failed.
        reason: rule or code; empty if kept.
        level: video or segment: what the rows are.
        rows: number of them.
        seconds: exact.
    """

    status: str
    reason: str
    level: str
    rows: int
    seconds: Fraction


@dataclass(frozen=True)
class Ledger:
    """Where the input went.

    Attributes:
        input_s: seconds of all videos with a known span.
        num_videos: rows of VIDEO.
        num_unknown: failed videos whose length nobody knows.
        entries: ways out, by status and then by most seconds.
        offences: where the books do not balance, as sentences; empty if they do.
    """

    input_s: Fraction
    num_videos: int
    num_unknown: int
    entries: Sequence[Entry]
    offences: Sequence[str]

    @property
    def kept_s(self) -> Fraction:
        """Seconds that were kept."""
        return sum((entry.seconds for entry in self.entries if entry.status == STATUS_KEPT), Fraction(0))

    @property
    def accounted_s(self) -> Fraction:
        """Seconds of all ways out; equal to input_s, or something vanished."""
        return sum((entry.seconds for entry in self.entries), Fraction(0))

    @property
    def balances(self) -> bool:
        """Nothing is missing and nothing is counted twice."""
        return not self.offences

    def check(self) -> None:
        """Stop everything if the books do not balance.

        Raises:
            ContractError: they do not; the first offenders are named.
        """
        if self.offences:
            raise ContractError("ledger does not balance: " + "; ".join(self.offences))

    def describe(self) -> str:
        """The funnel, as text."""
        unknown = f", {self.num_unknown} of unknown length" if self.num_unknown else ""
        lines = [f"{'input':<9}{float(self.input_s):>10.2f} s  {self.num_videos} videos{unknown}"]
        for entry in self.entries:
            lines.append(
                f"{entry.status:<9}{float(entry.seconds):>10.2f} s  {_count(entry):<14}{entry.reason}".rstrip()
            )
        return "\n".join(lines)


def seconds(rows: pa.Table) -> Fraction:
    """Exact total length of the spans [start_pts, end_pts) of a table; rows without a span count nothing."""
    spans = rows.select(_SPAN).append_column("pts", pc.subtract(rows["end_pts"], rows["start_pts"]))
    sums = spans.filter(spans["pts"].is_valid()).group_by(list(_SPAN[2:])).aggregate([("pts", "sum")])
    return sum(
        (Fraction(row["pts_sum"] * row["time_base_num"], row["time_base_den"]) for row in sums.to_pylist()), Fraction(0)
    )


def balance(videos: pa.Table, clips: pa.Table) -> Ledger:
    """Count every input second over demuxed pts, and prove that segments partition the span of each scanned video.

    Args:
        videos: rows of VIDEO.
        clips: rows of CLIP with the columns of DECISION.
    """
    scanned = pc.equal(videos["status"], STATUS_OK).fill_null(False)
    unscanned = videos.filter(pc.invert(scanned))
    entries = [*_entries(unscanned, "video"), *_entries(clips, "segment")]
    offences = [
        *_undecided(unscanned, "video", "uri"),
        *_undecided(clips, "segment", "clip_id"),
        *partition_offences(videos.filter(scanned), clips),
    ]
    ledger = Ledger(
        input_s=seconds(videos),
        num_videos=len(videos),
        num_unknown=videos["end_pts"].null_count,
        entries=sorted(entries, key=lambda entry: (_STATUSES.index(entry.status), -entry.seconds, entry.reason)),
        offences=offences,
    )
    if ledger.accounted_s != ledger.input_s:
        missing = f"{float(ledger.input_s)} s came in, {float(ledger.accounted_s)} s are accounted for"
        return replace(ledger, offences=[missing, *offences])
    return ledger


def problems(ledger: Ledger, rules: Sequence["RuleStats"]) -> list[str]:
    """What is wrong with a run as a whole, as sentences for people; empty if nothing is."""
    found = [f"the ledger does not balance: {offence}" for offence in ledger.offences]
    found += [
        f"rule {rule.name} ({rule.expression}) rejects all {rule.seen} clips it saw; change keep.{rule.name}"
        for rule in rules
        if rule.rejects_all
    ]
    if not ledger.kept_s:
        ways = "; ".join(f"{entry.status} {entry.reason}: {_count(entry)}" for entry in ledger.entries[:MAX_OFFENDERS])
        found.append(f"nothing is kept of {ledger.num_videos} videos ({ways or 'they gave no segment'})")
    return found


def _entries(rows: pa.Table, level: str) -> list[Entry]:
    """One entry for each status and reason; rows with no status at all are left to `_undecided`."""
    keyed = rows.select(_SPAN).append_column("status", rows["status"]).append_column("reason", _reason(rows))
    keyed = keyed.filter(_is_status(rows))
    found = []
    for pair in keyed.group_by(["status", "reason"]).aggregate([]).to_pylist():
        same = keyed.filter(pc.and_(*(pc.equal(keyed[name], value) for name, value in pair.items())))
        found.append(Entry(pair["status"], pair["reason"], level, len(same), seconds(same)))
    return found


def _reason(rows: pa.Table) -> pa.ChunkedArray:
    """The rule, else the code of the failure; nothing if kept, though scores that no rule asks for may have codes."""
    reason = pc.coalesce(rows["drop_rule"], rows["error"], pa.scalar(""))
    return pc.if_else(pc.equal(rows["status"], STATUS_KEPT), pa.scalar(""), reason)


def _undecided(rows: pa.Table, level: str, name: str) -> list[str]:
    """Rows without a known status, and rows that were dropped without a reason."""
    known = _is_status(rows)
    silent = pc.and_(pc.not_equal(rows["status"], STATUS_KEPT).fill_null(False), pc.equal(_reason(rows), ""))
    return [
        *named(level, rows[name].filter(pc.invert(known)), "has no decision"),
        *named(level, rows[name].filter(pc.and_(known, silent)), "was dropped without a reason"),
    ]


def _is_status(rows: pa.Table) -> pa.ChunkedArray:
    return pc.is_in(rows["status"], pa.array(_STATUSES))


def _count(entry: Entry) -> str:
    return f"{entry.rows} {entry.level}{'' if entry.rows == 1 else 's'}"
