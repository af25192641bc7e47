"""Weights of other people's U-Nets under our names: diffusers' UNet2D/3DConditionModel, and LVDM's released U-Net.

Each map goes over the names of a `level` embedding and a `trunk` (`train.models.adm_unet`) and says where the tensors
lie in the foreign checkpoint. A 2-D checkpoint has none for the mixers: they stay as they were built (inflation).
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from shards.errors import ContractError
from train.models.adm_unet import AdmUNetConfig

# ours -> theirs; several of theirs are stacked along the first axis
Names = dict[str, tuple[str, ...]]


def load_renamed(network: nn.Module, foreign: Mapping[str, Tensor], names: Names, new: tuple[str, ...] = ()) -> None:
    """Copy foreign weights into a network.

    Args:
        network: with the modules `level` and `trunk`.
        foreign: a checkpoint's tensors by name.
        names: from `diffusers_names` or `lvdm_names`.
        new: parts of our names whose parameters may be missing in the checkpoint, and keep their values.

    Raises:
        ContractError: a tensor is missing, left over or of another shape.
    """
    own, taken = dict(network.named_parameters()), set[str]()
    for name, parameter in own.items():
        theirs = names.get(name, ())
        if theirs and all(other in foreign for other in theirs):
            value = torch.cat([foreign[other] for other in theirs])
            value = _from_cosines_first(value) if name == "level.net.0.weight" else value
            if value.numel() != parameter.numel() or len(value) != len(parameter):
                raise ContractError(
                    f"{', '.join(theirs)} has shape {tuple(value.shape)}; {tuple(parameter.shape)} is {name}; "
                    "change trunk or mixer to the checkpoint's sizes"
                )
            parameter.data.copy_(value.reshape(parameter.shape))
            taken.update(theirs)
        elif not any(part in name for part in new):
            raise ContractError(f"{name} is missing in the checkpoint, looked for {theirs}; change trunk or mixer")
    if left := sorted(set(foreign) - taken):
        raise ContractError(f"{len(left)} tensors have no place, first {left[0]}; change trunk or mixer")


def renamed(network: nn.Module, names: Names, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Inverse of `load_renamed`: the weights of `level` and `trunk` under the foreign names.

    Args:
        network: with the modules `level` and `trunk`; its other parts have no place there.
        names: from `diffusers_names`.
        like: tensors of the foreign network, whose shapes the weights get.

    Raises:
        ContractError: a tensor has no foreign name, or a foreign one is not filled.
    """
    found: dict[str, Tensor] = {}
    for name, parameter in network.named_parameters():
        if not name.startswith(("level.", "trunk.")):
            continue
        theirs = [other for other in names.get(name, ()) if other in like]
        if not theirs or sum(like[other].numel() for other in theirs) != parameter.numel():
            raise ContractError(f"{name} has no place, looked for {names.get(name, ())}; change trunk or mixer")
        value = parameter.detach().cpu()
        value = _from_cosines_first(value) if name == "level.net.0.weight" else value  # swaps halves: its own inverse
        parts = value.split([len(like[other]) for other in theirs])
        found |= {other: part.reshape(like[other].shape) for other, part in zip(theirs, parts, strict=True)}
    if missing := sorted(set(like) - set(found)):
        raise ContractError(f"{len(missing)} foreign tensors are not filled, first {missing[0]}; change trunk or mixer")
    return found


