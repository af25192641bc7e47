from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from curate.models.caption_similarity import CaptionSimilarity, CaptionSimilarityConfig
from shards.errors import ClipError
from shards.schema import column
from tests.curate.model_clips import clip_row, frames_of
from tests.curate.tiny_models import embed_config, embedded, loaded_clip, save_tiny_open_clip


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_open_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


def with_captions(table: pa.Table, captions: Sequence[str | None]) -> pa.Table:
    return table.append_column(column("caption", pa.string(), "", ""), pa.array(captions, pa.string()))


def opened(tiny_clip: Path) -> CaptionSimilarity:
    stage = CaptionSimilarity(CaptionSimilarityConfig(), embed_config(tiny_clip))
    stage.open()
    return stage


def test_similarity_is_open_clips_cosine_of_text_and_clip(tiny_clip):
    table, frames = embedded(tiny_clip, [clip_row(0), clip_row(1)])
    captions = ["a red circle", "two dogs"]
    scored = opened(tiny_clip).run(with_captions(table, captions), frames)
    values = np.array(scored.column("caption_similarity").to_pylist(), float)

    clip = loaded_clip(tiny_clip)
    with torch.no_grad():
        texts_ND = clip.model.encode_text(clip.tokenizer(captions), normalize=True).numpy()
    embeddings_ND = np.array(table.column("embedding").to_pylist(), np.float32)
    np.testing.assert_allclose(values, (texts_ND * embeddings_ND).sum(axis=1), atol=1e-5)
    assert values[0] != values[1]


def test_the_weights_are_those_of_the_embed_stage_loaded_once(tiny_clip):
    assert opened(tiny_clip)._model is loaded_clip(tiny_clip)


def test_a_clip_without_caption_or_embedding_is_null_with_a_code(tiny_clip):
    rows = [clip_row(0), clip_row(1), clip_row(2)]
    table, frames = embedded(tiny_clip, rows, [frames_of(rows[0]), ClipError("none", "no_model_frames"), None])
    values = opened(tiny_clip).run(with_captions(table, [None, "two dogs", None]), frames)
    assert values.column("caption_similarity").to_pylist() == [None, None, None]
    assert values.column("error").to_pylist() == [
        "caption_similarity:no_caption",
        "embed:no_model_frames;caption_similarity:no_embedding",
        None,
    ]


def test_a_text_longer_than_the_models_context_is_cut_off_and_scored(tiny_clip):
    table, frames = embedded(tiny_clip, [clip_row(0)])
    values = opened(tiny_clip).run(with_captions(table, ["word " * 500]), frames)
    assert abs(np.array(values.column("caption_similarity").to_pylist(), float)[0]) <= 1
