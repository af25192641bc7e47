"""What the network is told: masks, levels, columns, drops, and LVDM's three switches."""

from pathlib import Path

import pytest
import torch

from shards.config import parse_config
from shards.errors import ConfigError, ContractError
from tests.train.moving_square import MovingSquares
from train.breakdown import Breakdown
from train.conditions.columns import ClassConditionConfig, ScoreConditionConfig, perturb_scores, told_class, told_scores
from train.conditions.config import ConditionsConfig
from train.conditions.frames import FramesConditionConfig, Given, counted, noise_levels, num_maps, see
from train.conditions.masks import (
    InpaintingMaskConfig,
    InterpolationMaskConfig,
    MaskDraws,
    PredictionMaskConfig,
    RandomMaskConfig,
    draw_masks,
)
from train.conditions.signals import Signals, build_signals
from train.conditions.text import drop_text
from train.conditions.training import training_frames, training_signals
from train.denoising import DenoisingStep
from train.engine import Engine
from train.objectives.objective import ObjectiveConfig
from train.parallel import World
from train.prepare import prepare
from train.randomness import draw_conditions

LATENT = (4, 2, 4, 4)
NAN = float("nan")


def mask_draws(*which: float, box=(0.0, 0.0, 0.0), frames: int = 4) -> MaskDraws:
    rows = len(which)
    return MaskDraws(torch.tensor(which), torch.tensor([box] * rows), torch.linspace(0, 0.9, frames).repeat(rows, 1))


def frames_of(mask_BT1HW: torch.Tensor) -> list[list[float]]:
    return mask_BT1HW[:, :, 0, 0, 0].tolist()


def test_dropped_text_is_the_empty_text():
    words = torch.tensor([[2, 3], [4, 5]])
    assert drop_text(words, torch.tensor([True, False])).tolist() == [[0, 0], [4, 5]]


def test_image_to_video_is_prediction_from_one_frame():
    assert frames_of(draw_masks([PredictionMaskConfig()], mask_draws(0.5), LATENT)) == [[1, 0, 0, 0]]


def test_interpolation_gives_both_ends():
    assert frames_of(draw_masks([InterpolationMaskConfig()], mask_draws(0.5), LATENT)) == [[1, 0, 0, 1]]


def test_random_frames_are_given_by_their_own_draw_and_one_is_always_left():
    # draws of frames: 0, 0.3, 0.6, 0.9
    assert frames_of(draw_masks([RandomMaskConfig(share=0.5)], mask_draws(0.5), LATENT)) == [[1, 1, 0, 0]]
    assert frames_of(draw_masks([RandomMaskConfig(share=0.95)], mask_draws(0.5), LATENT)) == [[1, 1, 1, 0]]


def test_inpainting_gives_all_but_a_box_of_every_frame():
    config = InpaintingMaskConfig(min_side=0.5, max_side=0.5)
    corner, opposite = (
        draw_masks([config], mask_draws(0.5, box=box), LATENT) for box in ((0.0, 0.0, 0.0), (0.99, 0.99, 0.0))
    )
    assert corner.shape == (1, 4, 1, 4, 4)
    assert corner[0, 3, 0].tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]
    assert torch.equal(opposite.flip(3, 4), corner)


def test_masks_are_chosen_by_weight():
    masks = [PredictionMaskConfig(weight=3.0), InterpolationMaskConfig(weight=1.0)]
    found = frames_of(draw_masks(masks, mask_draws(0.0, 0.74, 0.76, 0.999), LATENT))
    assert [row[3] for row in found] == [0, 0, 1, 1]


def test_a_mask_that_leaves_nothing_to_make_is_refused():
    with pytest.raises(ConfigError, match="gives all of 4 latent frames"):
        draw_masks([PredictionMaskConfig(num_given=4)], mask_draws(0.5), LATENT)


def given(mask_BT: list[list[float]], level: float, z: float = 10.0) -> Given:
    rows, frames = len(mask_BT), len(mask_BT[0])
    z_BTCHW = torch.full((rows, frames, 2, 2, 2), z)
    mask = torch.tensor(mask_BT)[..., None, None, None].expand(rows, frames, 1, 2, 2)
    return Given(z_BTCHW, mask, torch.full((rows,), level), torch.zeros_like(z_BTCHW))


def shown(config: FramesConditionConfig, frames: Given, unconditional=None):
    x, t = torch.full_like(frames.z_BTCHW, 3.0), torch.full(frames.z_BTCHW.shape[:2], 0.8)
    return see(config, ObjectiveConfig(), x, t, frames, unconditional or config.uncond_level)


def test_given_frames_stand_in_the_latent_at_their_own_level():
    seen = shown(FramesConditionConfig(perturb_max=0.3), given([[1, 0, 0]], level=0.2))
    assert seen.x_BTCHW[0, :, 0, 0, 0].tolist() == pytest.approx([8.0, 3.0, 3.0])  # (1 - 0.2) 10 + 0.2 noise, noise 0
    assert seen.maps_BTCHW[0, :, 0, 0, 0].tolist() == [1, 0, 0]
    assert seen.maps_BTCHW.shape[2] == num_maps(FramesConditionConfig(), 2) == 1


