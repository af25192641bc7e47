import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from curate.models.aesthetic import Aesthetic, AestheticConfig
from curate.models.aesthetic_head import load_aesthetic_head
from curate.stage import ClipFrames
from shards.config import parse_config
from shards.errors import ClipError, ConfigError
from tests.curate.model_clips import clip_row, frames_of
from tests.curate.tiny_models import CLIP_DIM, embed_config, embedded, loaded_clip, save_tiny_open_clip

REAL_HEADS = {
    "laion_sa_0_4_vit_b_32_linear.pth": 512,
    "laion_sa_0_4_vit_l_14_linear.pth": 768,
    "laion_improved_sac_logos_ava1_l14_linearMSE.pth": 768,
}


@pytest.fixture(scope="module")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_open_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


def aesthetic_config(head: Path, trained_on: str = "tiny/random", **changes: object) -> AestheticConfig:
    return parse_config(AestheticConfig, {"head": {"path": str(head)}, "trained_on": trained_on, **changes})


def save_head(path: Path, dim: int = CLIP_DIM) -> nn.Linear:
    torch.manual_seed(1)
    head = nn.Linear(dim, 1)
    torch.save(head.state_dict(), path)
    return head


def mlp(dim: int) -> nn.Sequential:
    """The improved predictor's layers, as its author publishes them: no activation between."""
    drop = nn.Dropout
    sizes = [nn.Linear(dim, 1024), drop(0.2), nn.Linear(1024, 128), drop(0.2), nn.Linear(128, 64), drop(0.1)]
    return nn.Sequential(*sizes, nn.Linear(64, 16), nn.Linear(16, 1)).eval()


def test_the_score_is_the_mean_of_the_heads_score_of_each_frame(tiny_clip, tmp_path):
    head = save_head(tmp_path / "head.pth")
    row = clip_row(0)
    table, frames = embedded(tiny_clip, [row])
    stage = Aesthetic(aesthetic_config(tmp_path / "head.pth"), embed_config(tiny_clip))
    stage.open()
    score = stage.run(table, frames).column("aesthetic").to_pylist()[0]

    frame_ND = loaded_clip(tiny_clip).embed_images([frames[0].rgb[index] for index in (0, 5, 10, 15)])
    assert score == pytest.approx(head(torch.from_numpy(frame_ND)).mean().item(), abs=1e-5)


def test_the_mlp_head_folds_into_one_layer(tmp_path):
    torch.manual_seed(0)
    layers = mlp(CLIP_DIM)
    torch.save({f"layers.{name}": value for name, value in layers.state_dict().items()}, tmp_path / "mlp.pth")
    head = load_aesthetic_head(tmp_path / "mlp.pth", "aesthetic.head")
    embeddings_ND = np.random.default_rng(0).normal(size=(8, CLIP_DIM)).astype(np.float32)
    expected = layers(torch.from_numpy(embeddings_ND)).detach().numpy()[:, 0]
    np.testing.assert_allclose([head.score(embedding) for embedding in embeddings_ND], expected, atol=1e-6)


@pytest.mark.parametrize(("file", "dim"), REAL_HEADS.items())
def test_laions_published_heads_score_as_torch_does(file, dim):
    models = os.environ.get("REELMILL_MODELS")
    if not models:
        pytest.skip("REELMILL_MODELS is not set: no published heads")
    path = Path(models) / file
    state = torch.load(path, weights_only=True, map_location="cpu")
    reference = mlp(dim) if "layers.0.weight" in state else nn.Linear(dim, 1)
    reference.load_state_dict({name.removeprefix("layers."): value for name, value in state.items()})
    embedding_ND = nn.functional.normalize(torch.randn(4, dim, generator=torch.Generator().manual_seed(0)), dim=1)
    head = load_aesthetic_head(path, "aesthetic.head")
    scores = [head.score(embedding) for embedding in embedding_ND.numpy()]
    np.testing.assert_allclose(scores, reference(embedding_ND).detach().numpy()[:, 0], atol=1e-4)


def test_a_head_of_another_clip_is_refused_before_anything_loads(tiny_clip, tmp_path):
    with pytest.raises(
        ConfigError, match=r"aesthetic\.trained_on is 'ViT-L-14/openai'; embed\.clip\.name is 'tiny/random'"
    ):
        Aesthetic(aesthetic_config(tmp_path / "head.pth", "ViT-L-14/openai"), embed_config(tiny_clip))


def test_a_head_without_an_embedding_says_what_to_set(tmp_path):
    with pytest.raises(ConfigError, match="embed is not set; aesthetic needs it"):
        Aesthetic(aesthetic_config(tmp_path / "head.pth"), None)


def test_quickgelu_in_the_name_is_the_same_clip(tiny_clip, tmp_path):
    clip = embed_config(tiny_clip, "ViT-L-14-quickgelu/openai")
    assert Aesthetic(aesthetic_config(tmp_path / "head.pth", "ViT-L-14/openai"), clip).needs()


def test_a_head_of_another_size_is_refused(tiny_clip, tmp_path):
    save_head(tmp_path / "head.pth", dim=7)
    with pytest.raises(ConfigError, match=rf"aesthetic\.head takes 7 dimensions; embed\.clip\.dim is {CLIP_DIM}"):
        Aesthetic(aesthetic_config(tmp_path / "head.pth"), embed_config(tiny_clip)).open()


def test_a_file_with_pickled_code_is_refused_and_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was_run"),)

    torch.save({"weight": Evil()}, tmp_path / "head.pth")
    with pytest.raises(ConfigError, match="is no state dict"):
        load_aesthetic_head(tmp_path / "head.pth", "aesthetic.head")
    assert not (tmp_path / "was_run").exists()


def test_another_network_is_refused(tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)).state_dict(), tmp_path / "head.pth")
    with pytest.raises(ConfigError, match=r"has the tensors \['0\.bias', '0\.weight', '2\.bias', '2\.weight'\]"):
        load_aesthetic_head(tmp_path / "head.pth", "aesthetic.head")


def test_a_clip_without_embedding_has_no_score_and_says_why(tiny_clip, tmp_path):
    save_head(tmp_path / "head.pth")
    rows = [clip_row(0), clip_row(1), clip_row(2, segment="dissolve")]
    short = ClipFrames(frames_of(rows[1]).clip, (), ())
    table, frames = embedded(tiny_clip, rows, [ClipError("none", "no_model_frames"), frames_of(rows[1]), None])
    stage = Aesthetic(aesthetic_config(tmp_path / "head.pth"), embed_config(tiny_clip))
    stage.open()
    scored = stage.run(table, [frames[0], short, None])
    assert [score is None for score in scored.column("aesthetic").to_pylist()] == [True, False, True]
    assert scored.column("error").to_pylist() == ["embed:no_model_frames;aesthetic:no_embedding", None, None]
