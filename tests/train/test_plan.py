import torch

from train.plan import describe_model


def test_memory_of_the_state_is_twenty_bytes_per_parameter(tiny):
    model = describe_model(tiny(), 10)
    # weights, gradient, two moments, average: five float32
    assert model["memory_state_mb"] == round(20 * model["parameters"] / 1e6, 1)
    assert model["parameters_trained"] == model["parameters"]


def test_arithmetic_grows_with_the_batch(tiny):
    one, two = (describe_model(tiny(f"data.plan.global_batch={clips}"), 10) for clips in (4, 8))
    assert two["flop_per_step"] == 2 * one["flop_per_step"]
    assert one["flop_per_step"] > 0


def test_frozen_parts_cost_no_gradient(tiny):
    model = describe_model(tiny("parameters={kind: all, freeze: ['text.*']}"), 10)
    assert model["parameters_trained"] == model["parameters"] - model["parameters_by_part"]["text"]


def test_activations_are_those_that_autograd_keeps(tiny):
    assert (
        describe_model(tiny("trunk.channels=[16, 32]"), 10)["memory_activations_mb"]
        > (describe_model(tiny(), 10)["memory_activations_mb"])
    )


def test_planning_leaves_the_default_device_alone(tiny):
    describe_model(tiny(), 10)
    assert torch.empty(1).device.type == "cpu"
