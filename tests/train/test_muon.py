import pytest
import torch

from train.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (8, 40), (40, 8)])
def test_orthogonal_keeps_the_singular_vectors_and_levels_the_values(shape):
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(shape, generator=generator)
    u, _, vh = torch.linalg.svd(matrix, full_matrices=False)
    levelled = u.T @ orthogonal(matrix) @ vh.T  # in the matrix's own singular basis: diagonal, all near 1
    assert torch.allclose(levelled, torch.diag(levelled.diagonal()), atol=1e-4)
    assert levelled.diagonal().min() > 0.6
    assert levelled.diagonal().max() < 1.3


def test_a_step_is_as_long_as_adamws():
    weight = torch.nn.Parameter(torch.zeros(16, 16, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    Muon([weight], lr=1.0, momentum=0.95, weight_decay=0).step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.2, rel=0.15)


def test_weight_decay_shrinks_by_the_rate():
    weight = torch.nn.Parameter(torch.eye(2))
    weight.grad = torch.zeros(2, 2)
    Muon([weight], lr=0.1, momentum=0.95, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.eye(2) * 0.95)


def test_the_scale_of_the_gradient_does_not_matter():
    weights = [torch.nn.Parameter(torch.zeros(4, 4)) for _ in range(2)]
    gradient = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    for weight, scale in zip(weights, (1.0, 1000.0), strict=True):
        weight.grad = gradient * scale
    Muon(weights, lr=1.0, momentum=0.9, weight_decay=0).step()
    assert torch.allclose(weights[0], weights[1], rtol=1e-3, atol=1e-5)
