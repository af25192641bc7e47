import pytest
import torch

from shards.config import parse_config
from shards.errors import ConfigError
from train.ema import Ema, EmaConfig, ema_decay
from train.optim import BudgetConfig, OptimConfig, build_optimizers, empty_state, learning_rate, optimizer_tensors

OPTIM = OptimConfig(learning_rate=1.0, warmup_steps=4, decay_share=0.5)


def test_the_rate_rises_stays_and_falls():
    rates = [learning_rate(OPTIM, step, step / 16) for step in range(16)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[8] == 1.0
    assert rates[12] == 0.5
    assert rates[15] == pytest.approx(0.125)


def test_no_warm_up_and_no_decay_is_a_flat_rate():
    flat = OptimConfig(learning_rate=1.0, warmup_steps=0, decay_share=0)
    assert [learning_rate(flat, step, 1.0) for step in (0, 9)] == [1.0, 1.0]


def test_the_budget_is_spent_by_whichever_ends_first():
    budget = BudgetConfig(steps=100, seconds=10)
    assert budget.progress(50, 2.0) == 0.5
    assert budget.progress(10, 9.0) == 0.9
    assert budget.progress(200, 0.0) == 1.0


def test_a_budget_without_end_is_refused():
    with pytest.raises(ConfigError, match=r"set budget\.steps or budget\.seconds"):
        parse_config(BudgetConfig, {})


def test_the_average_follows_by_its_decay():
    weight = torch.nn.Parameter(torch.tensor([1.0]))
    ema = Ema(EmaConfig(decay=0.9, ramp=False), {"w": weight})
    weight.data += 1
    ema.update(1)
    assert ema.averages["w"].item() == pytest.approx(0.9 * 1 + 0.1 * 2)
    ema.update(2)
    assert ema.averages["w"].item() == pytest.approx(0.9 * 1.1 + 0.1 * 2)


def test_the_ramp_begins_with_a_short_memory():
    config = EmaConfig(decay=0.99)
    assert ema_decay(config, 1) == pytest.approx(2 / 11)
    assert ema_decay(config, 100_000) == 0.99


@pytest.mark.parametrize("hidden", ["adamw", "muon"])
def test_optimiser_state_survives_a_round_trip(hidden):
    def run(optimizers, weights, steps):
        for _ in range(steps):
            for optimizer in optimizers:
                for weight in weights.values():
                    weight.grad = weight.detach() * 2 + 1
                optimizer.step()

    config = OPTIM.model_copy(update={"hidden": hidden})
    weights = {"bias": torch.nn.Parameter(torch.ones(3)), "matrix": torch.nn.Parameter(torch.eye(3))}
    optimizers = build_optimizers(config, weights, ())
    run(optimizers, weights, 2)
    twins = {name: torch.nn.Parameter(weight.detach().clone()) for name, weight in weights.items()}
    others = build_optimizers(config, twins, ())
    saved = {name: value.clone() for name, value in optimizer_tensors(optimizers, weights).items()}
    for name, value in empty_state(others, twins, saved).items():
        value.copy_(saved[name])
    run(optimizers, weights, 3)
    run(others, twins, 3)
    assert all(torch.equal(weights[name], twins[name]) for name in weights)


def test_muon_takes_hidden_matrices_and_leaves_edges_and_vectors_to_adamw():
    shapes = {"text.words.weight": (9, 4), "site.conv.weight": (4, 4, 3, 3), "site.conv.bias": (4,)}
    weights = {name: torch.nn.Parameter(torch.zeros(shape)) for name, shape in shapes.items()}
    muon, adamw = build_optimizers(OptimConfig(hidden="muon"), weights, ("text.words",))
    assert [len(group["params"]) for group in muon.param_groups] == [1]
    assert muon.param_groups[0]["params"][0] is weights["site.conv.weight"]
    assert len(adamw.param_groups[0]["params"]) == 2


def test_groups_keep_their_factor_of_the_rate():
    weights = {name: torch.nn.Parameter(torch.zeros(2, 2)) for name in ("a", "b", "c")}
    for hidden in ("adamw", "muon"):
        (optimizer,) = build_optimizers(OptimConfig.model_validate({"hidden": hidden}), weights, (), {"b": 0.1})
        sizes = {group["lr_scale"]: len(group["params"]) for group in optimizer.param_groups}
        assert sizes == {1.0: 2, 0.1: 1}
