from collections.abc import Mapping
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest

from curate.scenes.segments import ScenesConfig, find_segments
from curate.scores.borders import Borders, BordersConfig
from curate.scores.hashes import Hashes
from curate.scores.light import Light, LightConfig
from curate.scores.motion import Motion, MotionConfig
from curate.stage import Clip, ClipFrames, FrameStage, SpanStage, run_span_stages
from shards.errors import ClipError, ClipTooShort, ContractError
from shards.schema import CLIP, column
from tests.curate.scans import flat, panned, scan_of, texture, video_row_of
from tests.curate.tables import clip, clips_of


class Brightness(SpanStage):
    name = "brightness"
    adds = pa.schema([column("brightness", pa.float32(), "levels", "")])

    def score(self, clip, span):
        if len(span) < 5:
            raise ClipTooShort("clip has too few frames")
        return {"brightness": float(span.grey_THW.mean())}


class Wrong(Brightness):
    name = "wrong"

    def score(self, clip, span):
        return {"brigthness": 1.0}


class Batches(FrameStage):
    name, batch_size = "batches", 2
    adds = pa.schema([column("batch", pa.int64(), "", "")])

    def __init__(self):
        self.sizes = []

    def score_batch(self, batch) -> list[Mapping[str, object] | ClipError]:
        self.sizes.append(len(batch))
        return [{"batch": len(self.sizes)} if item.pts[0] >= 0 else ClipError("no", "odd") for item in batch]


def test_rows_that_are_no_clip_get_nulls_without_a_code(tmp_path):
    scan = scan_of(tmp_path, flat(0, 10) + panned(texture(1), 10))
    clips = clips_of(clip("v", 0, 10, "fade"), clip("v", 10, 18), clip("v", 18, 20), extra=())
    table = Brightness().run(clips, scan)
    assert [value is None for value in table["brightness"].to_pylist()] == [True, False, True]
    assert table["error"].to_pylist() == [None, None, "brightness:clip_too_short"]


def test_codes_of_several_stages_are_joined(tmp_path):
    class Second(Brightness):
        name = "second"
        adds = pa.schema([column("second", pa.float32(), "", "")])

    scan = scan_of(tmp_path, flat(0, 2))
    table = run_span_stages([Brightness(), Second()], clips_of(clip("v", 0, 2), extra=()), scan)
    assert table["error"].to_pylist() == ["brightness:clip_too_short;second:clip_too_short"]


def test_a_stage_that_adds_what_it_did_not_declare_is_stopped(tmp_path):
    scan = scan_of(tmp_path, flat(0, 10))
    with pytest.raises(ContractError, match="stage wrong gave"):
        Wrong().run(clips_of(clip("v", 0, 10), extra=()), scan)
    with pytest.raises(ContractError, match="a column is added once"):
        Brightness().run(Brightness().run(clips_of(clip("v", 0, 10), extra=()), scan), scan)


def test_batches_are_cut_from_the_rows_that_have_frames():
    rows = [clip("v", start, start + 10) for start in range(0, 60, 10)]
    clips = clips_of(*rows, extra=())
    frames = [ClipFrames(Clip.of(row), [index - 1], [np.zeros((2, 2, 3), np.uint8)]) for index, row in enumerate(rows)]
    stage = Batches()
    table = stage.run(clips, [frames[0], None, frames[2], ClipError("gone", "no_frames"), frames[4], frames[5]])
    assert stage.sizes == [2, 2]
    assert table["batch"].to_pylist() == [None, None, 1, None, 2, 2]
    assert table["error"].to_pylist() == ["batches:odd", None, None, "batches:no_frames", None, None]


def test_a_clip_knows_its_duration():
    assert Clip.of(clip("v", 10, 60)).duration_s == 2
    assert Clip.of(clip("v", 10, 60)).time_base == Fraction(1, 25)


def test_all_span_stages_score_the_segments_of_a_scan(tmp_path):
    scan = scan_of(tmp_path, panned(texture(1), 60) + flat(0, 10) + panned(texture(2), 60))
    stages = [Motion(MotionConfig()), Light(LightConfig()), Borders(BordersConfig()), Hashes()]
    segments = find_segments(scan, video_row_of(scan), ScenesConfig())
    table = run_span_stages(stages, segments, scan)
    added = [field for stage in stages for field in stage.adds]
    assert table.schema.names == [*CLIP.names, *(field.name for field in added)]
    assert table["segment"].to_pylist() == ["clip", "fade", "clip"]
    for field in added:
        assert [value is None for value in table[field.name].to_pylist()] == [False, True, False]
    assert table["error"].to_pylist() == [None] * 3
