"""Long videos from networks that make short ones: carries out a plan of windows, round by round."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from shards.errors import ConfigError
from train.conditions.frames import FramesConditionConfig
from train.sample.config import SamplerConfig
from train.sample.generate import GivenLatents, TextToVideo, Wishes
from train.sample.windows import Call, WindowPlan, WindowsConfig, begin_with, merge, plan_windows

_FITTING_MASKS = {"prediction": ("prediction", "random"), "interpolation": ("interpolation", "random")}


@torch.no_grad()
def generate_long(
    model: TextToVideo,
    wishes: Wishes,
    num_frames: int,
    *,
    windows: WindowsConfig | None = None,
    sampler: SamplerConfig | None = None,
    fillers: Sequence[TextToVideo] = (),
    begin_BTHWC: np.ndarray | None = None,
    batch_size: int = 16,
) -> np.ndarray:
    """Videos of any length, uint8 RGB of shape (B, num_frames, H, W, C).

    Args:
        model: makes clips, or key frames; for key frames it is one trained at a rate so many times lower.
        wishes: `model.wishes(…)`, a row per video.
        num_frames: frames of each video.
        windows: policy; default: that of the model's config.
        sampler: default: that of each network's own config.
        fillers: hierarchical: networks of the first, second, … filling of gaps; the last serves the rest, none is the
            model itself.
        begin_BTHWC: frames that the videos begin with, uint8; a whole number of latent frames.
        batch_size: short clips computed at once.

    Raises:
        ConfigError: the policy, the networks and the length do not fit.
    """
    networks = (model, *fillers)
    window = model.frozen.latent_TCHW[0]
    for filler in fillers:
        _check_same_codec(model, filler)
    codec = model.frozen.codec
    alone = int(codec.first_frame_alone)
    length = alone - (alone - num_frames) // codec.frames_per_latent
    gap_window = fillers[0].frozen.latent_TCHW[0] if fillers else window
    plan = plan_windows(windows or model.config.windows, length, window, gap_window)
    if alone and len(plan.calls) > 1:
        raise ConfigError(
            f"codec is {model.config.codec.kind}, whose first latent frame holds one picture and the others "
            f"{codec.frames_per_latent}, so a clip cannot begin within a video; at most "
            f"{alone + codec.frames_per_latent * (window - alone)} frames are allowed with it; ask for fewer"
        )
    begin_BTCHW = None if begin_BTHWC is None else model.encode(torch.from_numpy(begin_BTHWC))
    if begin_BTCHW is not None:
        plan = begin_with(plan, begin_BTCHW.shape[1])
    for call in plan.calls:
        _check_trained(_network_of(networks, call), call)
    long_BTCHW = _carry_out(plan, networks, wishes, sampler, begin_BTCHW, batch_size)[:, :length]
    videos = [model.decode(row_1TCHW)[0, :num_frames] for row_1TCHW in long_BTCHW.split(1)]
    return torch.stack(videos).cpu().numpy()


def _carry_out(
    plan: WindowPlan,
    networks: Sequence[TextToVideo],
    wishes: Wishes,
    sampler: SamplerConfig | None,
    begin_BTCHW: Tensor | None,
    batch_size: int,
) -> Tensor:
    """The long latent in the first network's scale."""
    first, rows = networks[0], len(wishes.prompts)
    long_BTCHW = torch.zeros(rows, plan.length, *first.frozen.latent_TCHW[1:], device=first.device)
    if begin_BTCHW is not None:
        long_BTCHW[:, : begin_BTCHW.shape[1]] = begin_BTCHW
    number = 0
    for calls in plan.rounds:  # calls of a round are rows of one batch
        network = _network_of(networks, calls[0])
        z_NTCHW = torch.cat([long_BTCHW[:, list(call.indices)] for call in calls])
        z_NTCHW = network.frozen.scale.normalize(first.frozen.scale.restore(z_NTCHW))
        made_NTCHW = network.latents(
            wishes.rows([*range(rows)] * len(calls)),
            sampler or network.config.sampler,
            _given(z_NTCHW, [call for call in calls for _ in range(rows)]),
            batch_size,
            [number + k for k in range(len(calls)) for _ in range(rows)],
        )
        made_NTCHW = first.frozen.scale.normalize(network.frozen.scale.restore(made_NTCHW))
        long_BTCHW = merge(long_BTCHW, calls, made_NTCHW.split(rows))
        number += len(calls)
    return long_BTCHW


def _given(z_NTCHW: Tensor, calls: Sequence[Call]) -> GivenLatents | None:
    if not any(any(call.given) for call in calls):
        return None
    mask_NT = torch.tensor([call.given for call in calls], device=z_NTCHW.device).to(z_NTCHW)
    return GivenLatents(z_NTCHW, mask_NT[..., None, None, None].expand_as(z_NTCHW[:, :, :1]))


def _network_of(networks: Sequence[TextToVideo], call: Call) -> TextToVideo:
    return networks[min(call.stage, len(networks) - 1)]


def _check_trained(network: TextToVideo, call: Call) -> None:
    if not any(call.given):
        return
    needed = "interpolation" if call.given[-1] else "prediction"
    config: FramesConditionConfig | None = network.config.conditions.frames
    kinds = [] if config is None else [mask.kind for mask in config.masks]
    if not any(kind in _FITTING_MASKS[needed] for kind in kinds):
        raise ConfigError(
            f"conditions.frames.masks are {', '.join(kinds) or 'none'}; stage {call.stage} of the windows needs "
            f"{' or '.join(_FITTING_MASKS[needed])}; train with it, or choose another policy"
        )
    if len(call.indices) != network.frozen.latent_TCHW[0]:
        raise ConfigError(
            f"stage {call.stage} has calls of {len(call.indices)} latent frames; its network makes "
            f"{network.frozen.latent_TCHW[0]}; use fillers of one length"
        )


def _check_same_codec(first: TextToVideo, other: TextToVideo) -> None:
    ours, theirs = first.frozen.codec.state_dict(), other.frozen.codec.state_dict()
    same = first.config.codec == other.config.codec and ours.keys() == theirs.keys()
    if not (same and all(torch.equal(ours[name], theirs[name].to(ours[name].device)) for name in ours)):
        raise ConfigError(
            "codec of a filler is another than the first network's; the same codec and weights are needed, since "
            "latents pass between them; train one from the other's checkpoint"
        )