def diffusers_names(config: AdmUNetConfig) -> Names:
    """Names in diffusers' UNet3DConditionModel; those of UNet2DConditionModel are a part of them."""
    names: Names = {}
    last = len(config.channels) - 1
    _level(names, "time_embedding.linear_1", "time_embedding.linear_2")
    _pair(names, "trunk.enter", "conv_in")
    _time_transformer(names, "trunk.enter_time", "transformer_in")
    for ours, side, level, number in _sites(config):
        _diffusers_site(names, ours, f"{side}.{level}", number)
    for ours, number in (("trunk.middle.0", 0), ("trunk.middle.1", 1)):
        _diffusers_site(names, ours, "mid_block", number)
    for level in range(last):
        _pair(names, f"trunk.shrink.{level}.conv", f"down_blocks.{level}.downsamplers.0.conv")
        _pair(names, f"trunk.grow.{level}.conv", f"up_blocks.{level}.upsamplers.0.conv")
    _pair(names, "trunk.leave_norm", "conv_norm_out")
    _pair(names, "trunk.leave", "conv_out")
    return names


def lvdm_names(config: AdmUNetConfig) -> Names:
    """Names in the `UNetModel` of YingqingHe/LVDM (blocks of ADM with attention over places and over time)."""
    names: Names = {}
    _level(names, "time_embed.0", "time_embed.2")
    _pair(names, "trunk.enter", "input_blocks.0.0")
    place = 0
    for level in range(len(config.channels)):
        for number in range(config.blocks_per_level):
            place += 1
            site = level * config.blocks_per_level + number
            _lvdm_site(names, f"trunk.down.{site}", f"input_blocks.{place}.0", f"input_blocks.{place}.1")
        if level < len(config.channels) - 1:
            place += 1
            _pair(names, f"trunk.shrink.{level}.conv", f"input_blocks.{place}.0.op")
    _lvdm_site(names, "trunk.middle.0", "middle_block.0", "middle_block.1")
    _lvdm_site(names, "trunk.middle.1", "middle_block.2", "")
    per_level = config.blocks_per_level + 1
    for site in range(per_level * len(config.channels)):
        _lvdm_site(names, f"trunk.up.{site}", f"output_blocks.{site}.0", f"output_blocks.{site}.1")
    for step in range(len(config.channels) - 1):
        attends = len(config.channels) - 1 - step in config.attention_levels
        block = f"output_blocks.{(step + 1) * per_level - 1}"
        _pair(names, f"trunk.grow.{step}.conv", f"{block}.{2 if attends else 1}.conv")
    _pair(names, "trunk.leave_norm", "out.0")
    _pair(names, "trunk.leave", "out.2")
    return names


def _sites(config: AdmUNetConfig) -> Iterator[tuple[str, str, int, int]]:
    """(our site, their side, their level, number in it)."""
    for level in range(len(config.channels)):
        for number in range(config.blocks_per_level):
            yield f"trunk.down.{level * config.blocks_per_level + number}", "down_blocks", level, number
        for number in range(config.blocks_per_level + 1):
            yield f"trunk.up.{level * (config.blocks_per_level + 1) + number}", "up_blocks", level, number


def _diffusers_site(names: Names, ours: str, group: str, number: int) -> None:
    theirs = f"{group}.resnets.{number}"
    block = (("norm_in", "norm1"), ("conv_in", "conv1"), ("film", "time_emb_proj"), ("norm_out", "norm2"))
    for part, other in (*block, ("conv_out", "conv2"), ("skip", "conv_shortcut")):
        _pair(names, f"{ours}.block.{part}", f"{theirs}.{other}")
    for layer in range(4):
        convolution = f"{group}.temp_convs.{number}.conv{layer + 1}"
        _pair(names, f"{ours}.block_time.norms.{layer}", f"{convolution}.0")
        _pair(names, f"{ours}.block_time.convs.{layer}", f"{convolution}.{2 if layer == 0 else 3}")
    transformer = f"{group}.attentions.{number}"
    _ends(names, f"{ours}.attention", transformer)
    _attention(names, f"{ours}.attention.places", f"{transformer}.transformer_blocks.0", 1)
    _attention(names, f"{ours}.attention.words", f"{transformer}.transformer_blocks.0", 2)
    _feed(names, f"{ours}.attention.feed", f"{transformer}.transformer_blocks.0")
    _time_transformer(names, f"{ours}.attention_time", f"{group}.temp_attentions.{number}")


