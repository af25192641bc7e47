"""Tiny models of the real classes with random weights, saved as the real ones are: what the loaders are tested on."""

import json
from pathlib import Path

import open_clip
import pyarrow as pa
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    BlipImageProcessor,
    PreTrainedTokenizerFast,
)

from curate.models.embed import Embed, EmbedConfig
from curate.models.openclip import OpenClip, load_open_clip
from curate.models.weights import resolve
from shards.config import parse_config
from tests.curate.model_clips import clips_table, frames_of

CLIP_DIM = 32
SPECIAL_WORDS = ["<pad>", "<s>", "</s>", "<unk>"]
WORDS = ["a", "red", "green", "blue", "circle", "square", "moves", "left", "right", "up", "down"]

CLIP_MODEL = {
    "embed_dim": CLIP_DIM,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


LANGUAGE_MODELS = {
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
        "max_position_embeddings": 64,
        "dropout": 0.0,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "t5": {
        "d_model": 32,
        "d_kv": 16,
        "d_ff": 64,
        "num_layers": 1,
        "num_heads": 2,
        "dropout_rate": 0.0,
        "pad_token_id": 0,
        "decoder_start_token_id": 0,
        "eos_token_id": 2,
    },
}


def save_tiny_open_clip(folder: Path, seed: int = 0) -> Path:
    """A CLIP of open_clip in its own folder form: open_clip_config.json and open_clip_model.safetensors."""
    torch.manual_seed(seed)
    model = open_clip.CLIP(**CLIP_MODEL)
    preprocess = {
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    folder.mkdir(parents=True)
    config = {"model_cfg": CLIP_MODEL, "preprocess_cfg": preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config), encoding="utf-8")
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return folder


def embed_config(folder: Path, name: str = "tiny/random") -> EmbedConfig:
    """Four frames through the tiny CLIP of a folder."""
    clip = {"model": {"path": str(folder)}, "name": name, "dim": CLIP_DIM}
    return parse_config(EmbedConfig, {"clip": clip, "num_frames": 4})


def loaded_clip(folder: Path) -> OpenClip:
    """The copy that the stages of this process share."""
    config = embed_config(folder).clip
    return load_open_clip(config, resolve(config.model, "embed.clip.model"), "embed.clip")


def embedded(folder: Path, rows: list[dict[str, object]], frames: list | None = None) -> tuple[pa.Table, list]:
    """Clips after the embed stage, and their frames."""
    items = frames or [frames_of(row) for row in rows]
    stage = Embed(embed_config(folder))
    stage.open()
    return stage.run(clips_table(rows), items), items


def save_tiny_blip2(folder: Path, seed: int = 0, language_model: str = "opt") -> Path:
    """A BLIP-2 over OPT (decoder only) or T5 (encoder and decoder), with a dozen words, by `save_pretrained`."""
    torch.manual_seed(seed)
    processor = _processor()
    model = Blip2ForConditionalGeneration(_blip2_config(processor, language_model)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # far from the tiny default spread, so that the picture changes the words
                parameter.normal_(0.0, 0.5)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _processor() -> Blip2Processor:
    words = Tokenizer(
        WordLevel({word: index for index, word in enumerate([*SPECIAL_WORDS, *WORDS])}, unk_token="<unk>")
    )
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    pictures = BlipImageProcessor(do_resize=True, size={"height": 64, "width": 64})
    return Blip2Processor(pictures, tokenizer, num_query_tokens=4)  # adds <image> to the tokenizer


def _blip2_config(processor: Blip2Processor, language_model: str) -> Blip2Config:
    width = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
    vocabulary = len(processor.tokenizer)  # its vocab_size would leave <image> out
    pictures = {**width, "image_size": 64, "patch_size": 16, "initializer_range": 0.02}
    queries = {**width, "encoder_hidden_size": 32, "cross_attention_frequency": 1, "vocab_size": vocabulary}
    return Blip2Config(
        vision_config=pictures,
        qformer_config=queries,
        text_config={**LANGUAGE_MODELS[language_model], "model_type": language_model, "vocab_size": vocabulary},
        num_query_tokens=4,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
