"""What a training step costs, against U-Nets of others: forward, backward, AdamW, in CPU seconds of one thread.

The shape is a small one: one clip, latent 4 x 8 x 16 x 16, width 32-64-128-128, text of 16 tokens of width 64. Against
diffusers' UNet3DConditionModel our U-Net is configured as the same function (a test proves it by copied weights), so
the operations are equal by construction. Against lucidrains' Unet3D it is LVDM's build with about as many; figures are
CPU time per floating-point operation. All take the same optimiser (fused AdamW) and take turns; medians of the rounds.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from reelmill.bench import Measurement
from shards.facts import machine_facts, package_versions

LIMITS = {"step_vs_diffusers_unet3d": 0.8, "step_vs_lucidrains_unet3d": 0.6}
CHANNELS = (32, 64, 128, 128)
CLIP_CTHW = (4, 8, 16, 16)
TOKENS, TEXT_WIDTH = 16, 64


@dataclass(frozen=True)
class Contender:
    """A network and how it is asked.

    Attributes:
        network: a module of torch.
        ask: latent of shape (1, C, T, H, W) to output.
    """

    network: Any
    ask: Callable[[Any], Any]


def measure(peers: bool = False, rounds: int = 9) -> Measurement:
    """Run the bench; lucidrains' package is installed with `peers`, diffusers is measured if it is there."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps, gflop, parameters = _measure(contenders(peers), rounds)
    finally:
        torch.set_num_threads(threads)
    median = {name: statistics.median(values) for name, values in steps.items()}
    pace = {name: gflop[name] / median[name] for name in median}
    figures = {
        figure: pace[peer] / pace[ours]
        for figure, ours, peer in (
            ("step_vs_diffusers_unet3d", "ours_as_unet3d", "diffusers_unet3d"),
            ("step_vs_lucidrains_unet3d", "ours_lvdm", "lucidrains_unet3d"),
        )
        if peer in pace
    }
    details = {f"{name}_gflop": gflop[name] for name in median}
    details |= {f"{name}_mparameters": parameters[name] for name in median}
    details |= {f"{name}_spread_s": max(values) - min(values) for name, values in steps.items()}
    measured = {
        f"{name}_{kind}": value[name] for kind, value in (("cpu_s", median), ("gflop_s", pace)) for name in median
    }
    return Measurement(
        bench="train",
        figures=figures | {name: value for name, value in measured.items() if name.startswith("ours")},
        limits={name: limit for name, limit in LIMITS.items() if peers or name in figures},
        peers={name: value for name, value in measured.items() if not name.startswith("ours")},
        details=details,
        machine=machine_facts(),
        versions=package_versions(),
    )


def contenders(peers: bool) -> dict[str, Contender]:
    """Networks by name, with weights of one seed."""
    import torch

    torch.manual_seed(0)
    found = {"ours_as_unet3d": ours_as_unet3d(), "ours_lvdm": ours_lvdm()}
    if (diffusers := _diffusers()) is not None:
        found["diffusers_unet3d"] = diffusers
    if peers and (lucidrains := _lucidrains()) is not None:
        found["lucidrains_unet3d"] = lucidrains
    return found


def ours_as_unet3d() -> Contender:
    """Our U-Net as ModelScopeT2V's."""
    from train.models.adm_unet import AdmUNetConfig
    from train.models.temporal import BySiteConfig
    from train.models.temporal_attention import TransformerMixerConfig
    from train.models.temporal_conv import ConvStackMixerConfig

    def over_time(heads: int | None) -> TransformerMixerConfig:
        return TransformerMixerConfig(num_heads=heads, head_width=16, norm_groups=16, positions="none")

    trunk = AdmUNetConfig(
        channels=CHANNELS,
        blocks_per_level=1,
        attention_levels=(0, 1, 2),
        attention="transformer",
        modulation="add",
        num_heads=None,
        head_width=16,
        norm_groups=16,
    )
    mixers = BySiteConfig(enter=over_time(8), block=ConvStackMixerConfig(norm_groups=16), attention=over_time(None))
    return _ours(trunk, mixers, TEXT_WIDTH)


