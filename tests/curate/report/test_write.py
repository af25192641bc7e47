"""The report of an invented run: numbers as in the catalog, hostile text inert, every file but the catalog optional."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from curate.decision.ledger import balance
from curate.report.charts import Threshold, category_counts, histogram, thresholds
from curate.report.data import RunData, load_run, seconds
from curate.report.examples import THUMB_PX, galleries, thumbnail
from curate.report.facts import (
    SavedWork,
    decoded_per_source_frame,
    flat,
    frame_costs,
    input_groups,
    model_order,
    saved_work,
)
from curate.report.funnel import funnel
from curate.report.page import data_uri
from curate.report.text import clock, duration, number, share, size, visible
from curate.report.write import write_report
from shards.errors import ConfigError
from shards.format.commit import Commit, StoredFile
from shards.schema import column
from shards.versions.manifest import Manifest, PlanIndexFile, SplitStats, Stats
from shards.versions.splits import SplitConfig
from tests.curate import run_dirs


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data
        self.cells.append(data.strip())


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_dirs.make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def html(run_dir: Path) -> str:
    return write_report(run_dir).read_text(encoding="utf-8")


def with_rows(root: Path, clips: list[dict]) -> Path:
    """A run of one ten-second video whose segments are given."""
    video = run_dirs.toy_video(0, 5)
    run_dirs.write_catalog(root, [video], clips)
    return root


def segment(start: int, end: int, **columns: object) -> dict:
    row = {
        "clip_id": f"{start:016x}", "video_id": f"{0:016x}", "stream_index": 0, "start_pts": start, "end_pts": end,
        "time_base_num": 1, "time_base_den": 25, "num_frames": end - start, "segment": "clip", "status": "kept",
    }  # fmt: skip
    return row | columns


def manifest() -> Manifest:
    file = StoredFile(path="shards/b/x.tar", size_bytes=10, sha256="a" * 64)
    commit = Commit(plan_id="a" * 64, shard_no=0, bucket="b", num_samples=43, shard=file, index=file)
    index = PlanIndexFile(
        path="manifests/v000002.plan.arrow", size_bytes=1, sha256="b" * 64, xxh3="0" * 16, num_samples=43
    )
    sizes = {"num_samples": 43, "num_captions": 43, "num_sources": 5, "num_frames": 2150, "size_bytes": 10}
    return Manifest(
        version=2, parent=None, shards=(commit,), plan_index=index, columns=(), split_config=SplitConfig(),
        splits={
            "train": SplitStats(num_samples=40, num_sources=4, hours=0.5),
            "val": SplitStats(num_samples=3, num_sources=1, hours=0.1),
        },
        stats=Stats(**sizes, hours=0.6, columns={}), licences=("CC-BY-4.0", "own"), config={},
    )  # fmt: skip


def test_the_funnel_counts_seconds_per_way_out_in_the_order_of_decisions(tmp_path: Path):
    rows = [
        segment(0, 50, segment="fade", status="rejected", drop_rule="segment_fade"),
        segment(50, 125, status="rejected", drop_rule="bright_enough", drop_value=3.0),
        segment(125, 150, status="rejected", drop_rule="moves", drop_value=1.0),
        segment(150, 250),
    ]
    root = with_rows(tmp_path, rows)
    (root / "config.yaml").write_text("keep: {moves: luma_change >= 6, bright_enough: luma_mean > 40}")
    result = funnel(load_run(root))
    assert [(row.name, row.level, row.count, row.removed_s, row.left_s) for row in result.rows] == [
        ("fade", "segment", 1, 2.0, 8.0),
        ("moves", "clip", 1, 1.0, 7.0),
        ("bright_enough", "clip", 1, 3.0, 4.0),
    ]
    assert (result.input_s, result.kept_s, result.rejected_s, result.num_kept) == (10.0, 4.0, 6.0, 1)


def test_the_funnel_and_the_ledger_agree(run_dir: Path):
    run = load_run(run_dir)
    result, ledger = funnel(run), balance(run.videos, run.clips)
    assert ledger.balances
    assert result.input_s == pytest.approx(float(ledger.input_s))
    assert result.kept_s == pytest.approx(float(ledger.kept_s))
    assert result.kept_s + result.rejected_s + result.failed_s == pytest.approx(float(ledger.accounted_s))
    assert result.unknown == ledger.num_unknown == 2


def test_the_page_says_the_numbers_of_the_funnel(html: str, run_dir: Path):
    result = funnel(load_run(run_dir))
    text = Page(html).text
    assert f"{duration(result.input_s)} of video in, {duration(result.kept_s)} kept as {result.num_kept} clips" in text
    assert "Every second is accounted for" in text
    assert "1.02" in text  # frames decoded per source frame: 2 % key frames and one full pass


def test_text_from_strangers_is_shown_and_does_nothing(tmp_path: Path):
    hostile = '</bdi><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }} \x1b[31m\u202eevil'
    root = run_dirs.make_run(tmp_path, captions=[hostile])
    html = write_report(root).read_text(encoding="utf-8")
    page = Page(html)
    assert "script" not in page.tags
    assert not {name for name, _ in page.attributes if name.startswith("on")}
    assert {value[:5] for name, value in page.attributes if name == "src"} == {"data:"}
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u200b-\u200f]", html)
    assert '</bdi><script>alert(1)</script><img src=x onerror="alert(2)"> {{ 7 * 7 }} \\x1b[31m\\u202eevil' in page.text
    assert "/videos/<script>alert(1)</script>\\x1b[31m\\u202egpj.mp4" in page.text
    assert '<img src=x onerror="alert(2)">\\x07\\nInvalid data' in page.text


def test_the_page_can_load_nothing_from_anywhere(html: str):
    page = Page(html)
    policies = [value for name, value in page.attributes if name == "content" and "default-src" in value]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html


def test_config_keeps_its_lines(html: str):
    assert "<pre>scan:\n  height: 72\nkeep:\n  moves: luma_change &gt;= 6\n" in html


def test_a_run_that_kept_nothing_says_so(tmp_path: Path):
    rows = [segment(0, 250, status="rejected", drop_rule="moves", drop_value=1.0, luma_change=1.0)]
    text = Page(write_report(with_rows(tmp_path, rows)).read_text()).text
    assert "nothing kept" in text
    assert "This run has problems" in text


def test_a_lost_segment_is_named_as_a_problem(tmp_path: Path):
    text = Page(write_report(with_rows(tmp_path, [segment(0, 100), segment(150, 250)])).read_text()).text
    assert "the ledger does not balance" in text


def test_a_rule_that_rejects_all_it_saw_is_named(tmp_path: Path):
    rows = [
        segment(0, 100, status="rejected", drop_rule="moves", drop_value=1.0, luma_change=1.0),
        segment(100, 250, status="rejected", drop_rule="moves", drop_value=2.0, luma_change=2.0),
    ]
    root = with_rows(tmp_path, rows)
    (root / "config.yaml").write_text("keep: {moves: luma_change >= 6}")
    assert "rule moves (luma_change >= 6) rejects all 2 clips it saw" in Page(write_report(root).read_text()).text


def test_sections_without_their_file_say_so(tmp_path: Path):
    text = Page(write_report(with_rows(tmp_path, [segment(0, 250)])).read_text()).text
    assert "no metrics.json with frame counts" in text
    assert "There is no config.yaml" in text
    assert "Nothing is published" in text
    assert "no model frame lies in this span" in text


def test_a_run_of_failed_inputs_only_has_a_report(tmp_path: Path):
    run_dirs.write_catalog(tmp_path, run_dirs.failed_videos(), [])
    text = Page(write_report(tmp_path).read_text()).text
    assert "No input could be read" in text
    assert "empty_file" in text


def test_a_folder_without_a_catalog_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="holds no catalog"):
        write_report(tmp_path)


def test_the_published_manifest_is_summed_up(tmp_path: Path):
    root = with_rows(tmp_path, [segment(0, 250)])
    (root / "dataset" / "manifests").mkdir(parents=True)
    (root / "dataset" / "manifests" / "v000002.json").write_bytes(manifest().to_bytes())
    text = " ".join(" ".join(Page(write_report(root).read_text()).cells).split())
    assert "train 40 4 30 min 00 s" in text
    assert "licences CC-BY-4.0, own" in text


def test_one_gallery_per_verdict_with_frames_of_the_clip_itself(run_dir: Path):
    run = load_run(run_dir)
    found = galleries(run)
    assert found[0].name == "kept"
    assert {gallery.name for gallery in found} >= {"kept", "moves", "no_borders", "fade"}
    for gallery in found:
        assert len(gallery.examples) == min(gallery.total, 12 if gallery.name == "kept" else 8)
        for example in gallery.examples:
            assert len(example.thumbs) == (0 if gallery.name == "fade" else 3)


def test_rejected_examples_are_spread_from_the_lowest_to_the_highest_value(tmp_path: Path):
    rows = [
        segment(5 * index, 5 * index + 5, status="rejected", drop_rule="moves", drop_value=float(49 - index))
        for index in range(50)
    ]
    (gallery,) = galleries(load_run(with_rows(tmp_path, rows)))
    values = [example.row["drop_value"] for example in gallery.examples]
    assert values == sorted(values)
    assert (values[0], values[-1], len(values)) == (0.0, 49.0, 8)


def test_a_thumbnail_is_small_and_a_broken_picture_is_none():
    row = segment(0, 50) | {"luma_mean": 100.0, "luma_change": 9.0, "border_share": 0.0}
    uri = thumbnail(run_dirs.picture(row, 0))
    assert uri
    assert uri.startswith("data:image/jpeg;base64,")
    assert len(uri) < THUMB_PX * 60
    assert thumbnail(b"no picture") is None


def test_a_histogram_counts_each_clip_once_and_places_its_threshold():
    field = column("x", pa.float32(), "u", "meaning")
    values = pa.chunked_array([pa.array([*range(32), None], pa.float32())])
    kept = np.array([index >= 8 for index in range(33)])
    chart = histogram(field, values, kept, [Threshold("rule", "x", 7.75), Threshold("other", "y", 1.0)])
    assert chart
    assert (chart.num_values, chart.num_nulls, chart.unit) == (32, 1, "u")
    assert [(bar.kept > 0, bar.rejected > 0) for bar in chart.bars] == [(False, True)] * 8 + [(True, False)] * 24
    assert chart.lines == [(pytest.approx(25.0), "rule", 7.75)]


def test_a_threshold_outside_the_data_widens_the_axis():
    values = pa.chunked_array([pa.array([1.0, 2.0, 3.0])])
    chart = histogram(column("x", pa.float64(), "", ""), values, np.ones(3, bool), [Threshold("rule", "x", 11.0)])
    assert chart
    assert (chart.ticks[0], chart.ticks[2], chart.lines[0][0]) == (1.0, 11.0, 100.0)


def test_a_single_far_value_does_not_flatten_the_rest():
    values = pa.chunked_array([pa.array([*np.linspace(-1, 1, 1000), 1e6])])
    chart = histogram(column("x", pa.float64(), "", ""), values, np.ones(1001, bool), [])
    assert chart
    assert chart.num_beyond > 0
    assert float(str(chart.ticks[2])) < 2


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [3, 3], [float("inf"), 1.0], [1e-9, 1.0, 1e9]])
def test_any_finite_value_gives_a_histogram(values: list[float]):
    chart = histogram(column("x", pa.float64(), "", ""), pa.chunked_array([values]), np.ones(len(values), bool), [])
    assert chart
    assert all(0 <= bar.kept <= 100 for bar in chart.bars)


def test_a_column_without_values_has_no_picture():
    nothing = pa.chunked_array([pa.array([None, None], pa.float32())])
    assert histogram(column("x", pa.float32(), "", ""), nothing, np.ones(2, bool), []) is None
    texts = pa.chunked_array([pa.array([f"caption {index}" for index in range(20)])])
    assert category_counts(column("x", pa.string(), "", ""), texts, np.ones(20, bool)) is None
    hashes = pa.chunked_array([pa.array(["aa", "bb", None])])
    assert category_counts(column("x", pa.string(), "", ""), hashes, np.ones(3, bool)) is None


def test_flags_are_counted_by_value():
    flags = pa.chunked_array([pa.array([True, False, False, None])])
    chart = category_counts(column("x", pa.bool_(), "", ""), flags, np.array([True, True, False, False]))
    assert chart
    assert (chart.rows, chart.num_nulls) == ([("false", 1, 1), ("true", 1, 0)], 1)


def test_thresholds_are_read_out_of_rules():
    rules = {
        "a": "x >= 1.5 AND y < -2",
        "b": "x BETWEEN 3 AND 4 OR NOT (5 > z)",
        "c": "name = 'text' AND x > y",
        "broken": "x >> > (",
    }
    found = {(cut.rule, cut.column, cut.value) for cut in thresholds(rules)}
    assert found == {("a", "x", 1.5), ("a", "y", -2.0), ("b", "x", 3.0), ("b", "x", 4.0), ("b", "z", 5.0)}


def test_costs_are_per_source_frame(run_dir: Path):
    run = load_run(run_dir)
    assert decoded_per_source_frame(run) == pytest.approx(1.02)
    assert {cost.name: cost.per_source_frame for cost in frame_costs(run)}["decoded verify"] == pytest.approx(0.5)


def test_the_report_says_what_a_model_was_spared_and_lists_rules_in_the_order_of_the_steps(tmp_path: Path):
    """Of three clips one was dropped before the captioner; `late` is written first and fires last."""
    rows = [{"segment": "clip", "caption": "a"}] * 2 + [{"segment": "clip", "not_scored": "caption;caption_source"}]
    run = load_run(with_rows(tmp_path, [dict(row) for row in rows]))
    model = {"name": "caption", "kind": "model", "adds": ["caption", "caption_source"], "rules": {"late": "x"}}
    early = {"name": "motion", "kind": "map", "adds": ["flow"], "rules": {"early": "y"}}
    run = replace(run, plan={"steps": [early, model]}, config={"keep": {"late": "x", "early": "y"}})
    run = replace(run, metrics={"steps": [{"step": "caption", "items": 2, "cpu_s": 3.0, "wall_s": 4.0}]})
    assert saved_work(run) == [SavedWork("caption", seen=2, spared=1, total=3, saved_s=1.5)]
    assert model_order(run) == ""
    measured = {"s_per_clip": {"caption": 1.5}, "pass_share": {"late": 0.25}, "models": ["caption"]}
    measured |= {"s_per_candidate": 0.5, "s_per_candidate_configured": 1.5}
    said = model_order(replace(run, plan=run.plan | {"model_order": measured}))
    assert "caption 1,500.0 ms; of the rules' clips pass late 25 %" in said
    assert said.endswith("Expected per candidate: 500.0 ms; in the configured order 1,500.0 ms.")
    assert list(run.rules) == ["early", "late"]


def test_inputs_are_grouped_by_seconds(run_dir: Path):
    groups = input_groups(load_run(run_dir))
    assert [(group.name, group.videos, group.seconds) for group in groups["codec"]] == [
        ("h264", 2, 40.0),
        ("vp9", 1, 20.0),
        ("mpeg4", 1, 20.0),
    ]
    assert {group.name for group in groups["rate"]} == {"25 fps", "variable"}


def test_a_hundred_thousand_clips_take_seconds(tmp_path: Path, run_dir: Path):
    run = load_run(run_dir)
    many = pa.concat_tables([run.clips] * (100_000 // len(run.clips))).combine_chunks()
    big = RunData(**{**vars(run), "clips": many, "root": tmp_path})
    assert funnel(big).num_kept == (100_000 // len(run.clips)) * funnel(run).num_kept
    assert len(galleries(big)) == len(galleries(run))


def test_seconds_of_an_unknown_span_are_not_a_number(run_dir: Path):
    videos = load_run(run_dir).videos
    assert np.isnan(seconds(videos)).sum() == 2


def test_invisible_characters_become_escapes():
    assert visible("a\nb\x1b[0m\u202e\u200b\ud800\u00ad\U000e0041é字😀") == (
        "a\\nb\\x1b[0m\\u202e\\u200b\\ud800\\xad\\U000e0041é字😀"
    )
    assert visible("x" * 1000, limit=3) == "xxx… (1000 characters)"


def test_numbers_read_well():
    plain = [duration(value).replace("\u00a0", " ") for value in (None, 0, 0.84, 12.34, 245, 11520)]
    assert plain == ["–", "0 s", "0.84 s", "12.3 s", "4 min 05 s", "3.2 h"]
    assert [number(value) for value in (None, True, 1234567, 0.12346, 5.0, 12345.678, 1e-7, float("nan"))] == [
        "–", "yes", "1,234,567", "0.1235", "5", "12,346", "1e-07", "nan",
    ]  # fmt: skip
    assert [clock(value) for value in (0, 62.484, 59.999, 3662.5)] == ["0:00.00", "1:02.48", "1:00.00", "1:01:02.50"]
    assert [share(1, 3), share(0, 3), share(3, 3), share(1, 0)] == ["33.3 %", "0 %", "100 %", "–"]
    assert [size(value) for value in (0, 999, 1500, 2_500_000_000)] == ["0 B", "999 B", "1.5 kB", "2.5 GB"]


def test_nested_facts_become_rows():
    assert flat({"a": {"b": 1, "c": [True, "x"]}, "d": None}) == [("a.b", "1"), ("a.c", "yes, x"), ("d", "–")]


def test_only_pictures_pass_unescaped():
    with pytest.raises(ValueError, match="base64 data URI"):
        data_uri('data:image/png;base64,AAAA" onerror="alert(1)')
    with pytest.raises(ValueError, match="base64 data URI"):
        data_uri("data:text/html;base64,AAAA")