def test_the_level_of_given_frames_is_told_per_frame_or_as_a_label_or_not():
    frames = given([[1, 0, 0], [0, 0, 0]], level=0.2)
    per_frame = shown(FramesConditionConfig(level_embedding="frame"), frames)
    assert per_frame.told_BT.flatten().tolist() == pytest.approx([0.2, 0.8, 0.8, 0.8, 0.8, 0.8])
    label = shown(FramesConditionConfig(level_embedding="label", perturb_max=0.3), frames)
    assert label.told_BT.unique().tolist() == pytest.approx([0.8])
    assert label.level_B.tolist() == pytest.approx([0.2, NAN], nan_ok=True)
    assert shown(FramesConditionConfig(), frames).level_B.isnan().all()


@pytest.mark.parametrize(("uncond_level", "told"), [("none", NAN), ("zero", 0.0), ("random", 0.2)])
def test_a_clip_with_nothing_given_is_told_the_level_that_the_switch_says(uncond_level, told):
    config = FramesConditionConfig(level_embedding="label", perturb_max=0.3, uncond_level=uncond_level)
    seen = shown(config, given([[1, 0], [0, 0]], level=0.2))
    assert seen.level_B.tolist() == pytest.approx([0.2, told], nan_ok=True)


def test_frames_beside_the_latent_leave_it_alone():
    config = FramesConditionConfig(injection="concat", perturb_max=0.3)
    frames = given([[1, 0, 0]], level=0.2)
    seen = shown(config, frames)
    assert seen.x_BTCHW.unique().tolist() == [3.0]
    assert seen.maps_BTCHW[0, :, :, 0, 0].tolist() == [[1, 8, 8], [0, 0, 0], [0, 0, 0]]
    assert num_maps(config, 2) == 3
    assert noise_levels(config, frames, torch.full((1, 3), 0.8)).unique().tolist() == pytest.approx([0.8])


def test_levels_of_the_loss_are_those_of_the_latent():
    levels = noise_levels(FramesConditionConfig(), given([[1, 0, 0]], level=0.2), torch.full((1, 3), 0.8))
    assert levels[0, :, 0, 0, 0].tolist() == pytest.approx([0.2, 0.8, 0.8])


def test_given_frames_count_in_the_loss_only_by_the_switch():
    mask = given([[1, 0, 0]], level=0.0).mask_BT1HW
    counts = counted(FramesConditionConfig(), mask)
    assert counts is not None
    assert counts[0, :, 0, 0, 0].tolist() == [0, 1, 1]
    assert counted(FramesConditionConfig(given_in_loss=True), mask) is None


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"uncond_level": "random"}, "tells a clip with nothing given no s"),
        ({"level_embedding": "label"}, "would always say 0"),
        ({"injection": "concat", "level_embedding": "frame"}, "all frames of the latent are at level t"),
        ({"injection": "concat", "given_in_uncond": True}, "all frames of the latent are at level t"),
        ({"masks": [{"kind": "inpainting", "min_side": 0.9}]}, "min_side <= max_side"),
    ],
)
def test_frames_that_contradict_themselves_are_refused(config, reason):
    with pytest.raises(ConfigError, match=reason):
        parse_config(FramesConditionConfig, config)


def test_classes_are_told_from_one_and_null_is_zero():
    config = ClassConditionConfig(column="kind", num_classes=3)
    assert told_class(config, torch.tensor([0.0, 2.0, NAN])).tolist() == [1, 3, 0]
    with pytest.raises(ContractError, match=r"kind is 3\.0; whole numbers from 0 to 2"):
        told_class(config, torch.tensor([3.0]))


def test_scores_are_told_as_their_place_and_null_stays_null():
    configs = [
        ScoreConditionConfig(column="motion", low=10, high=20),
        ScoreConditionConfig(column="light", low=0, high=1),
    ]
    told = told_scores(configs, {"motion": torch.tensor([12.5, 99.0, NAN])}, 3)
    assert told[:, 0].tolist() == pytest.approx([0.25, 1.0, NAN], nan_ok=True)
    assert told[:, 1].isnan().all()  # a column that is not there is not told


def test_scores_are_perturbed_and_dropped_by_their_own_draws():
    configs = [ScoreConditionConfig(column="motion", low=0, high=1, perturb=0.1, drop=0.2)]
    told = perturb_scores(
        configs, torch.tensor([[0.5], [0.5]]), torch.tensor([[0.19], [0.2]]), torch.tensor([[1.0], [2.0]])
    )
    assert told.flatten().tolist() == pytest.approx([NAN, 0.7], nan_ok=True)


FRAMES = FramesConditionConfig(drop=0.25, perturb_max=0.5)
CONDITIONS = ConditionsConfig.model_validate(
    {
        "classes": {"column": "kind", "num_classes": 3, "drop": 0.25},
        "scores": [{"column": "motion", "low": 0, "high": 10, "drop": 0.25}],
        "frames": {"masks": [{"kind": "prediction"}], "drop": 0.25, "perturb_max": 0.5},
    }
)


