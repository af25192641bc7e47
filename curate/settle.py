"""From a coarse scan to one by which shots can be told to the frame: scan, look, decode what is needed, look again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.scan import ScanConfig, ScanResult, fill_scan, scan_video
from curate.scenes.segments import ScenesConfig
from curate.scenes.unsettled import unsettled_spans

if TYPE_CHECKING:
    from curate.media.child import MediaChild

_MAX_ROUNDS = 6  # each shows frames that were hidden, so the look changes less and less


def settled(
    child: "MediaChild",
    video_row: Mapping[str, Any],
    result: ScanResult,
    scratch: Path,
    scan: ScanConfig,
    scenes: ScenesConfig,
) -> ScanResult:
    """A scan in which no boundary depends on a frame that was not seen.

    Args:
        child: where the bytes are opened.
        video_row: the row that was scanned.
        result: of the scan; what is returned takes its place, and on an error its files are gone.
        scratch: folder for the files of a second scan, should a fill not give what the first pass would have given.
        scan: how it was scanned.
        scenes: how shots are told.

    Raises:
        MediaError: the file cannot be decoded any more.
    """
    try:
        for _ in range(_MAX_ROUNDS):
            spans = unsettled_spans(result.scan, scenes)
            if not spans:
                return result
            filled = fill_scan(child, video_row, result, spans, scan)
            if filled is None:
                break
            result = filled
    except BaseException:
        result.close()
        raise
    result.close()
    again = scan_video(child, video_row, scratch, scan.model_copy(update={"coarse": False}))
    return replace(again, counts={**again.counts, "decoded_frames": again.decoded_frames + result.decoded_frames})
