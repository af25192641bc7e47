"""The demo's page: all facts on it, none required, nothing of it active."""

import re
from pathlib import Path

import pytest
from PIL import Image

from reelmill.demo_report import write_demo_report

FACTS = {
    "steps": [
        {"name": "curate", "what": "scan, decide, cut", "wall_s": 65.0, "numbers": {"clips_kept": 402, "hours": 0.5}},
        {"name": "train", "what": "U-Net", "wall_s": 320.0, "numbers": {}},
    ],
    "captioner": {"colour": 0.99, "kind": 0.97, "direction": 0.96, "joint": 0.93, "clips": 320},
    "oracle": [
        {"prompts": "seen combinations", "n": 24, "colour": 1.0, "kind": 0.96, "direction": 1.0},
        {"prompts": "held-out triples", "n": 72, "colour": 0.97, "kind": 0.88, "direction": 0.93},
        {"prompts": "never-shown pair", "n": 12, "colour": 0.75, "kind": 0.58, "direction": 0.92},
    ],
    "chance": {"colour": 0.167, "kind": 0.333, "direction": 0.25},
    "gates": [{"name": "held-out colour", "value": 0.97, "limit": 0.9, "ok": True}],
    "loss_curve": [[step, 1.0 / (1 + step)] for step in range(0, 3000, 10)],
    "curation_report": "run/report.html",
    "real_clips": [{"uri": "/data/bikes.mp4", "segments": 4, "kept": 2, "note": "no_captioner"}],
    "versions": {"torch": "2.9"},
    "machine": {"cores": 2},
}


def written(tmp_path: Path, facts: dict) -> str:
    return write_demo_report(tmp_path / "report.html", facts).read_text(encoding="utf-8")


def plain(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_every_fact_stands_on_the_page(tmp_path: Path):
    html = written(tmp_path, FACTS)
    text = plain(html)
    for wanted in ("clips kept 402", "All 1 gates passed.", "held-out triples", "97 %", "chance 17 % 33 % 25 %"):
        assert wanted in text
    assert "On 320 toy clips" in text
    assert "bikes.mp4 4 2 no_captioner" in text
    assert 'href="run/report.html"' in html


def test_a_page_without_facts_says_what_is_missing(tmp_path: Path):
    text = plain(written(tmp_path, {}))
    for wanted in ("No step was recorded", "The oracle was not asked", "No sample was drawn", "No real clip"):
        assert wanted in text


def test_a_failed_gate_is_told_first(tmp_path: Path):
    gates = [{"name": "held-out kind", "value": 0.5, "limit": 0.75, "ok": False}]
    assert "1 of 1 gates failed. ✗ held-out kind: 0.5 (at least 0.75)" in plain(written(tmp_path, {"gates": gates}))


def test_pictures_become_part_of_the_page(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "sheet.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "one.gif")
    facts = {"contact_sheet": tmp_path / "sheet.png", "gifs": [{"prompt": "a red circle", "path": "one.gif"}]}
    html = written(tmp_path, facts)
    assert re.findall(r'src="data:image/(\w+);base64,', html) == ["gif", "png"]
    assert "a red circle" in html


def test_a_picture_that_is_not_there_is_left_out(tmp_path: Path):
    assert "<img" not in written(tmp_path, {"contact_sheet": "absent.png", "gifs": [{"prompt": "x", "path": "no.gif"}]})


@pytest.mark.parametrize(
    "target", ["javascript:alert(1)", "https://example.org", "//host/x", "/etc/passwd", "../x.html"]
)
def test_only_links_below_the_page_are_made(tmp_path: Path, target: str):
    assert target not in written(tmp_path, {"curation_report": target})


def test_several_curation_reports_are_linked_by_name(tmp_path: Path):
    html = written(tmp_path, {"curation_report": {"toy world": "toy/report.html", "elsewhere": "../x.html"}})
    assert '<a href="toy/report.html">toy world</a>:' in html
    assert "elsewhere" not in html


def test_hostile_prompts_are_text(tmp_path: Path):
    Image.new("RGB", (4, 4)).save(tmp_path / "one.gif")
    html = written(tmp_path, {"gifs": [{"prompt": "<script>x</script>\u202e", "path": "one.gif"}]})
    assert "<script" not in html
    assert "&lt;script&gt;x&lt;/script&gt;\\u202e" in html
