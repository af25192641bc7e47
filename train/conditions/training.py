"""What a training batch is told: values from clips, dropped and perturbed by keyed draws."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from shards.errors import ContractError
from train.conditions.columns import perturb_scores, told_class, told_scores
from train.conditions.config import ConditionsConfig
from train.conditions.frames import FramesConditionConfig, Given
from train.conditions.masks import draw_masks
from train.conditions.text import caption_words, drop_text
from train.models.text import AnyText
from train.randomness import ConditionDraws


def training_words(
    conditions: ConditionsConfig,
    vocabulary: AnyText,
    captions: Sequence[str | None],
    keys: Sequence[str],
    max_words: int,
    draws: ConditionDraws,
) -> Tensor:
    """Word ids of a batch, some rows emptied; all empty without a text condition."""
    if conditions.text is None:
        return torch.zeros(len(keys), max_words, dtype=torch.int64)
    words_BL = caption_words(vocabulary, captions, keys, max_words)
    return drop_text(words_BL, (draws.text_B < conditions.text.drop) | (draws.all_B < conditions.drop_all))


def training_signals(
    conditions: ConditionsConfig, scores: Mapping[str, Tensor], draws: ConditionDraws
) -> dict[str, Tensor]:
    """Class and scores of a batch as `Signals` reads them.

    Raises:
        ContractError: the clips came without a column.
    """
    missing = [name for name in conditions.columns if name not in scores]
    if missing:
        raise ContractError(
            f"clips have no values of {', '.join(missing)}; conditions need them; set data.view.score_columns"
        )
    all_B, told = draws.all_B < conditions.drop_all, dict[str, Tensor]()
    if conditions.classes is not None:
        class_B = told_class(conditions.classes, scores[conditions.classes.column])
        told["class_B"] = class_B.masked_fill((draws.class_B < conditions.classes.drop) | all_B, 0)
    if conditions.scores:
        told_BS = told_scores(conditions.scores, scores, len(all_B))
        told_BS = perturb_scores(conditions.scores, told_BS, draws.score_uniform_BS, draws.score_normal_BS)
        told["scores_BS"] = told_BS.masked_fill(all_B[:, None], torch.nan)
    return told


def training_frames(
    config: FramesConditionConfig, z_BTCHW: Tensor, noise_BTCHW: Tensor, drop_all: float, draws: ConditionDraws
) -> Given:
    """Given frames of a batch: the clips' own latents, shown with the clips' own noise at a level of their own."""
    mask_BT1HW = draw_masks(config.masks, draws.masks, tuple(z_BTCHW.shape[1:]))
    dropped_B = (draws.frames_B < config.drop) | (draws.all_B < drop_all)
    mask_BT1HW = mask_BT1HW * ~dropped_B[:, None, None, None, None]
    level_B = config.perturb_max * draws.level_B
    return Given(z_BTCHW, mask_BT1HW.to(z_BTCHW), level_B.to(z_BTCHW), noise_BTCHW)
