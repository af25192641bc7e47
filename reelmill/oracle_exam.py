"""What a text-to-video model of the toy world has learnt: an oracle reads its samples, three kinds of prompts apart."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reelmill.toyworld.oracle import score
from reelmill.toyworld.world import COLOURS, DIRECTIONS, KINDS, Combination, Split, combinations
from train.sample.generate import TextToVideo

QUESTIONS = ("colour", "kind", "direction")
EXAM_NAMES: dict[Split, str] = {
    "train": "seen combinations",
    "held_triple": "held-out triples",
    "held_pair": "a colour-kind pair never shown",
}


@dataclass(frozen=True)
class Sample:
    """One generated video and what the oracle read.

    Attributes:
        prompt: its text.
        video_THWC: uint8 RGB.
        verdict: question -> read as the prompt says; an oracle that sees nothing counts as wrong.
    """

    prompt: str
    video_THWC: np.ndarray
    verdict: dict[str, bool]


@dataclass(frozen=True)
class Exam:
    """All samples of one kind of prompts."""

    split: Split
    samples: Sequence[Sample]

    @property
    def name(self) -> str:
        """For people."""
        return EXAM_NAMES[self.split]

    @property
    def share(self) -> dict[str, float]:
        """Share of samples read right, per question and for all of them together."""
        shares = {name: float(np.mean([sample.verdict[name] for sample in self.samples])) for name in QUESTIONS}
        return shares | {"all": float(np.mean([all(sample.verdict.values()) for sample in self.samples]))}


def sit_exam(model: TextToVideo, num_seen: int, samples_per_prompt: int, seed: int = 0) -> list[Exam]:
    """Sample and score seen combinations, held-out triples and the pair never shown; never mixed.

    Args:
        model: trained on the toy world.
        num_seen: seen combinations, evenly picked, one sample each.
        samples_per_prompt: of every held-out combination.
        seed: of the first sample; the next ones count up.
    """
    seen = combinations("train")
    picked = [seen[index] for index in np.linspace(0, len(seen) - 1, min(num_seen, len(seen))).astype(int)]
    asked: dict[Split, list[Combination]] = {
        "train": picked,
        "held_triple": list(combinations("held_triple")) * samples_per_prompt,
        "held_pair": list(combinations("held_pair")) * samples_per_prompt,
    }
    return [Exam(split, _samples(model, wanted, seed)) for split, wanted in asked.items()]


def chance() -> dict[str, float]:
    """Share that a guess gets right."""
    return {"colour": 1 / len(COLOURS), "kind": 1 / len(KINDS), "direction": 1 / len(DIRECTIONS)}


def _samples(model: TextToVideo, wanted: Sequence[Combination], seed: int) -> list[Sample]:
    prompts = [combination.caption for combination in wanted]
    videos_BTHWC = model.generate(prompts, range(seed, seed + len(prompts)))
    return [
        Sample(prompt, video_THWC, score(video_THWC, combination))
        for prompt, video_THWC, combination in zip(prompts, videos_BTHWC, wanted, strict=True)
    ]
