"""Export: whole tensors that give the same samples and start a run, and diffusers' layout with its difference."""

import json
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shards.errors import ConfigError
from shards.ids import file_sha256
from train.diffusers_layout import why_not
from train.export import export
from train.sample.generate import load
from train.tensor_files import read
from train.trainer import fit

TRANSFORMER = "{kind: transformer, num_heads: HEADS, head_width: 4, norm_groups: 4, positions: none, init: random}"
MODELSCOPE = (
    "trunk={kind: adm_unet, channels: [8, 16], blocks_per_level: 1, attention_levels: [0], attention: transformer, "
    "modulation: add, num_heads: null, head_width: 4, norm_groups: 4}",
    "mixer={kind: by_site, block: {kind: conv_stack, norm_groups: 4, init: random}, enter: "
    + TRANSFORMER.replace("HEADS", "8")
    + ", attention: "
    + TRANSFORMER.replace("HEADS", "null")
    + "}",
    "conditions={text: {injection: cross_attention}}",
    "optim.learning_rate=0.01",
    "ema.decay=0.5",
)


@pytest.fixture
def run(tiny, squares, tmp_path):
    fit(tiny(*MODELSCOPE, "budget.steps=4"), tmp_path / "run", source=squares)
    return tmp_path / "run"


def test_diffusers_loads_the_unet_and_says_the_same(run, tmp_path):
    diffusers = pytest.importorskip("diffusers")
    done = export(run, tmp_path / "out")
    assert done.max_difference is not None
    assert done.max_difference <= 1e-5
    record = json.loads((tmp_path / "out" / "export.json").read_text())
    assert record["diffusers"]["max_difference"] == done.max_difference
    assert (record["step"], record["averaged"], record["without_diffusers"]) == (4, True, None)
    assert {name: file_sha256(tmp_path / "out" / name) for name in record["files"]} == record["files"]
    unet = diffusers.UNet3DConditionModel.from_pretrained(tmp_path / "out", subfolder="unet", low_cpu_mem_usage=False)
    network = load(run, "cpu").network
    ours = [value for name, value in network.named_parameters() if name.startswith(("level.", "trunk."))]
    assert sum(value.numel() for value in ours) == sum(value.numel() for value in unet.parameters())
    drawn = torch.randn(1, unet.config["in_channels"], 2, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        said = unet(drawn, 300, torch.zeros(1, 5, unet.config["cross_attention_dim"])).sample
    assert said.std() > 0.01  # not a net that says nothing


def test_maps_of_given_frames_are_more_input_channels(tiny, squares, tmp_path):
    config = tiny(*MODELSCOPE, "conditions.frames={injection: concat}", "budget.steps=1")
    fit(config, tmp_path / "run", source=squares)
    done = export(tmp_path / "run", tmp_path / "out", layout="diffusers")
    assert done.max_difference is not None
    assert done.max_difference <= 1e-5
    unet = json.loads((tmp_path / "out" / "unet" / "config.json").read_text())
    assert unet["in_channels"] == 2 * unet["out_channels"] + 1  # noisy latent, given latent, mask


def test_the_exported_weights_are_the_averages_and_start_a_run_that_samples_the_same(run, tiny, squares, tmp_path):
    export(run, tmp_path / "out", layout="reelmill")
    export(run, tmp_path / "last", layout="reelmill", averaged=False)
    assert not (tmp_path / "out" / "unet").exists()
    averaged, last = (load_file(tmp_path / name / "model.safetensors") for name in ("out", "last"))
    checkpoint = run / "checkpoints" / "step-00000004"
    assert all(torch.equal(averaged[name], value) for name, value in read(checkpoint, "ema").items())
    assert all(torch.equal(last[name], value) for name, value in read(checkpoint, "model").items())
    assert not torch.equal(averaged["trunk.leave.weight"], last["trunk.leave.weight"])
    start = f"start.path={tmp_path / 'out' / 'model.safetensors'}"
    idle = ("optim.learning_rate=1e-30", "budget.steps=1")  # a step that moves nothing
    fit(tiny(*MODELSCOPE, *idle, start), tmp_path / "again", source=squares)
    prompt = ["a red square moves left"]
    assert np.array_equal(load(tmp_path / "again").generate(prompt, [3]), load(run).generate(prompt, [3]))


def test_low_rank_updates_are_merged(tiny, squares, tmp_path):
    lora = "parameters={kind: lora, rank: 2, targets: [trunk.leave]}"
    fit(tiny("optim.learning_rate=0.1", lora), tmp_path / "run", source=squares)
    export(tmp_path / "run", tmp_path / "out", averaged=False)
    exported = load_file(tmp_path / "out" / "model.safetensors")
    weights = read(tmp_path / "run" / "checkpoints" / "step-00000006", "model")
    assert not [name for name in exported if "lora" in name or "parametrizations" in name]
    assert not torch.equal(exported["trunk.leave.weight"], weights["trunk.leave.parametrizations.weight.original"])


def test_a_layout_that_does_not_exist_is_refused_with_the_reason_or_noted(tiny, squares, tmp_path):
    fit(tiny("budget.steps=1"), tmp_path / "run", source=squares)
    with pytest.raises(ConfigError, match="trunk is unet2d; adm_unet is allowed in diffusers' layout"):
        export(tmp_path / "run", tmp_path / "out", layout="diffusers")
    assert not (tmp_path / "out").exists()
    done = export(tmp_path / "run", tmp_path / "out")
    assert (done.max_difference, done.without_diffusers) == (None, "trunk is unet2d; adm_unet is allowed")
    assert (tmp_path / "out" / "vocabulary.json").is_file()
    with pytest.raises(ConfigError, match="an empty or new folder"):
        export(tmp_path / "run", tmp_path / "out")


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("trunk.modulation=scale_shift", r"trunk\.modulation is scale_shift; add"),
        ("trunk.norm_over=clip", r"trunk\.norm_over is clip; frame"),
        ("mixer.block.kernel=5", r"mixer\.block is .*kernel=5"),
        ("mixer.attention.causal=true", r"mixer\.attention is .*causal=True"),
        ("mixer.enter.num_heads=4", r"mixer\.enter is .*num_heads=4"),
        ("mixer.inner={kind: conv}", r"mixer\.inner is conv; none"),
        ("conditions={text: {}}", r"conditions\.text is film_time; cross_attention"),
        ("conditions.classes={column: kind, num_classes: 2}", "tell classes or scores"),
        ("conditions.frames={level_embedding: frame}", "level_embedding is frame; none"),
    ],
)
def test_what_diffusers_has_no_place_for_is_named(tiny, override, reason):
    columns = "data.view.score_columns=[kind]"
    assert why_not(tiny(*MODELSCOPE, columns)) is None
    found = why_not(tiny(*MODELSCOPE, columns, override))
    assert found is not None
    assert re.search(reason, found)
