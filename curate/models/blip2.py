"""BLIP-2 as transformers has it: pictures to captions, from a folder of `save_pretrained` or a hub snapshot."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import Blip2ForConditionalGeneration, Blip2Processor
from transformers.utils import logging as transformers_logging

from curate.models.runtime import Runtime, inference, torch_device, torch_dtype
from curate.models.weights import Weights
from shards.errors import ConfigError


class Blip2Captioner:
    """A loaded BLIP-2 with its prompt. Greedy or beam search, never sampling: the same picture, the same caption."""

    def __init__(
        self, weights: Weights, runtime: Runtime, *, prompt: str, max_new_tokens: int, num_beams: int, key: str
    ) -> None:
        """Load the model.

        Raises:
            ConfigError: the weights are no BLIP-2, or its processor and model disagree about the picture's tokens.
        """
        self.runtime, self.prompt = runtime, prompt
        self.search = {"max_new_tokens": max_new_tokens, "num_beams": num_beams, "do_sample": False}
        self.device, self.dtype = torch_device(runtime, f"{key}.runtime"), torch_dtype(runtime)
        self.processor, self.model = _load(weights, self.dtype, key)
        self.model.to(self.device).eval()  # pyright: ignore[reportArgumentType]  # transformers' wrapper of Module.to
        _align_picture_tokens(self.processor, self.model, weights, key)

    def caption(self, images_HWC: Sequence[np.ndarray]) -> list[str]:
        """One caption per uint8 RGB picture, without the prompt, spaces collapsed; may be empty."""
        texts = [self.prompt] * len(images_HWC)
        with inference(self.runtime):
            inputs = self.processor(images=list(images_HWC), text=texts, return_tensors="pt")  # pyright: ignore[reportCallIssue]
            pixels_NCHW = inputs["pixel_values"].to(self.device, self.dtype)
            ids_NL, mask_NL = inputs["input_ids"].to(self.device), inputs["attention_mask"].to(self.device)
            answer_NL = self.model.generate(pixels_NCHW, input_ids=ids_NL, attention_mask=mask_NL, **self.search)
        if not self.model.language_model.config.is_encoder_decoder:
            answer_NL = answer_NL[:, ids_NL.shape[1] :]  # a decoder alone repeats the prompt's ids first
        captions = self.processor.tokenizer.batch_decode(answer_NL, skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in captions]


def _load(weights: Weights, dtype: torch.dtype, key: str) -> tuple[Blip2Processor, Blip2ForConditionalGeneration]:
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        processor = Blip2Processor.from_pretrained(weights.path, local_files_only=True)
        model, report = Blip2ForConditionalGeneration.from_pretrained(
            weights.path, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )  # pyright: ignore[reportGeneralTypeIssues]  # a pair, because of output_loading_info
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{key}.model at {weights.path} does not load as BLIP-2 ({str(error).splitlines()[0]}); a folder with "
            f"config, processor and *.safetensors of Blip2ForConditionalGeneration is allowed; change {key}.model"
        ) from error
    finally:
        if bars:
            transformers_logging.enable_progress_bar()
    if report["missing_keys"]:
        raise ConfigError(
            f"{key}.model at {weights.path} lacks the tensors {sorted(report['missing_keys'])[:4]}; all must be there, "
            f"or they would be random; change {key}.model"
        )
    return processor, model


def _align_picture_tokens(
    processor: Blip2Processor, model: Blip2ForConditionalGeneration, weights: Weights, key: str
) -> None:
    """Let the processor put as many picture tokens as the model fills: with none, the picture is silently ignored."""
    processor.num_query_tokens = model.config.num_query_tokens
    token_id = processor.tokenizer.convert_tokens_to_ids("<image>")
    if token_id != model.config.image_token_index:
        raise ConfigError(
            f"image_token_index of {weights.path} is {model.config.image_token_index}; its tokenizer's <image> "
            f"is {token_id}, and they must be equal; use a newer revision of the model or change {key}.model"
        )