def ours_lvdm() -> Contender:
    """Our U-Net as LVDM's, without text."""
    from train.models.adm_unet import AdmUNetConfig
    from train.models.temporal_attention import AttentionMixerConfig

    trunk = AdmUNetConfig(channels=CHANNELS, blocks_per_level=2, attention_levels=(1, 2, 3), norm_groups=16)
    return _ours(trunk, AttentionMixerConfig(positions="relative", max_distance=8, norm="group", norm_groups=16), 0)


def _ours(trunk: Any, mixer: Any, text_width: int) -> Contender:
    import torch

    from train.models.sites import Conditioning
    from train.models.text import LevelEmbedding
    from train.models.trunk import build_trunk

    channels, frames = CLIP_CTHW[:2]
    level = LevelEmbedding(trunk.modulation_width, trunk.level_features)
    net = build_trunk(trunk, mixer, channels, channels, text_width)
    words_BLD = torch.randn(1, TOKENS, text_width) if text_width else None
    level_BT = torch.full((1, frames), 0.5)

    def ask(x_BCTHW: Any) -> Any:
        x_NCHW = x_BCTHW.transpose(1, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        return net(x_NCHW, Conditioning(level(level_BT).flatten(0, 1), words_BLD, frames))

    return Contender(torch.nn.ModuleList([level, net]), ask)


def _diffusers() -> Contender | None:
    try:
        from diffusers.models.unets.unet_3d_condition import UNet3DConditionModel
    except ImportError:
        return None
    import torch

    net = UNet3DConditionModel(
        sample_size=CLIP_CTHW[-1],
        block_out_channels=CHANNELS,  # pyright: ignore[reportArgumentType] (any number of levels)
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=16,
        norm_num_groups=16,
    )
    level, words = torch.tensor([500]), torch.randn(1, TOKENS, TEXT_WIDTH)
    return Contender(net, lambda x_BCTHW: net(x_BCTHW, level, words).sample)


def _lucidrains() -> Contender | None:
    import torch

    from reelmill.bench.peer_venvs import PeerFailed, peer_venv

    try:
        root = peer_venv("lucidrains", share_torch=True).root
    except PeerFailed as error:
        _tell(f"lucidrains is not measured: {error}")
        return None
    sys.path.append(str(next(root.glob("lib/python3*/site-packages"))))
    from video_diffusion_pytorch import Unet3D  # pyright: ignore[reportMissingImports]

    net = Unet3D(dim=32, cond_dim=TEXT_WIDTH, dim_mults=(1, 2, 4, 4), channels=CLIP_CTHW[0])
    level, text = torch.tensor([500]), torch.randn(1, TEXT_WIDTH)
    return Contender(net, lambda x_BCTHW: net(x_BCTHW, level, cond=text))


def _measure(
    nets: dict[str, Contender], rounds: int
) -> tuple[dict[str, list[float]], dict[str, float], dict[str, float]]:
    """CPU seconds of each step, GFLOP of a step, and millions of parameters, by name."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    x_BCTHW = torch.randn(1, *CLIP_CTHW)
    gflop, optimizers = dict[str, float](), dict[str, Any]()
    for name, contender in nets.items():
        with FlopCounterMode(display=False) as counter:
            contender.ask(x_BCTHW).pow(2).mean().backward()
        gflop[name] = counter.get_total_flops() / 1e9
        optimizers[name] = torch.optim.AdamW(contender.network.train().parameters(), 1e-4, fused=True)
    steps: dict[str, list[float]] = {name: [] for name in nets}
    for number, (name, contender) in itertools.product(range(rounds + 1), nets.items()):
        before_s = time.process_time()
        contender.ask(x_BCTHW).pow(2).mean().backward()
        optimizers[name].step()
        optimizers[name].zero_grad()
        if number:  # the first fills the optimiser's state
            steps[name].append(time.process_time() - before_s)
    sizes = {name: sum(value.numel() for value in net.network.parameters()) / 1e6 for name, net in nets.items()}
    return steps, gflop, sizes


def _tell(line: str) -> None:
    print(line, file=sys.stderr)
