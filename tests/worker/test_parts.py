"""The norm by the root of the mean square, as by its definition."""

import pytest
import torch

from loquor_worker.models.parts import RootMeanSquareNorm

WIDTH = 40
EPSILON = 1e-3


def made(offset: float, dtype: torch.dtype = torch.float32) -> RootMeanSquareNorm:
    norm = RootMeanSquareNorm(WIDTH, EPSILON, offset=offset)
    norm.load_state_dict({"weight": torch.linspace(-1, 2, WIDTH, dtype=dtype)}, assign=True)
    return norm


@pytest.mark.parametrize("offset", [0.0, 1.0])
@pytest.mark.parametrize("shape", [(0, WIDTH), (1, WIDTH), (5, WIDTH), (3, 2, WIDTH)])
def test_equals_the_definition(shape: tuple[int, ...], offset: float) -> None:
    torch.manual_seed(3)
    # Rows of zeros to rows of hundreds, because the epsilon counts in small ones alone.
    rows = torch.randn(shape) * torch.arange(shape[0]).view(-1, *(1,) * (len(shape) - 1)) ** 4
    norm = made(offset)
    expected = rows / (rows.square().mean(-1, keepdim=True) + EPSILON).sqrt() * (norm.weight + offset)
    assert torch.allclose(norm(rows), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("offset", [0.0, 1.0])
def test_half_precision_is_rounded_at_the_end(offset: float) -> None:
    rows = torch.randn(5, WIDTH).bfloat16()
    out = made(offset, torch.bfloat16)(rows)
    weight = made(offset, torch.bfloat16).weight.float()
    wide = RootMeanSquareNorm(WIDTH, EPSILON, offset=offset)
    wide.load_state_dict({"weight": weight}, assign=True)
    assert out.dtype is torch.bfloat16
    assert (out.float() - wide(rows.float())).abs().max() <= 2**-8 * out.abs().max()
