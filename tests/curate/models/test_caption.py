import json
from pathlib import Path

import pyarrow as pa
import pytest

from curate.models.caption import Caption, CaptionConfig
from curate.models.weights import missing_models, weights_sha256
from curate.stage import ClipFrames
from shards.config import parse_config
from shards.errors import ClipError, ConfigError
from tests.curate.model_clips import clip_row, clips_table, frames_of
from tests.curate.tiny_models import WORDS, save_tiny_blip2


@pytest.fixture(scope="module")
def blip2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_blip2(tmp_path_factory.mktemp("models") / "tiny-blip2")


def config(folder: Path | None, **changes: object) -> CaptionConfig:
    model = {"path": str(folder)} if folder else None
    return parse_config(CaptionConfig, {"model": model, "tile_px": 32, "max_new_tokens": 6, **changes})


def run(settings: CaptionConfig, rows: list[dict[str, object]], frames: list | None = None) -> pa.Table:
    stage = Caption(settings)
    stage.open()
    return stage.run(clips_table(rows), frames or [frames_of(row) for row in rows])


def captions(table: pa.Table) -> list[str | None]:
    return table.column("caption").to_pylist()


def test_a_folder_of_save_pretrained_captions_each_clip_in_its_own_words(blip2):
    table = run(config(blip2), [clip_row(number) for number in range(6)])
    texts = captions(table)
    assert all(text and set(text.split()) <= set(WORDS) for text in texts)
    assert len(set(texts)) > 1  # the picture is looked at
    assert set(table.column("caption_source").to_pylist()) == {"tiny-blip2"}
    assert set(table.column("caption_prompt").to_pylist()) == {"grid: "}
    assert set(table.column("caption_revision").to_pylist()) == {weights_sha256(blip2)}


def test_captions_are_the_same_again_and_in_any_batch(blip2):
    rows = [clip_row(number) for number in range(5)]
    tables = [run(config(blip2, batch_size=size), rows) for size in (1, 2, 5, 5)]
    assert tables[2].equals(tables[3])
    assert all(captions(table) == captions(tables[0]) for table in tables)


def test_the_layout_decides_what_the_captioner_sees(blip2):
    rows = [clip_row(number) for number in range(4)]
    pictures = {
        layout: captions(run(config(blip2, layout=layout), rows)) for layout in ("single", "grid", "grid_motion")
    }
    assert pictures["single"] != pictures["grid"] != pictures["grid_motion"]


def test_the_prompt_steers_and_is_not_part_of_the_caption(blip2):
    rows = [clip_row(number) for number in range(4)]
    plain, steered = run(config(blip2), rows), run(config(blip2, prompt="a red"), rows)
    assert captions(plain) != captions(steered)
    assert steered.column("caption_prompt").to_pylist() == ["grid: a red"] * 4
    # six tokens after the prompt at most: the prompt's two words are not counted among them
    assert all(len((text or "").split()) <= 6 for text in captions(steered))


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_t5_inside_gives_its_words_without_the_prompt(tmp_path, num_beams):
    folder = save_tiny_blip2(tmp_path / "t5", language_model="t5")
    texts = captions(run(config(folder, prompt="a red", num_beams=num_beams), [clip_row(0), clip_row(1)]))
    assert all(text and set(text.split()) <= set(WORDS) for text in texts)


def test_bfloat16_runs(blip2):
    texts = captions(run(config(blip2, runtime={"dtype": "bfloat16"}), [clip_row(0), clip_row(1)]))
    assert all(text and set(text.split()) <= set(WORDS) for text in texts)


def test_text_of_the_source_comes_first_and_needs_no_frames(blip2):
    rows = [clip_row(0, sidecar_caption=" A dog\n\truns.\x1b "), clip_row(1), clip_row(2, sidecar_caption=" \n ")]
    table = run(config(blip2), rows, [ClipError("none", "no_model_frames"), *map(frames_of, rows[1:])])
    assert captions(table)[0] == "A dog runs."
    assert table.column("caption_source").to_pylist() == ["sidecar", "tiny-blip2", "tiny-blip2"]
    assert table.column("caption_revision").to_pylist()[0] is None
    assert table.column("error").to_pylist() == [None, None, None]


def test_the_model_alone_or_the_text_alone_by_configuration(blip2):
    rows = [clip_row(0, sidecar_caption="a dog"), clip_row(1)]
    assert run(config(blip2, source="model"), rows).column("caption_source").to_pylist() == ["tiny-blip2"] * 2
    alone = run(config(blip2, source="sidecar"), rows)
    assert captions(alone) == ["a dog", None]
    assert alone.column("error").to_pylist() == [None, "caption:no_captioner"]


