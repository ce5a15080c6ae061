"""Packed projections give what plain ones give, for every activation and any number of rows."""

import pytest
import torch

from loquor_worker.models import onednn
from loquor_worker.models.parts import ACTIVATIONS, Linear


def linear(activation: str | None, *, bias: bool, dtype: torch.dtype) -> Linear:
    torch.manual_seed(6)
    made = Linear(24, 40, bias=bias, activation=activation)
    state = {"weight": torch.randn(40, 24, dtype=dtype), "bias": torch.randn(40, dtype=dtype)}
    made.load_state_dict({name: state[name] for name in made.state_dict()}, assign=True)
    return made


@pytest.mark.parametrize("rows", [0, 1, 7, 300])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [None, *ACTIVATIONS])
def test_equals_the_plain_projection(activation: str | None, bias: bool, rows: int) -> None:
    plain = linear(activation, bias=bias, dtype=torch.float32)
    inputs = torch.randn(rows, 24)
    with torch.inference_mode():
        difference = onednn.PackedLinear(plain)(inputs) - plain(inputs)
    assert difference.shape == (rows, 40)
    assert difference.abs().sum() < 1e-5 * max(rows, 1) * 40


def test_every_activation_has_a_fused_form() -> None:
    assert set(onednn.FUSED) == {None, *ACTIVATIONS}


def test_packs_what_lies_inside() -> None:
    module = torch.nn.Sequential(torch.nn.Sequential(linear("gelu", bias=True, dtype=torch.float32)), torch.nn.Tanh())
    inputs = torch.randn(3, 24)
    with torch.inference_mode():
        expected = module(inputs)
        onednn.pack(module)
        assert [type(part).__name__ for part in module.modules()][2:] == ["PackedLinear", "Tanh"]
        assert (module(inputs) - expected).abs().max() < 1e-6


def test_this_processor_packs_float32_and_never_float16() -> None:
    assert onednn.is_available(torch.float32)
    assert not onednn.is_available(torch.float16)