def test_conditions_are_dropped_as_often_as_they_say_and_by_sample():
    ids = list(range(2000))
    draws = draw_conditions(0, 0, ids, 4, 1, torch.rand(2000))
    scores = {"kind": torch.ones(2000), "motion": torch.full((2000,), 5.0)}
    told = training_signals(CONDITIONS, scores, draws)
    frames = training_frames(FRAMES, torch.zeros(2000, *LATENT), torch.zeros(2000, *LATENT), 0.0, draws)
    for dropped_B in (
        told["class_B"] == 0,
        told["scores_BS"][:, 0].isnan(),
        frames.mask_BT1HW.amax(dim=(1, 2, 3, 4)) == 0,
    ):
        assert dropped_B.float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert 0 <= frames.level_B.min() <= frames.level_B.max() < 0.5
    assert frames.level_B.mean().item() == pytest.approx(0.25, abs=0.01)
    alone = draw_conditions(0, 0, [7], 4, 1, torch.rand(1))
    assert torch.equal(alone.level_B, draws.level_B[7:8])
    assert torch.equal(alone.score_normal_BS, draws.score_normal_BS[7:8])


def test_drop_all_leaves_out_everything_at_once():
    conditions = CONDITIONS.model_copy(update={"drop_all": 0.999999})
    draws = draw_conditions(0, 0, [1, 2], 4, 1, torch.ones(2))
    told = training_signals(conditions, {"kind": torch.ones(2), "motion": torch.ones(2)}, draws)
    frames = training_frames(FRAMES, torch.ones(2, *LATENT), torch.ones(2, *LATENT), 0.999999, draws)
    assert told["class_B"].tolist() == [0, 0]
    assert told["scores_BS"].isnan().all()
    assert frames.mask_BT1HW.sum() == 0


def test_signals_add_nothing_at_the_start_and_then_tell_values_apart():
    torch.manual_seed(0)
    conditions = ConditionsConfig.model_validate(
        {**CONDITIONS.resolved(), "frames": {"level_embedding": "label", "perturb_max": 0.5}}
    )
    signals = Signals(conditions, 16)
    told = {
        "class_B": torch.tensor([0, 1, 1, 1, 1]),
        "scores_BS": torch.tensor([[NAN], [NAN], [0.1], [0.9], [0.9]]),
        "level_B": torch.tensor([NAN, NAN, NAN, 0.0, 0.4]),
    }
    assert signals(told).abs().max() == 0
    for parameter in signals.parameters():
        torch.nn.init.normal_(parameter)
    rows = signals(told)
    assert rows.shape == (5, 1, 16)
    assert torch.cdist(rows[:, 0], rows[:, 0]).add(torch.eye(5)).min() > 1e-3
    assert build_signals(ConditionsConfig(), 16) is None


def example_of(tiny, tmp_path: Path, *overrides: str):
    config, world = tiny(*overrides), World(torch.device("cpu"))
    frozen, batches = prepare(config, MovingSquares(), world, tmp_path)
    engine = Engine(config, frozen, world)
    step = DenoisingStep(config, engine, world, Breakdown(tuple(DenoisingStep.axes(config, engine))))
    return step, step.example(next(batches))


def test_a_batch_with_frames_is_corrupted_place_by_place(tiny, tmp_path):
    step, example = example_of(
        tiny, tmp_path, "codec={kind: transform, haar_frames: 1}", "conditions.frames={drop: 0.0}"
    )
    assert torch.equal(example.corrupted.x_BTCHW[:, 0], example.z_BTCHW[:, 0])  # s is 0: clean
    assert not torch.equal(example.corrupted.x_BTCHW[:, 1], example.z_BTCHW[:, 1])
    losses_B, sums = step.losses(example)
    num_levels = step.config.metrics.level_bins
    assert sums[1, :num_levels].sum() == 4 * 3  # clips x frames that are not given
    assert torch.isfinite(losses_B).all()


def test_key_frames_are_every_so_many_latents_of_a_clip_at_the_full_rate(tiny, tmp_path):
    dense, strided = (
        example_of(tiny, tmp_path / str(stride), "codec={kind: transform, haar_frames: 1}", f"latents.stride={stride}")
        for stride in (1, 3)
    )
    assert dense[1].z_BTCHW.shape[1] == 4
    assert torch.equal(strided[1].z_BTCHW, dense[1].z_BTCHW[:, [0, 3]])
    assert strided[0].engine.frozen.latent_TCHW[0] == strided[1].noise_BTCHW.shape[1] == 2


def test_without_text_no_caption_is_asked_for(tiny, tmp_path):
    step, example = example_of(tiny, tmp_path, "conditions={text: null}")
    assert example.words_BL.eq(0).all()
    assert not any(name.startswith(("text.", "film.")) for name in step.engine.parameters)


def test_columns_must_be_read_by_the_view(tiny):
    with pytest.raises(ConfigError, match=r"score_columns lacks motion"):
        tiny("conditions.scores=[{column: motion, low: 0, high: 1}]")
    tiny("conditions.scores=[{column: motion, low: 0, high: 1}]", "data.view.score_columns=[motion]")
