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


class Part(nn.Module):
    """A module without torch's hooks: a call costs less, which counts for one row of a small model."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.__call__ = cls.forward  # type: ignore[method-assign]


class Linear(Part):
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


class Table(Part):
    """One row for each id."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.weight = _empty(rows, width)

    def forward(self, ids: Tensor) -> Tensor:
        return functional.embedding(ids, self.weight)


class Norm(Part):
    """Layer normalisation of each row."""

    def __init__(self, width: int, epsilon: float, *, bias: bool) -> None:
        super().__init__()
        self._epsilon = epsilon
        self.weight = _empty(width)
        self.bias = _empty(width) if bias else None

    def forward(self, rows: Tensor) -> Tensor:
        return functional.layer_norm(rows, self.weight.shape, self.weight, self.bias, self._epsilon)


class RootMeanSquareNorm(Part):
    """Each row over the root of the mean of its squares (Zhang and Sennrich 2019). `offset` is added to the weight."""

    # Buffers without a name in the checkpoint, because a number would be made a tensor at each call.
    _root: Tensor
    _least: Tensor

    def __init__(self, width: int, epsilon: float, *, offset: float = 0.0) -> None:
        super().__init__()
        self._epsilon = epsilon
        self._offset = offset
        self.weight = _empty(width)
        self.register_buffer("_root", torch.tensor(width**-0.5), persistent=False)
        self.register_buffer("_least", torch.tensor((width * epsilon) ** 0.5), persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        if rows.is_cuda and not self._offset:
            return functional.rms_norm(rows, self.weight.shape, self.weight, self._epsilon)
        weight = self.weight.float() + self._offset if self._offset else self.weight
        # By the length of a row, which is one call: half the time of torch's own norm on a CPU.
        length = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=torch.float32)
        return (rows / torch.hypot(length, self._least).mul_(self._root) * weight).type_as(rows)
