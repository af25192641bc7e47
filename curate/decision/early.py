"""Rules over key frames: whole videos that no clip can be kept of, before the scan. Pure, and repeatable after it."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.columns import with_columns
from curate.decision.rules import Rule
from shards.schema import STATUS_FAILED, STATUS_OK, STATUS_REJECTED, VIDEO, from_rows

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

REQUIRED = "required_"  # begins the drop_rule of an input that came without what `ingest.require` names
RULE_UNKNOWN = "rule_unknown"  # code of a video for which a rule over key frames has no answer


def judge_videos(videos: pa.Table, rules: Sequence[Rule]) -> pa.Table:
    """Rows of VIDEO with status, drop_rule and error as these rules give them, whatever other rules said before.

    The first rule that is not true decides: false rejects the video, unknown fails it.

    Args:
        videos: probed rows, in which no other step has set a drop_rule but for what an input lacks.
        rules: over columns of the key frames, in their order.
    """
    lacking = pc.starts_with(pc.fill_null(videos["drop_rule"], ""), REQUIRED)
    before = pc.and_not(videos["drop_rule"].is_valid(), lacking)
    status = pc.if_else(before, pa.scalar(STATUS_OK), videos["status"])
    error = pc.if_else(before, pa.scalar(None, pa.string()), videos["error"])
    drop_rule = pc.if_else(lacking, videos["drop_rule"], pa.scalar(None, pa.string()))
    for rule in rules:
        answer = rule.evaluate(videos)
        judged = pc.equal(status, STATUS_OK).fill_null(False)
        unknown, false = pc.and_(judged, answer.is_null()), pc.and_(judged, pc.invert(answer).fill_null(False))
        status = pc.if_else(unknown, pa.scalar(STATUS_FAILED), pc.if_else(false, pa.scalar(STATUS_REJECTED), status))
        error = pc.if_else(unknown, pa.scalar(RULE_UNKNOWN), error)
        drop_rule = pc.if_else(pc.or_(unknown, false), pa.scalar(rule.name), drop_rule)
    return with_columns(videos, [("status", status), ("drop_rule", drop_rule), ("error", error)])


def judged(row: dict[str, Any], rules: Sequence[Rule]) -> dict[str, Any]:
    """One row of VIDEO as `judge_videos` leaves it."""
    return judge_videos(from_rows([row], VIDEO), rules).to_pylist()[0] if rules else row
