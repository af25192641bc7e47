"""Failed items once more, and nothing else: what the run remembers of them is forgotten, then the run goes on.

A video comes back in a part of its own: its neighbours stay as they are. A clip that could not be cut comes back in a
shard of its own. A model's score is computed again for that clip alone; one that needs the scan, with its video.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.ask.finished import FinishedRun, finished_run
from curate.ask.forget import forget_inputs, forget_scores
from curate.decision.early import REQUIRED
from curate.pack import CUT_CODE
from curate.reuse import forget_failures
from curate.run import Curated, Progress, curate_rows
from shards.errors import ConfigError
from shards.schema import STATUS_FAILED, VIDEO, from_rows, strings

pc: Any = pyarrow.compute  # its stubs refuse the plain values that the functions take

_INPUT_COLUMNS = ("uri", "sidecar_caption", "licence", "provenance")
_NAME_CODES = ("unsupported_uri", "bad_name")  # given by ingest before anything is opened: part of the input itself


@dataclass(frozen=True)
class Retried:
    """What came of it.

    Attributes:
        curated: the run after the retry.
        videos, clips: code -> items that were tried again.
        still: code -> items of these that fail again; videos by their code now.
    """

    curated: Curated
    videos: Mapping[str, int]
    clips: Mapping[str, int]
    still: Mapping[str, int]

    def describe(self) -> str:
        """What was tried again, and what still fails."""
        tried = [f"{number} videos of {code}" for code, number in self.videos.items()]
        tried += [f"{number} clips of {code}" for code, number in self.clips.items()]
        again = ", ".join(f"{number} of {code}" for code, number in self.still.items()) or "none"
        return f"tried again: {', '.join(tried)}; failed again: {again}\n{self.curated.summary()}"


def retry(directory: Path, codes: Sequence[str], progress: Progress) -> Retried:
    """Repeat what failed with these codes.

    Args:
        directory: of a finished run.
        codes: of videos (`deadline`), of cuts (`cut:deadline`) and of scores (`embed:decode_error`).
        progress: told of the run.

    Raises:
        ConfigError: no finished run, or nothing in it failed with one of the codes.
    """
    run = finished_run(directory)
    _known_codes(run, codes)
    videos = _with_codes(run.videos, codes)
    clips = {code: _clip_ids(run.clips, code) for code in codes if ":" in code}
    _forget(run, strings(videos, "uri"), clips)
    curated = curate_rows(run.config, input_rows(run.videos), run.run_dir.root, progress)
    after = finished_run(directory)
    still = Counter(_failed_among(after.videos, strings(videos, "uri")))
    for code, ids in clips.items():
        still[code] += len({*ids} & {*_clip_ids(after.clips, code)})
    tried = Counter(strings(videos, "error")), {code: len(ids) for code, ids in clips.items() if ids}
    return Retried(curated, dict(sorted(tried[0].items())), tried[1], {code: still[code] for code in sorted(+still)})


def _forget(run: FinishedRun, uris: Sequence[str], clips: Mapping[str, Sequence[str]]) -> None:
    stages = {code: code.partition(":")[0] for code in clips}
    models = {stage.name for stage in run.pipeline.frame_stages}
    scanned = {stage.name for stage in run.pipeline.span_stages}
    of_scan = [clip_id for code, ids in clips.items() if stages[code] in scanned for clip_id in ids]
    of_cut = [clip_id for code, ids in clips.items() if code.startswith(CUT_CODE) for clip_id in ids]
    with run.run_dir.locked():
        forget_inputs(run.run_dir, run.pipeline, [*uris, *_uris_of(run, of_scan)])
        for code, ids in clips.items():
            if stages[code] in models:
                forget_scores(run.run_dir, run.pipeline, stages[code], ids)
        forget_failures(run.run_dir, of_cut)


def retry_codes(videos: pa.Table, clips: pa.Table) -> dict[str, int]:
    """Codes by which something failed, and how many items did: of videos, and `stage:code` or `cut:code` of clips."""
    found = Counter(strings(_failed(videos), "error"))
    for cell in strings(clips.filter(clips["error"].is_valid()), "error"):
        found.update(cell.split(";"))
    return dict(sorted(found.items()))


def input_rows(videos: pa.Table) -> pa.Table:
    """The catalog's inputs as ingest made them: unprobed, but for those that ingest judged."""
    rows = []
    for row in videos.select([*_INPUT_COLUMNS, "status", "drop_rule", "error", "error_detail"]).to_pylist():
        judged = row["error"] in _NAME_CODES or (row["drop_rule"] or "").startswith(REQUIRED)
        kept = row if judged else {name: row[name] for name in _INPUT_COLUMNS}
        rows.append(kept)
    return from_rows(rows, VIDEO)


def _known_codes(run: FinishedRun, codes: Sequence[str]) -> None:
    known = retry_codes(run.videos, run.clips)
    stages = [stage.name for stage in (*run.pipeline.span_stages, *run.pipeline.frame_stages)]
    for code in codes:
        prefix, colon, _ = code.partition(":")
        if colon and prefix not in (*stages, CUT_CODE.removesuffix(":")):
            near = ", ".join(difflib.get_close_matches(prefix, [*stages, "cut"], n=1)) or ", ".join([*stages, "cut"])
            raise ConfigError(f"--code is {code!r}; {prefix!r} is no stage of the run; nearest is {near}; name that")
        if code not in known:
            there = ", ".join(f"{name} ({number})" for name, number in known.items()) or "none: nothing failed"
            raise ConfigError(f"--code is {code!r}; the run's codes are {there}; name one of them")


def _failed(videos: pa.Table) -> pa.Table:
    return videos.filter(pc.and_(pc.equal(videos["status"], STATUS_FAILED), videos["error"].is_valid()))


def _with_codes(videos: pa.Table, codes: Sequence[str]) -> pa.Table:
    failed = _failed(videos)
    return failed.filter(pc.is_in(failed["error"], value_set=pa.array(codes, pa.string())))


def _failed_among(videos: pa.Table, uris: Sequence[str]) -> list[str]:
    failed = _failed(videos)
    return strings(failed.filter(pc.is_in(failed["uri"], value_set=pa.array(uris, pa.string()))), "error")


def _clip_ids(clips: pa.Table, code: str) -> list[str]:
    has = pc.match_substring(pc.binary_join_element_wise("", pc.fill_null(clips["error"], ""), "", ";"), f";{code};")
    return strings(clips.filter(has), "clip_id")


def _uris_of(run: FinishedRun, clip_ids: Sequence[str]) -> list[str]:
    """Of all inputs whose scan gave these clips, equal files included."""
    rows = run.clips.filter(pc.is_in(run.clips["clip_id"], value_set=pa.array(clip_ids, pa.string())))
    return strings(
        run.videos.filter(pc.is_in(run.videos["video_id"], value_set=rows["video_id"].combine_chunks())), "uri"
    )
