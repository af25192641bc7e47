"""A real BLIP-2 of tiny width, untrained, with its processor: a quarter of a million parameters, saved like any other.

Defaults of transformers 5.23 suit loading and not training from scratch: the vision encoder's `initializer_range` is
1e-10 (its features stay constant), query tokens start at zero (all alike), dropout is 0.1. The usual 0.02 is small for
64 channels, too: with 0.1, kind and direction are learnt in a third of the steps.
"""

from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    Blip2Config,
    Blip2ForConditionalGeneration,
    Blip2Processor,
    Blip2QFormerConfig,
    Blip2VisionConfig,
    BlipImageProcessor,
    OPTConfig,
    PreTrainedTokenizerFast,
)

from reelmill.toyworld.captioner_clips import TILE_PX
from reelmill.toyworld.world import combinations

PICTURE_PX = 2 * TILE_PX
NUM_QUERY_TOKENS = 4
MAX_WORDS = 32
INIT_STD = 0.1
PAD, BEGIN, END, UNKNOWN = "<pad>", "<s>", "</s>", "<unk>"


def build_processor() -> Blip2Processor:
    """A word-level tokenizer of all captions, to which the processor adds `<image>`, and pictures of 64x64 px."""
    captions = [text for combination in combinations() for text in (combination.caption, combination.still_caption)]
    words = dict.fromkeys([PAD, BEGIN, END, UNKNOWN, *(word for caption in captions for word in caption.split())])
    vocabulary = {word: index for index, word in enumerate(words)}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # type: ignore[assignment]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token=PAD, bos_token=BEGIN, eos_token=END, unk_token=UNKNOWN
    )
    pictures = BlipImageProcessor(size={"height": PICTURE_PX, "width": PICTURE_PX})
    return Blip2Processor(pictures, tokenizer, num_query_tokens=NUM_QUERY_TOKENS)


def build_model(processor: Blip2Processor) -> Blip2ForConditionalGeneration:
    """The network for a processor's vocabulary; weights from torch's current seed."""
    config = _config(processor.tokenizer)
    model = Blip2ForConditionalGeneration(config)
    torch.nn.init.normal_(model.query_tokens, std=INIT_STD)
    return model


def _config(tokenizer: PreTrainedTokenizerFast) -> Blip2Config:
    size: dict[str, Any] = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision = Blip2VisionConfig(
        **size, intermediate_size=128, image_size=PICTURE_PX, patch_size=8, initializer_range=INIT_STD
    )
    qformer = Blip2QFormerConfig(
        **size,
        intermediate_size=128,
        initializer_range=INIT_STD,
        encoder_hidden_size=64,
        cross_attention_frequency=1,
        vocab_size=len(tokenizer),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    text = OPTConfig(
        **size,
        ffn_dim=128,
        init_std=INIT_STD,
        word_embed_proj_dim=64,
        vocab_size=len(tokenizer),
        max_position_embeddings=MAX_WORDS,
        dropout=0.0,
        pad_token_id=_id_of(tokenizer, PAD),
        bos_token_id=_id_of(tokenizer, BEGIN),
        eos_token_id=_id_of(tokenizer, END),
    )
    return Blip2Config(
        vision_config=vision.to_dict(),
        qformer_config=qformer.to_dict(),
        text_config=text.to_dict(),
        num_query_tokens=NUM_QUERY_TOKENS,
        image_token_index=_id_of(tokenizer, "<image>"),
    )


def _id_of(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    token_id = tokenizer.convert_tokens_to_ids(token)
    assert isinstance(token_id, int)
    return token_id
