"""Sums of scores, with a network that says what it was told."""

import pytest
import torch

from shards.errors import ConfigError
from train.conditions.config import ConditionsConfig
from train.conditions.frames import FramesConditionConfig, Given
from train.objectives.objective import ObjectiveConfig
from train.sample.config import DdimConfig, ScoreTermConfig
from train.sample.scores import ScoreSum, Told, terms_of

NAN = float("nan")
CONDITIONS = ConditionsConfig.model_validate(
    {
        "classes": {"column": "kind", "num_classes": 3},
        "scores": [{"column": "motion", "low": 0, "high": 1}],
        "frames": {},
    }
)


def says_the_word(x, level, words, given):
    return words[:, :1, None, None, None].expand_as(x).float()


def told(words: int = 2, signals=None, frames: Given | None = None, rows: int = 1) -> Told:
    return Told(torch.full((rows, 3), words), signals or {}, frames)


def guided(guidance, network=says_the_word, conditions=None, told_=None) -> torch.Tensor:
    conditions = conditions or ConditionsConfig()
    terms = terms_of(DdimConfig(guidance=guidance), conditions)
    scores = ScoreSum(network, ObjectiveConfig(), conditions.frames, told_ or told(), terms)
    return scores(torch.zeros(1, 2, 1, 1, 1), torch.full((1, 2), 0.5))


def test_guidance_extrapolates_from_no_text_to_text():
    # text 2 says 2, no text says 0
    assert guided(3.0).flatten().tolist() == [6.0, 6.0]
    assert guided(1.0).flatten().tolist() == [2.0, 2.0]
    assert guided(0.0).flatten().tolist() == [0.0, 0.0]


def test_a_scale_of_one_asks_once():
    sizes = []

    def network(x, level, words, given):
        sizes.append(len(x))
        return x

    guided(1.0, network)
    guided(3.0, network)
    assert sizes == [1, 2]


def test_each_term_leaves_out_what_it_says():
    def says_all(x, level, words, given):
        parts = [words[:, 0], 10 * given["class_B"], 100 * given["scores_BS"][:, 0].nan_to_num(7.0)]
        return torch.stack(parts).sum(0)[:, None, None, None, None].expand_as(x).float()

    signals = {"class_B": torch.tensor([3]), "scores_BS": torch.tensor([[1.0]])}
    conditions = CONDITIONS.model_copy(update={"frames": None})
    terms = (
        ScoreTermConfig(weight=2.0),
        ScoreTermConfig(weight=-0.5, drop=("text", "class")),
        ScoreTermConfig(weight=-0.5, drop=("scores",)),
    )
    # all: 2 + 30 + 100; without text and class: 100; without scores: 2 + 30 + 700
    found = guided(terms, says_all, conditions, told(signals=signals))
    assert found.flatten().tolist() == pytest.approx([2 * 132 - 50 - 366] * 2)


def test_a_term_cannot_drop_what_is_not_there():
    with pytest.raises(ConfigError, match=r"drops frames; of this network text may be dropped"):
        guided((ScoreTermConfig(weight=1.0, drop=("frames",)),))


def test_without_text_and_class_a_scale_has_nothing_to_act_on():
    assert len(terms_of(DdimConfig(guidance=3.0), ConditionsConfig(text=None))) == 1
    conditions = CONDITIONS.model_copy(update={"text": None})
    assert terms_of(DdimConfig(guidance=3.0), conditions)[1].drop == ("class",)


UNCONDITIONAL = (ScoreTermConfig(weight=1.5), ScoreTermConfig(weight=-0.5, drop=("frames",)))


def seen_by(config: FramesConditionConfig, guidance=UNCONDITIONAL, level: float = 0.25):
    """What the network was asked for a state of 3 whose first of two frames is given as 8, with noise 0."""
    asked = {}

    def network(x, told_t, words, given):
        asked.update(x=x.flatten(1), told_t=told_t, **given)
        return x  # the clean latent is the latent

    conditions = ConditionsConfig(text=None, frames=config)
    z = torch.full((1, 2, 1, 1, 1), 8.0)
    mask = torch.tensor([1.0, 0.0]).reshape(1, 2, 1, 1, 1)
    frames = Given(z, mask, torch.tensor([level]), torch.zeros_like(z))
    scores = ScoreSum(
        network, ObjectiveConfig(), config, told(frames=frames), terms_of(DdimConfig(guidance=guidance), conditions)
    )
    return asked, scores(torch.full((1, 2, 1, 1, 1), 3.0), torch.full((1, 2), 0.5)).flatten().tolist()


def test_unconditional_guidance_shows_given_frames_to_one_branch_only():
    asked, z = seen_by(FramesConditionConfig(perturb_max=0.5, level_embedding="label"))
    assert asked["x"].tolist() == [[6.0, 3.0], [3.0, 3.0]]  # (1 - 0.25) 8 + 0.25 noise; the state itself
    assert asked["maps_BTCHW"].flatten(1).tolist() == [[1, 0], [0, 0]]
    assert asked["level_B"].tolist() == pytest.approx([0.25, NAN], nan_ok=True)
    assert z == [3.0, 1.5 * 3 - 0.5 * 3]  # the given place follows the free branch


def test_the_leak_of_the_released_code_is_a_switch():
    config = FramesConditionConfig(perturb_max=0.5, level_embedding="label", given_in_uncond=True)
    asked, _ = seen_by(config)
    assert asked["x"].tolist() == [[6.0, 3.0], [6.0, 3.0]]
    assert asked["maps_BTCHW"].flatten(1).tolist() == [[1, 0], [0, 0]]


@pytest.mark.parametrize(("uncond_level", "told_level"), [("none", NAN), ("random", NAN), ("zero", 0.0)])
def test_the_unconditional_branch_is_told_no_level_but_by_choice(uncond_level, told_level):
    config = FramesConditionConfig(perturb_max=0.5, level_embedding="label", uncond_level=uncond_level)
    asked, _ = seen_by(config)
    assert asked["level_B"].tolist() == pytest.approx([0.25, told_level], nan_ok=True)


def test_given_places_hold_their_frames_where_no_branch_is_free():
    assert seen_by(FramesConditionConfig(), guidance=1.0, level=0.0)[1] == [8.0, 3.0]


def test_the_level_can_be_told_per_frame():
    asked, _ = seen_by(FramesConditionConfig(perturb_max=0.5, level_embedding="frame"))
    assert asked["told_t"].tolist() == [[0.25, 0.5], [0.5, 0.5]]
