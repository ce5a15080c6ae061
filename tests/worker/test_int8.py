"""Projections of 8 bits: near the exact ones, row by row, whoever is beside."""

import pytest
import torch
from torch import nn

from loquor_worker.engines import LoadError
from loquor_worker.models.int8 import Int8Linear, check_available, quantize
from loquor_worker.models.parts import Linear


def linear(inputs: int, outputs: int, *, bias: bool, activation: str | None = None) -> Linear:
    made = Linear(inputs, outputs, bias=bias, activation=activation)
    made.weight = nn.Parameter(torch.randn(outputs, inputs) * torch.logspace(-3, 1, outputs).unsqueeze(1))
    if bias:
        made.bias = nn.Parameter(torch.randn(outputs))
    return made.requires_grad_(False)


def quantized(exact: Linear) -> nn.Module:
    module = nn.Sequential(exact)
    quantize(module)
    assert isinstance(module[0], Int8Linear)
    return module


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 96), (577, 33)])
def test_it_is_near_the_exact_one(inputs: int, outputs: int, bias: bool, activation: str | None) -> None:
    torch.manual_seed(0)
    exact = linear(inputs, outputs, bias=bias, activation=activation)
    rows = torch.randn(20, inputs)
    wanted, found = exact(rows), quantized(exact)(rows)
    error = (found - wanted).norm(dim=0) / wanted.norm(dim=0)
    assert found.shape == wanted.shape
    assert error.max() < 0.03


def test_a_row_does_not_see_its_neighbours() -> None:
    torch.manual_seed(1)
    module = quantized(linear(64, 96, bias=True))
    rows = torch.randn(70, 64) * torch.logspace(-6, 6, 70).unsqueeze(1)
    together = module(rows)
    alone = torch.cat([module(row.unsqueeze(0)) for row in rows])
    assert torch.equal(together, alone)
    assert torch.equal(module(rows[:5]), alone[:5])


def test_a_row_of_zeros_gives_the_bias() -> None:
    exact = linear(64, 96, bias=True)
    assert exact.bias is not None
    assert torch.equal(quantized(exact)(torch.zeros(1, 64))[0], exact.bias)


def test_it_is_for_the_cpu() -> None:
    check_available(torch.device("cpu"))
    with pytest.raises(LoadError, match="int8"):
        check_available(torch.device("cuda"))
