import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pyarrow as pa
import pytest
import torch
from PIL import Image

from curate.models.embed import Embed, EmbedConfig
from curate.models.weights import weights_sha256
from shards.config import parse_config
from shards.errors import ClipError, ConfigError
from tests.curate.model_clips import clip_row, clips_table, frames_of
from tests.curate.tiny_models import CLIP_DIM, save_tiny_open_clip


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_open_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


def config(folder: Path, clip: dict[str, object] | None = None, **changes: object) -> EmbedConfig:
    clip = {"model": {"path": str(folder)}, "name": "tiny/random", "dim": CLIP_DIM, **(clip or {})}
    return parse_config(EmbedConfig, {"clip": clip, **changes})


def run(settings: EmbedConfig, rows: list[dict[str, object]], frames: list | None = None) -> pa.Table:
    stage = Embed(settings)
    stage.open()
    return stage.run(clips_table(rows), frames or [frames_of(row) for row in rows])


def embeddings(table: pa.Table) -> np.ndarray:
    return np.array(table.column("embedding").to_pylist(), np.float32)


def test_the_embedding_is_the_mean_direction_of_open_clips_own_frame_embeddings(tiny_clip):
    row = clip_row(1)
    frames = frames_of(row, 16)
    table = run(config(tiny_clip, num_frames=4), [row], [frames])

    loaded: Any = open_clip.create_model_from_pretrained(f"local-dir:{tiny_clip}")
    model, preprocess = loaded
    with torch.no_grad():
        pictures = torch.stack([preprocess(Image.fromarray(frames.rgb[index])) for index in (0, 5, 10, 15)])
        mean = model.encode_image(pictures, normalize=True).mean(dim=0)
    np.testing.assert_allclose(embeddings(table)[0], (mean / mean.norm()).numpy(), atol=1e-6)
    assert table.column("embedding_agreement").to_pylist()[0] == pytest.approx(float(mean.norm()), abs=1e-6)


def test_embeddings_are_fixed_size_float32_of_unit_length(tiny_clip):
    table = run(config(tiny_clip), [clip_row(number) for number in range(3)])
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), CLIP_DIM)
    np.testing.assert_allclose(np.linalg.norm(embeddings(table), axis=1), 1, atol=1e-6)
    assert set(table.column("embedding_model").to_pylist()) == {"tiny/random"}


def test_a_still_clip_agrees_with_itself(tiny_clip):
    row = clip_row(0)
    still, moving = frames_of(row, 1), frames_of(row, 4)
    table = run(config(tiny_clip), [row, row], [still, moving])
    still_agreement, moving_agreement = np.array(table.column("embedding_agreement").to_pylist(), float)
    assert still_agreement == pytest.approx(1, abs=1e-6)
    assert moving_agreement < still_agreement


def test_the_same_bytes_again_and_nearly_the_same_in_other_batches(tiny_clip):
    rows = [clip_row(number) for number in range(5)]
    first, again = (run(config(tiny_clip, batch_size=2), rows) for _ in range(2))
    assert first.equals(again)
    alone = run(config(tiny_clip, batch_size=1), rows)
    np.testing.assert_allclose(embeddings(first), embeddings(alone), atol=1e-5)


def test_threads_of_the_process_change_no_byte_and_are_put_back(tiny_clip):
    before = torch.get_num_threads()
    rows = [clip_row(number) for number in range(4)]
    plain = run(config(tiny_clip), rows)
    torch.set_num_threads(before + 2)
    assert run(config(tiny_clip), rows).equals(plain)
    assert torch.get_num_threads() == before + 2
    torch.set_num_threads(before)
    run(config(tiny_clip, {"runtime": {"cpu_threads": before + 1}}), [clip_row(0)])
    assert torch.get_num_threads() == before


def test_bfloat16_gives_nearly_the_same_direction(tiny_clip):
    rows = [clip_row(number) for number in range(3)]
    exact, coarse = (
        embeddings(run(config(tiny_clip, {"runtime": {"dtype": name}}), rows)) for name in ("float32", "bfloat16")
    )
    assert (exact * coarse).sum(axis=1).min() > 0.99


def test_rows_without_frames_are_null_and_only_errors_have_a_code(tiny_clip):
    rows = [clip_row(0), clip_row(1, segment="dissolve"), clip_row(2)]
    table = run(config(tiny_clip), rows, [ClipError("none", "no_model_frames"), None, frames_of(rows[2])])
    assert [vector is None for vector in table.column("embedding").to_pylist()] == [True, True, False]
    assert table.column("error").to_pylist() == ["embed:no_model_frames", None, None]


def test_a_missing_optional_model_keeps_the_columns_type(tmp_path):
    table = run(config(tmp_path / "nowhere", required=False), [clip_row(0)])
    assert table.schema.field("embedding").type == pa.list_(pa.float32(), CLIP_DIM)
    assert table.column("error").to_pylist() == ["embed:model_missing"]


def test_identity_holds_the_hash_of_the_weights_and_the_number_type(tiny_clip):
    identity = Embed(config(tiny_clip)).identity()
    assert identity["weights"] == {"embed.clip.model": weights_sha256(tiny_clip)}
    assert (identity["clip"], identity["dtype"]) == ("tiny/random", "float32")
    assert str(tiny_clip) not in json.dumps(identity)


def test_a_wrong_dimension_is_refused_with_the_right_one(tiny_clip):
    with pytest.raises(ConfigError, match=rf"embed\.clip\.dim is 512; the weights have {CLIP_DIM}"):
        Embed(config(tiny_clip, {"dim": 512})).open()


def test_weights_that_are_not_of_the_architecture_they_are_called_are_refused(tiny_clip):
    with pytest.raises(ConfigError, match=r"image_size of .* is 32; ViT-B-32 has 224; change embed\.clip\.name"):
        Embed(config(tiny_clip, {"name": "ViT-B-32/openai"})).open()


def test_a_bare_weights_file_needs_an_architecture_that_open_clip_knows(tiny_clip):
    with pytest.raises(ConfigError, match=r"embed\.clip\.name is 'tiny/random' and the weights are a bare file"):
        Embed(config(tiny_clip / "open_clip_model.safetensors")).open()


def test_a_bare_weights_file_that_does_not_fit_is_named(tiny_clip):
    file = tiny_clip / "open_clip_model.safetensors"
    with pytest.raises(ConfigError, match=rf"embed\.clip\.model at {file} does not load"):
        Embed(config(file, {"name": "ViT-S-32/none", "dim": 384})).open()


def test_a_folder_without_weights_is_refused(tiny_clip, tmp_path):
    (tmp_path / "open_clip_config.json").write_text((tiny_clip / "open_clip_config.json").read_text())
    with pytest.raises(ConfigError, match=rf"embed\.clip\.model at {tmp_path} does not load"):
        Embed(config(tmp_path)).open()