def test_without_a_captioner_the_caption_is_null_with_a_code():
    table = run(config(None), [clip_row(0)])
    assert captions(table) == [None]
    assert table.column("error").to_pylist() == ["caption:no_captioner"]


def test_a_captioner_is_kept_from_sources_it_is_not_for(blip2):
    rows = [clip_row(0, uri="/toy/raw/video_1.mp4"), clip_row(1, uri="/home/me/dog.mp4")]
    table = run(config(blip2, only_uri_glob="/toy/*"), rows)
    assert table.column("caption_source").to_pylist() == ["tiny-blip2", None]
    assert table.column("error").to_pylist() == [None, "caption:captioner_not_for_source"]


def test_a_short_clip_or_one_without_frames_costs_only_itself(blip2):
    rows = [clip_row(number) for number in range(4)]
    frames = [frames_of(rows[0]), frames_of(rows[1], 3), ClipError("none", "no_model_frames"), None]
    table = run(config(blip2), rows, frames)
    assert [text is None for text in captions(table)] == [False, True, True, True]
    assert table.column("error").to_pylist() == [None, "caption:clip_too_short", "caption:no_model_frames", None]


def test_an_unreadable_frame_costs_only_its_clip(blip2):
    class Broken(list):
        def __getitem__(self, index):  # type: ignore[override]
            raise ClipError("no JPEG", "model_frame_unreadable")

    rows = [clip_row(0), clip_row(1)]
    good = frames_of(rows[0])
    broken = ClipFrames(good.clip, good.pts, Broken(good.rgb))
    table = run(config(blip2), rows, [broken, frames_of(rows[1])])
    assert table.column("error").to_pylist() == ["caption:model_frame_unreadable", None]


def test_a_missing_required_model_is_named_before_the_run(tmp_path):
    stage = Caption(config(tmp_path / "nowhere"))
    assert missing_models([stage])[0].startswith(f"caption.model.path is '{tmp_path}/nowhere'")
    with pytest.raises(ConfigError, match=r"caption\.model\.path"):
        stage.identity()


def test_a_missing_optional_model_makes_nulls_with_a_code(tmp_path):
    settings = config(tmp_path / "nowhere", required=False)
    table = run(settings, [clip_row(0), clip_row(1, sidecar_caption="a dog")])
    assert captions(table) == [None, "a dog"]
    assert table.column("error").to_pylist() == ["caption:model_missing", None]
    assert Caption(settings).identity()["weights"] == {"caption.model": None}


def test_a_model_that_vanishes_after_the_plan_stops_the_run(tmp_path):
    folder = tmp_path / "captioner"
    folder.mkdir()
    stage = Caption(config(folder, required=False))
    stage.identity()
    folder.rmdir()
    with pytest.raises(ConfigError, match="were there when the run was planned"):
        stage.open()


def test_identity_holds_weights_prompt_and_layout_and_not_where_they_lie(blip2, tmp_path):
    identity = Caption(config(blip2)).identity()
    assert identity["weights"] == {"caption.model": weights_sha256(blip2)}
    assert (identity["layout"], identity["dtype"]) == ("grid", "float32")
    assert str(blip2) not in json.dumps(identity)
    copy = tmp_path / "elsewhere"
    copy.symlink_to(blip2)
    assert Caption(config(copy)).identity() == identity
    assert Caption(config(blip2, prompt="a")).identity() != identity
    assert Caption(config(blip2, layout="single")).identity() != identity


def test_a_processor_that_puts_no_picture_tokens_is_put_right(blip2, tmp_path):
    copy = _copied(blip2, tmp_path)
    _edit(copy / "processor_config.json", lambda data: data.pop("num_query_tokens"))
    rows = [clip_row(number) for number in range(4)]
    assert captions(run(config(copy), rows)) == captions(run(config(blip2), rows))


def test_a_model_without_its_picture_token_is_refused(blip2, tmp_path):
    copy = _copied(blip2, tmp_path)
    _edit(copy / "config.json", lambda data: data.update(image_token_index=3))
    with pytest.raises(ConfigError, match=r"image_token_index of .* is 3"):
        Caption(config(copy)).open()


def test_a_folder_that_is_no_blip2_is_refused_with_its_key(tmp_path):
    with pytest.raises(ConfigError, match=r"caption\.model at .* does not load as BLIP-2"):
        Caption(config(tmp_path)).open()


def _copied(folder: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "tiny-blip2"
    copy.mkdir()
    for file in folder.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def _edit(path: Path, change) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
