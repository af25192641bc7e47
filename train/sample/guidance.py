"""Guidance: how predictions with and without text become one."""

from collections.abc import Callable

import torch
from torch import Tensor

Predict = Callable[[Tensor, Tensor], Tensor]  # (x_BTCHW, t_BT) -> z_BTCHW
PredictWords = Callable[[Tensor, Tensor, Tensor], Tensor]  # (x_BTCHW, t_BT, words_BL) -> z_BTCHW


def classifier_free(predict_words: PredictWords, words_BL: Tensor, scale: float) -> Predict:
    """z = z_none + scale (z_text - z_none) (Ho and Salimans 2022, eq. 6, with scale = 1 + w).

    The rule is the same on z, eps, v and flow at one x, since each is linear in the others. Scale 1 asks only once.

    Args:
        predict_words: (x_BTCHW, t_BT, words_BL) to the clean latent.
        words_BL: the text; the empty text is all pads (0).
        scale: 1 is no guidance.
    """
    if scale == 1:
        return lambda x_BTCHW, t_BT: predict_words(x_BTCHW, t_BT, words_BL)
    both_BL = torch.cat([words_BL, torch.zeros_like(words_BL)])

    def predict(x_BTCHW: Tensor, t_BT: Tensor) -> Tensor:
        twice = predict_words(torch.cat([x_BTCHW, x_BTCHW]), torch.cat([t_BT, t_BT]), both_BL)
        with_text, without = twice.chunk(2)
        return without + scale * (with_text - without)

    return predict
