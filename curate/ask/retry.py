"""Failed items once more, and nothing else: what the run remembers of them is forgotten, then the run goes on.

An input is forgotten by itself: its neighbours in the part stay as they are, and it comes back in a part of its own.
Clips that could not be cut come back in shards of their own beside those that stand.
"""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute

from curate.ask.finished import FinishedRun, finished_run
from curate.modelling import models_name
from curate.pack import CUT_CODE
from curate.parts import finished_parts
from curate.reuse import forget_failures
from curate.run import Curated, Progress, curate_rows
from curate.rundir import RunDir, read_json, write_json
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
        still: code -> items of these that fail again, by their code now.
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
        codes: of videos (`deadline`) and of cuts (`cut:deadline`).
        progress: told of the run.

    Raises:
        ConfigError: no finished run, or nothing in it failed with one of the codes.
    """
    run = finished_run(directory)
    _known_codes(run, codes)
    videos = _failed(run.videos, "error", codes)
    clips = _failed(run.clips, "drop_rule", [code for code in codes if code.startswith(CUT_CODE)])
    uris, clip_ids = strings(videos, "uri"), strings(clips, "clip_id")
    with run.run_dir.locked():
        forget_inputs(run.run_dir, uris, lambda name: models_name(name, run.pipeline))
        forget_failures(run.run_dir, clip_ids)
    curated = curate_rows(run.config, input_rows(run.videos), run.run_dir.root, progress)
    after = finished_run(directory)
    again = [*_of(after.videos, "uri", uris, "error"), *_of(after.clips, "clip_id", clip_ids, "drop_rule")]
    counts = (Counter(strings(videos, "error")), Counter(strings(clips, "drop_rule")), Counter(again))
    return Retried(curated, *(dict(sorted(count.items())) for count in counts))


def retry_codes(videos: pa.Table, clips: pa.Table) -> dict[str, int]:
    """Codes by which something failed that can be tried again, and how many did."""
    failed = _failed(videos, "error", None), _failed(clips, "drop_rule", None)
    codes = [*strings(failed[0], "error"), *strings(failed[1], "drop_rule")]
    cuts = Counter(code for code in codes[len(failed[0]) :] if code.startswith(CUT_CODE))
    return dict(sorted((Counter(codes[: len(failed[0])]) + cuts).items()))


def input_rows(videos: pa.Table) -> pa.Table:
    """The catalog's inputs as ingest made them: unprobed, but for names that cannot be a file."""
    rows = []
    for row in videos.select([*_INPUT_COLUMNS, "status", "error", "error_detail"]).to_pylist():
        kept = row if row["error"] in _NAME_CODES else {name: row[name] for name in _INPUT_COLUMNS}
        rows.append(kept)
    return from_rows(rows, VIDEO)


def forget_inputs(run_dir: RunDir, uris: Collection[str], models_file: Callable[[str], str]) -> int:
    """Let the next run look at these inputs anew; returns in how many parts they were.

    Args:
        run_dir: of the run.
        uris: of the inputs.
        models_file: part name -> name of its file of model columns.
    """
    touched = 0
    for name in finished_parts(run_dir):
        path = run_dir.costs("scan", name)
        record = read_json(path)
        left = [item for item in record.get("inputs", []) if item["uri"] not in uris]
        if len(left) == len(record.get("inputs", [])):
            continue
        touched += 1
        if left:
            write_json(path, record | {"inputs": left})
            continue
        # A new part of the same inputs has the same name, so the files of one that is forgotten as a whole must go.
        models = models_file(name)
        steps = [("videos", name), ("clips", name), ("frames", name), ("models", models)]
        for file in [path, run_dir.costs("models", models), *(run_dir.part(*step) for step in steps)]:
            file.unlink(missing_ok=True)
    return touched


def _known_codes(run: FinishedRun, codes: Sequence[str]) -> None:
    known = retry_codes(run.videos, run.clips)
    for code in codes:
        if code not in known:
            there = ", ".join(f"{name} ({number})" for name, number in known.items()) or "none: nothing failed"
            raise ConfigError(f"--code is {code!r}; the run's codes are {there}; name one of them")


def _failed(rows: pa.Table, column: str, codes: Sequence[str] | None) -> pa.Table:
    failed = rows.filter(pc.and_(pc.equal(rows["status"], STATUS_FAILED), rows[column].is_valid()))
    return failed if codes is None else failed.filter(pc.is_in(failed[column], pa.array(codes, pa.string())))


def _of(rows: pa.Table, key: str, keys: Sequence[str], column: str) -> list[str]:
    failed = _failed(rows, column, None)
    return strings(failed.filter(pc.is_in(failed[key], pa.array(keys, pa.string()))), column)
