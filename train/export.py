"""A trained model as plain files: whole tensors, settings, vocabulary; and as diffusers' U-Net where that exists.

DIR/model.safetensors      the denoiser, LoRA merged; `start.path` takes it as it is
DIR/latents.safetensors    mean_C and std_C: model latents are (codec latents - mean) / std
DIR/codec.safetensors      of a codec with weights
DIR/config.yaml, vocabulary.json, codec.json
DIR/unet/                  diffusers' layout, if it exists: UNet3DConditionModel.from_pretrained(DIR, subfolder="unet")
DIR/export.json            which checkpoint, sha256 of every file, difference of both networks; written last
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from safetensors.torch import save_file

from shards.errors import ConfigError
from shards.ids import file_sha256
from train import checkpoint
from train.diffusers_layout import largest_difference, to_unet3d, why_not
from train.engine import frozen_tensors
from train.sample.generate import TextToVideo, load

Layout = Literal["auto", "reelmill", "diffusers"]
UNET = "unet"
RECORD = "export.json"


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        checkpoint: it is of this one.
        max_difference: of our network and diffusers' on random input; None if that layout was not written.
        without_diffusers: why it was not; None if it was, or was not asked for.
    """

    checkpoint: Path
    max_difference: float | None
    without_diffusers: str | None


def export(run: Path, output: Path, *, averaged: bool = True, layout: Layout = "auto") -> Exported:
    """Write the model of a run folder (its newest checkpoint) or of one checkpoint into a new folder.

    Args:
        run: run folder or checkpoint folder.
        output: folder without files.
        averaged: the moving average of the weights; False takes the last ones.
        layout: auto writes diffusers' layout too where it exists; diffusers refuses where it does not.

    Raises:
        ConfigError: there is no checkpoint, the folder has files, or the layout asked for does not exist.
    """
    if output.exists() and any(output.iterdir()):
        raise ConfigError(f"{output} has files; an empty or new folder is allowed; give another --output")
    folder = checkpoint.find(run)
    model = load(folder, "cpu", averaged)
    reason = None if layout == "reelmill" else why_not(model.config)
    if reason is None and layout == "auto" and find_spec("diffusers") is None:
        reason = "diffusers is not installed"
    if layout == "diffusers" and reason is not None:
        raise ConfigError(f"{reason} in diffusers' layout; change it before training, or export layout reelmill")
    output.mkdir(parents=True, exist_ok=True)
    _write_own(model, folder, output)
    difference = None if layout == "reelmill" or reason is not None else _write_unet(model, output)
    record = {
        "checkpoint": folder.name,
        "step": checkpoint.step_of(folder),
        "averaged": averaged,
        "diffusers": {"max_difference": difference, "timestep": "1000 * level"} if difference is not None else None,
        "without_diffusers": reason,
        "files": {
            str(file.relative_to(output)): file_sha256(file) for file in sorted(output.rglob("*")) if file.is_file()
        },
    }
    _write_json(output / RECORD, record)
    return Exported(folder, difference, reason)


def _write_own(model: TextToVideo, folder: Path, output: Path) -> None:
    groups = {"model": model.network.state_dict(), **frozen_tensors(model.frozen)}
    for group, tensors in groups.items():
        whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        save_file(whole, output / f"{group}.safetensors", {"format": "pt"})
    (output / "config.yaml").write_text(model.config.to_yaml(), encoding="utf-8")
    for name in ("vocabulary", "codec"):
        _write_json(output / f"{name}.json", checkpoint.read_document(folder, name))


def _write_unet(model: TextToVideo, output: Path) -> float:
    """Written, read again as anyone would, and compared."""
    unet: Any = to_unet3d(model.config, model.network, model.frozen.latent_TCHW)
    unet.save_pretrained(output / UNET)
    again = type(unet).from_pretrained(output / UNET, low_cpu_mem_usage=False).eval()
    return largest_difference(model.network, again, model.frozen.latent_TCHW, model.config.text.max_words)


def _write_json(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False), encoding="utf-8")
