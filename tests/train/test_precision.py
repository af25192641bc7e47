import pytest
import torch

from train.precision import autocast, resolve

CPU = torch.device("cpu")


def test_a_named_precision_is_taken_as_it_is():
    assert [resolve(name, CPU) for name in ("fp32", "bf16")] == ["fp32", "bf16"]


def test_auto_never_takes_bfloat16_where_the_cpu_cannot_multiply_it(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert resolve("auto", CPU) == "fp32"


@pytest.mark.parametrize(("bf16_s", "answer"), [(0.5, "bf16"), (0.9, "fp32")])
def test_auto_takes_the_clearly_faster_one(monkeypatch, bf16_s, answer):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    monkeypatch.setattr("train.precision._product_s", lambda dtype: bf16_s if dtype == torch.bfloat16 else 1.0)
    assert resolve("auto", CPU) == answer


def test_only_bf16_runs_under_autocast():
    layer, x = torch.nn.Linear(2, 2), torch.ones(1, 2)
    with autocast("bf16", CPU):
        assert layer(x).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert layer(x).dtype == torch.float32
