"""Projections, tables and norms, made without storage and without random numbers: their values come from a checkpoint.

`torch.nn`'s own are not used because initialising them, even on the `meta` device, imports torch's compiler: two
seconds.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,
    "gelu_fast": partial(functional.gelu, approximate="tanh"),
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "relu": functional.relu,
    "silu": functional.silu,
    "swish": functional.silu,
    "tanh": torch.tanh,
}


def _empty(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(shape, device="meta"))


class Linear(nn.Module):
    """Rows times the transposed weight, [outputs, inputs], plus a bias, and then an activation."""

    def __init__(self, inputs: int, outputs: int, *, bias: bool, activation: str | None = None) -> None:
        super().__init__()
        self.activation = activation
        self.weight = _empty(outputs, inputs)
        self.bias = _empty(outputs) if bias else None

    @property
    def outputs(self) -> int:
        return self.weight.shape[0]

    def forward(self, rows: Tensor) -> Tensor:
        rows = functional.linear(rows, self.weight, self.bias)
        return rows if self.activation is None else ACTIVATIONS[self.activation](rows)


class Table(nn.Module):
    """One row for each id."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = _empty(rows, width)

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.weight)


class Norm(nn.Module):
    """Layer normalisation of each row."""

    def __init__(self, width: int, epsilon: float, *, bias: bool) -> None:
        super().__init__()
        self._epsilon = epsilon
        self.weight = _empty(width)
        self.bias = _empty(width) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self._epsilon)


class RootMeanSquareNorm(nn.Module):
    """Each row over the root of the mean of its squares (Zhang and Sennrich 2019). `offset` is added to the weight."""

    def __init__(self, width: int, epsilon: float, *, offset: float = 0.0) -> None:
        super().__init__()
        self._width = width
        self._epsilon = epsilon
        self._offset = offset
        self.weight = _empty(width)

    def forward(self, rows: Tensor) -> Tensor:
        if self._offset:
            return (self._scaled(rows.float()) * (self.weight.float() + self._offset)).to(rows.dtype)
        if rows.is_cuda:
            return functional.rms_norm(rows, self.weight.shape, self.weight, self._epsilon)
        return self._scaled(rows).to(rows.dtype) * self.weight

    def _scaled(self, rows: Tensor) -> Tensor:
        """In float32. On a CPU the length of a row is one call, and all of this half the time of torch's own norm."""
        length: Tensor = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float32)
        return rows * length.square_().div_(self._width).add_(self._epsilon).rsqrt_()
