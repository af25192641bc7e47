"""`reelmill curate explain`: an explanation in words and numbers. Names and tools' messages are strangers' text."""

import re
from collections.abc import Iterator
from typing import Any

from curate.ask.explain import Explanation, Measure, RuleAnswer
from curate.decision.dedup import EXACT_DUPLICATE
from curate.decision.early import REQUIRED
from curate.pack import CUT_CODE
from curate.report.text import clock, number, visible
from shards.schema import SEGMENT_CLIP, STATUS_KEPT, STATUS_OK, STATUS_REJECTED, time_base

_WORD = re.compile(r"\w+")

SEGMENT_REASONS = {
    "fade": "a ramp to or from black or white, or blank frames, between two shots",
    "dissolve": "frames in which one shot passes into the next",
    "wipe": "frames in which one shot passes into the next",
    "too_short": "a shot below scenes.min_clip_s",
    "undecoded": "packets that gave no frame",
}


def describe(found: Explanation) -> str:
    """The explanation as lines of a heading and text."""
    return "\n".join(f"{heading:<9} {text}".rstrip() for heading, text in _lines(found))


def as_json(found: Explanation) -> dict[str, Any]:
    """The explanation for programs; vectors are left out."""
    values = {
        "video": _plain(found.video),
        "second": None if found.second is None else float(found.second),
        "rules": [
            vars(rule) | {"measures": [vars(item) | {"off": item.off} for item in rule.measures]}
            for rule in found.rules
        ],
        "same_as": found.same_as,
        "keeper": found.keeper,
        "place": vars(found.place) if found.place else None,
    }
    return values | {name: _plain(getattr(found, name)) for name in ("segment", "before", "after")}


def _lines(found: Explanation) -> Iterator[tuple[str, str]]:
    video = found.video
    yield "video", visible(video["uri"])
    if video["end_pts"] is not None:
        length_s = float((video["end_pts"] - video["start_pts"]) * time_base(video))
        yield "", f"{video['video_id']}, {video['codec']} {video['width']}x{video['height']}, {clock(length_s)} long"
    if found.second is not None:
        yield "second", clock(float(found.second))
    if found.segment is None:
        yield from _video_lines(found)
        return
    yield "segment", f"{found.segment['segment']} {_span(video, found.segment)}"
    yield "", _bounds(found.segment)
    yield from zip(("verdict", *[""] * 9), _verdict(found), strict=False)
    yield from _rule_lines(found.rules)
    yield "before", _neighbour(video, found.before) if found.before else "none: the video begins"
    yield "after", _neighbour(video, found.after) if found.after else "none: the video ends"
    if found.place is not None:
        place = found.place
        yield "bytes", f"dataset/{place.shard}, key {place.key}"
        yield "", f"{place.size_bytes:,} bytes of .mp4 at offset {place.offset:,}, made by {place.cut_mode}"
    elif found.segment["status"] == STATUS_KEPT:
        yield "bytes", "in no published shard; run `reelmill curate run` again"


def _video_lines(found: Explanation) -> Iterator[tuple[str, str]]:
    video = found.video
    if video["status"] == STATUS_OK:
        yield "verdict", f"scanned: {len(found.segments)} segments; ask for one by its id, or @SECOND"
        for segment in found.segments:
            yield "", _neighbour(video, segment)
        return
    if (video["drop_rule"] or "").startswith(REQUIRED):
        lacks = visible(video["drop_rule"].removeprefix(REQUIRED))
        yield "verdict", f"rejected unopened: it came without {lacks}, which ingest.require names"
    elif video["drop_rule"] == EXACT_DUPLICATE:
        yield "verdict", f"rejected as {EXACT_DUPLICATE}: the same bytes are taken from {visible(found.same_as or '?')}"
    elif video["status"] == STATUS_REJECTED:
        yield "verdict", f"rejected as a whole by rule {video['drop_rule']}, before its scan"
    else:
        yield "verdict", f"failed as a whole: {video['error']}"
        yield "", visible(video["error_detail"] or "")
    yield from _rule_lines(found.rules)


def _verdict(found: Explanation) -> Iterator[str]:
    row = found.segment or {}
    rule = next((item for item in found.rules if item.name == row["drop_rule"]), None)
    if row["status"] == STATUS_KEPT:
        yield "kept: every rule is true"
    elif row["segment"] != SEGMENT_CLIP:
        yield f"{row['status']}: no candidate, {SEGMENT_REASONS.get(row['segment'], row['segment'])}"
    elif (row["drop_rule"] or "").startswith(CUT_CODE):
        yield f"failed: kept by every rule, but it could not be cut ({row['drop_rule'].removeprefix(CUT_CODE)})"
    elif row["status"] == STATUS_REJECTED:
        yield f"rejected by rule {row['drop_rule']}, the first that is false"
    else:
        yield f"failed: rule {row['drop_rule']} has no answer, since a score has no value"
    if rule is not None and row["status"] != STATUS_KEPT:
        yield from (_distance(item) for item in rule.measures if item.holds is not True)
    if found.keeper:
        yield f"its frames equal those of clip {found.keeper}, which is taken instead"
    if row["error"]:
        yield f"codes: {row['error']}"


def _rule_lines(rules: Any) -> Iterator[tuple[str, str]]:
    words = {True: "true", False: "false", None: "unknown"}
    for index, rule in enumerate(rules):
        yield "rules" if not index else "", f"{rule.name:<16} {words[rule.answer]:<8} {_numbers(rule)}"


def _numbers(rule: RuleAnswer) -> str:
    read = {word for item in rule.measures for word in _WORD.findall(item.quantity)}
    plain = [f"{name} is {_value(value)}" for name, value in rule.values.items() if name not in read]
    never = [f"{name} was never computed" for name in rule.missing]
    return "; ".join([*(_distance(item) for item in rule.measures), *plain, *never])


def _distance(item: Measure) -> str:
    """`flow_mag is 0.007, 0.003 (30 %) below 0.01; wanted >= 0.01`."""
    if item.value is None or item.off is None:
        return f"{item.quantity} has no value; wanted {item.operator} {number(item.limit)}"
    side = "above" if item.off > 0 else "below"
    share = f" ({100 * abs(item.off / item.limit):.0f} %)" if item.limit else ""
    where = f"{number(abs(item.off))}{share} {side}" if item.off else "exactly at"
    limit = number(item.limit)
    return f"{item.quantity} is {number(item.value)}, {where} {limit}; wanted {item.operator} {limit}"


def _value(value: object) -> str:
    return visible(repr(value), 80) if isinstance(value, str) else number(value)


def _bounds(row: dict[str, Any]) -> str:
    confidence = "" if row["cut_confidence"] is None else f" (confidence {row['cut_confidence']:.2f})"
    return f"begins with {row['start_kind']}{confidence}, ends with {row['end_kind']}; clip id {row['clip_id']}"


def _span(video: dict[str, Any], row: dict[str, Any]) -> str:
    start_s, end_s = (float((row[name] - video["start_pts"]) * time_base(row)) for name in ("start_pts", "end_pts"))
    return f"{clock(start_s)} to {clock(end_s)}, pts {row['start_pts']} to {row['end_pts']}, {row['num_frames']} frames"


def _neighbour(video: dict[str, Any], row: dict[str, Any]) -> str:
    reason = f" ({row['drop_rule']})" if row["drop_rule"] else ""
    return f"{row['clip_id']} {row['segment']:<9} {_span(video, row)}: {row['status']}{reason}"


def _plain(row: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if row is None else {name: value for name, value in row.items() if not isinstance(value, list | bytes)}
