"""The toy captioner: a tiny BLIP-2 trained on toy shots, saved as a folder that the ordinary caption stage loads."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import Field
from transformers import Blip2ForConditionalGeneration, Blip2Processor
from transformers.utils import logging as transformers_logging

from reelmill.toyworld.captioner_clips import captioned_pictures
from reelmill.toyworld.captioner_network import END, NUM_QUERY_TOKENS, build_model, build_processor
from reelmill.toyworld.captioner_score import score_captioner
from shards.config import Config

__all__ = ["CaptionerConfig", "score_captioner", "train_captioner"]

IGNORED_LABEL = -100  # of transformers' loss


class CaptionerConfig(Config):
    """How the toy captioner is trained; the defaults take about two minutes on one thread."""

    seed: int = Field(default=0, ge=0, description="Of clips, weights and batches.")
    num_clips: int = Field(default=3000, ge=96, description="Training clips, every combination equally often.")
    num_steps: int = Field(default=1500, ge=1, description="Steps of the optimiser.")
    batch_size: int = Field(default=32, ge=1, description="Clips per step.")
    learning_rate: float = Field(default=1.5e-3, gt=0, description="Of AdamW, after the warm-up, before the decay.")
    num_threads: int = Field(default=1, ge=1, description="Of torch; sums depend on it.")


def train_captioner(
    folder: Path, config: CaptionerConfig | None = None, on_step: Callable[[int, float], None] = lambda step, loss: None
) -> Blip2ForConditionalGeneration:
    """Train and save model and processor into a folder.

    Args:
        folder: made if missing.
        config: defaults if None.
        on_step: called with the step from 1 and its loss.
    """
    config = config or CaptionerConfig()
    threads, cv_threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(config.num_threads)
    cv2.setNumThreads(1)
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            processor = build_processor()
            model = build_model(processor)
            _fit(model, processor, config, on_step)
    finally:
        torch.set_num_threads(threads)
        cv2.setNumThreads(cv_threads)
    _save(model, processor, folder)
    return model


def _save(model: Blip2ForConditionalGeneration, processor: Blip2Processor, folder: Path) -> None:
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # one file of a megabyte
    try:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    finally:
        if had_bars:
            transformers_logging.enable_progress_bar()


def _fit(
    model: Blip2ForConditionalGeneration,
    processor: Blip2Processor,
    config: CaptionerConfig,
    on_step: Callable[[int, float], None],
) -> None:
    pictures_NHWC, captions = _clips(config)
    pixels_NCHW = _pixels(processor, pictures_NHWC)
    ids_NL, mask_NL = _tokens(processor, captions)
    labels_NL = ids_NL.masked_fill(mask_NL == 0, IGNORED_LABEL)
    labels_NL[:, :NUM_QUERY_TOKENS] = IGNORED_LABEL
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate_share(step, config.num_steps))
    model.train()
    for step in range(1, config.num_steps + 1):
        batch_B = torch.randint(len(captions), (config.batch_size,))
        loss = model(
            pixel_values=pixels_NCHW[batch_B],
            input_ids=ids_NL[batch_B],
            attention_mask=mask_NL[batch_B],
            labels=labels_NL[batch_B],
        ).loss
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        on_step(step, float(loss.detach()))
    model.eval()


def _rate_share(step: int, num_steps: int) -> float:
    """Warm-up over 100 steps, then linear decay to a twentieth over the last 60 %."""
    return min((step + 1) / 100, 1.0, max((num_steps - step) / (0.6 * num_steps), 0.05))


def _clips(config: CaptionerConfig) -> tuple[np.ndarray, list[str]]:
    clips = list(captioned_pictures(config.num_clips, config.seed))
    return np.stack([picture_HWC for picture_HWC, _ in clips]), [caption for _, caption in clips]


def _pixels(processor: Blip2Processor, pictures_NHWC: np.ndarray) -> torch.Tensor:
    """Pictures as the processor gives them to the model, float32, shape (N, C, H, W)."""
    chunks = np.array_split(pictures_NHWC, max(len(pictures_NHWC) // 256, 1))
    return torch.cat([processor.image_processor(list(chunk), return_tensors="pt")["pixel_values"] for chunk in chunks])


def _tokens(processor: Blip2Processor, captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask: the picture's places, the caption's words, the end; shape (N, L)."""
    image = "<image>" * NUM_QUERY_TOKENS
    encoded = processor.tokenizer(
        [f"{image} {caption} {END}" for caption in captions], padding=True, return_tensors="pt"
    )
    return encoded["input_ids"], encoded["attention_mask"]