def _time_transformer(names: Names, ours: str, theirs: str) -> None:
    _ends(names, ours, theirs)
    _attention(names, f"{ours}.layers.0.first", f"{theirs}.transformer_blocks.0", 1)
    _attention(names, f"{ours}.layers.0.second", f"{theirs}.transformer_blocks.0", 2)
    _feed(names, f"{ours}.layers.0.feed", f"{theirs}.transformer_blocks.0")


def _ends(names: Names, ours: str, theirs: str) -> None:
    for part, other in (("norm", "norm"), ("first", "proj_in"), ("last", "proj_out")):
        _pair(names, f"{ours}.{part}", f"{theirs}.{other}")


def _attention(names: Names, ours: str, block: str, number: int) -> None:
    _pair(names, f"{ours}.norm", f"{block}.norm{number}")
    names[f"{ours}.query.weight"] = (f"{block}.attn{number}.to_q.weight",)
    names[f"{ours}.key_value.weight"] = (f"{block}.attn{number}.to_k.weight", f"{block}.attn{number}.to_v.weight")
    _pair(names, f"{ours}.last", f"{block}.attn{number}.to_out.0")


def _feed(names: Names, ours: str, block: str) -> None:
    _pair(names, f"{ours}.norm", f"{block}.norm3")
    _pair(names, f"{ours}.first", f"{block}.ff.net.0.proj")
    _pair(names, f"{ours}.last", f"{block}.ff.net.2")


def _lvdm_site(names: Names, ours: str, block: str, attention: str) -> None:
    first = (("norm_in", "in_layers.0"), ("conv_in", "in_layers.2"), ("film", "emb_layers.1"))
    second = (("norm_out", "out_layers.0"), ("conv_out", "out_layers.3"), ("skip", "skip_connection"))
    for part, other in (*first, *second):
        _pair(names, f"{ours}.block.{part}", f"{block}.{other}")
    if not attention:
        return
    for layer, side in ((f"{ours}.attention.attention", "s"), (f"{ours}.attention_time.attention", "t")):
        _pair(names, f"{layer}.norm", f"{attention}.norm_{side}")
        _pair(names, f"{layer}.query_key_value", f"{attention}.qkv_{side}")
        _pair(names, f"{layer}.last", f"{attention}.proj_out_{side}")
    names[f"{ours}.attention_time.attention.keys.table"] = (f"{attention}.relative_position_k.embeddings_table",)
    names[f"{ours}.attention_time.attention.values.table"] = (f"{attention}.relative_position_v.embeddings_table",)


def split_query(foreign: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """LVDM's tensors with each joint `qkv` cut into `.query` and `.key_value`, as `lvdm_names` wants them."""
    cut: dict[str, Tensor] = {}
    for name, value in foreign.items():
        stem, _, kind = name.rpartition(".")
        if stem.endswith((".qkv_s", ".qkv_t")):
            query, key, value_part = value.chunk(3)
            cut[f"{stem}.query.{kind}"], cut[f"{stem}.key_value.{kind}"] = query, torch.cat([key, value_part])
        else:
            cut[name] = value
    return cut


def _level(names: Names, first: str, second: str) -> None:
    _pair(names, "level.net.0", first)
    _pair(names, "level.net.2", second)


def _from_cosines_first(weight_DF: Tensor) -> Tensor:
    """They put cosines before sines, we sines before cosines."""
    return torch.cat(list(weight_DF.chunk(2, dim=1))[::-1], dim=1)


def _pair(names: Names, ours: str, theirs: str) -> None:
    if ours.endswith(".query_key_value"):
        stem = ours.removesuffix(".query_key_value")
        for part in ("query", "key_value"):
            _pair(names, f"{stem}.{part}", f"{theirs}.{part}")
        return
    for kind in ("weight", "bias"):
        names[f"{ours}.{kind}"] = (f"{theirs}.{kind}",)
