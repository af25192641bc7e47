"""Why a second of a video was kept, rejected or failed: rules with numbers, bounds, where the bytes lie."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from curate.ask.find import find_clip, find_video, segment_at, segments_of, split_question
from curate.ask.finished import FinishedRun, finished_run
from curate.ask.shelf import shelf_of
from curate.decision.rules import Rule
from curate.decision.thresholds import thresholds
from shards.format.index import read_index
from shards.schema import SEGMENT_CLIP, STATUS_OK
from shards.storage.store import open_store

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take


@dataclass(frozen=True)
class Measure:
    """A quantity beside the number that a rule compares it with.

    Attributes:
        quantity, operator, limit: the comparison.
        value: what was measured; None if there is no value.
        holds: whether the comparison is true; None if there is no value.
    """

    quantity: str
    operator: str
    limit: float
    value: float | None
    holds: bool | None

    @property
    def off(self) -> float | None:
        """Value less limit."""
        return None if self.value is None else self.value - self.limit


@dataclass(frozen=True)
class RuleAnswer:
    """What one rule says of one row.

    Attributes:
        answer: true, false, or None if a value is missing.
        measures: its comparisons with numbers.
        values: all columns that it reads.
        missing: columns that were never computed.
    """

    name: str
    expression: str
    answer: bool | None
    measures: Sequence[Measure]
    values: dict[str, Any]
    missing: Sequence[str]


@dataclass(frozen=True)
class Place:
    """Where a clip's bytes lie.

    Attributes:
        shard: path of the tar, relative to the dataset.
        key: name of the sample.
        offset, size_bytes: of the .mp4 in the tar.
        cut_mode: copy or encode.
    """

    shard: str
    key: str
    offset: int
    size_bytes: int
    cut_mode: str


@dataclass(frozen=True)
class Explanation:
    """Everything about one second, segment or video.

    Attributes:
        video: its row of VIDEO.
        second: that was asked for, from the video's first frame; None if none was.
        segment: its row of the catalog; None if the whole video is meant or went as a whole.
        before, after: the neighbours of the segment in time.
        segments: of the whole video, in order of time.
        rules: what each rule says of the segment, or of the video if it was stopped before its scan.
        same_as: uri of the input with equal bytes that was taken instead.
        keeper: clip_id of the clip with equal frames that was taken instead.
        place: of a clip that a shard holds, also of one that rules drop since.
    """

    video: dict[str, Any]
    second: Fraction | None
    segment: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    segments: Sequence[dict[str, Any]]
    rules: Sequence[RuleAnswer]
    same_as: str | None
    keeper: str | None
    place: Place | None


def ask_why(directory: Path, question: str) -> Explanation:
    """Explain `ID` or `ID@SECOND` of a finished run; ID is a clip id, video id, uri or file name.

    Raises:
        ConfigError: no finished run, nothing of that name, or the video does not last so long.
    """
    return explain(finished_run(directory), question)


def explain(run: FinishedRun, question: str) -> Explanation:
    """As `ask_why`, of a run that was read."""
    name, second = split_question(question)
    segment = find_clip(run.clips, name)
    video = find_video(run.videos, segment["video_id"] if segment else name)
    segments = segments_of(run.clips, video)
    if second is not None and segments:
        segment = segment_at(segments, video, second)
    row = -1 if segment is None else [item["clip_id"] for item in segments].index(segment["clip_id"])
    group = (segment or {}).get("dup_group")
    return Explanation(
        video=video,
        second=second,
        segment=segment,
        before=segments[row - 1] if row > 0 else None,
        after=segments[row + 1] if 0 <= row < len(segments) - 1 else None,
        segments=segments,
        rules=_answers(run, video, segment),
        same_as=_same_as(run.videos, video),
        keeper=group if segment and group != segment["clip_id"] else None,
        place=_place(run, segment["clip_id"]) if segment else None,
    )


def rule_answer(rule: Rule, row: pa.Table, missing: Sequence[str] = ()) -> RuleAnswer:
    """What a rule says of a table of one row.

    Args:
        rule: compiled against the columns of `row`.
        row: one row.
        missing: columns of it that were never computed.
    """
    unseen = [name for name in rule.columns if name in missing]
    measures = [
        Measure(item.quantity, item.operator, item.value, item.values(row)[0].as_py(), item.holds(row)[0].as_py())
        for item in thresholds(rule)
    ]
    unknown = {name: np.array([True]) for name in unseen}
    answer = rule.evaluate_scored(row, unknown)[0].as_py()
    values = {name: row[name][0].as_py() for name in rule.columns}
    return RuleAnswer(rule.name, rule.expression, answer, measures, values, unseen)


def _answers(run: FinishedRun, video: dict[str, Any], segment: dict[str, Any] | None) -> list[RuleAnswer]:
    if segment is not None:
        if segment["segment"] != SEGMENT_CLIP:
            return []
        at = pc.index(run.clips["clip_id"], segment["clip_id"]).as_py()
        missing = [name for name, mask_N in run.missing.items() if mask_N[at]]
        row = run.clips.slice(at, 1)
        return [rule_answer(rule, row, missing) for rule in run.pipeline.clip_rules]
    row = run.videos.filter(pc.equal(run.videos["uri"], video["uri"]))
    return [rule_answer(rule, row) for rule in run.pipeline.video_rules if video["video_id"]]


def _same_as(videos: pa.Table, video: dict[str, Any]) -> str | None:
    if video["video_id"] is None:
        return None
    same = pc.and_(pc.equal(videos["video_id"], video["video_id"]), pc.equal(videos["status"], STATUS_OK))
    uris = [uri for uri in videos.filter(same)["uri"].to_pylist() if uri != video["uri"]]
    return uris[0] if uris else None


def _place(run: FinishedRun, clip_id: str) -> Place | None:
    """In the newest shard that holds the clip as the catalog has it."""
    columns = ["key", "mp4_offset", "mp4_size", "cut_mode"]
    for commit in shelf_of(run, [clip_id]).commits:
        rows = read_index(open_store(run.run_dir.dataset).get(commit.index.path), columns)
        sample = rows.filter(pc.equal(rows["key"], clip_id)).to_pylist()[0]
        return Place(commit.shard.path, clip_id, *(sample[name] for name in columns[1:]))
    return None
