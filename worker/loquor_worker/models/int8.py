"""Projections on the CPU with weights of 8 bits: a fourth of the bytes to read for each token.

It knows projections only. The operators are PyTorch's own dynamic quantisation by FBGEMM: weights are whole numbers
with a scale for each output, fixed when the model is loaded; each row of activations is rounded to 255 steps of its
largest element. docs/decisions/0014 has what was measured, and what it costs in quality.
"""

import warnings

import torch
from torch import Tensor, nn
from torch.nn import functional

from loquor_worker.engines import LoadError
from loquor_worker.models.parts import ACTIVATIONS, Linear, Part

ENGINE = "fbgemm"
_LARGEST = 127
_LEAST = 1e-30
_MOST_ROWS_KEPT = 64


def check_available(device: torch.device) -> None:
    """Raises `LoadError` where 8-bit weights cannot be had."""
    if device.type != "cpu":
        raise LoadError(f"dtype: 'int8' is for the CPU; this model runs on {device}")
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise LoadError(f"dtype: 'int8' needs a torch with {ENGINE}; {torch.__version__} has none on this processor")


def quantize(module: nn.Module) -> None:
    """Replace every projection inside a module. For inference alone, by one thread at a time."""
    _quantize(module, _Rows())


def _quantize(module: nn.Module, rows: "_Rows") -> None:
    for name, child in list(module.named_children()):
        if isinstance(child, Linear):
            setattr(module, name, Int8Linear(child, rows))
        else:
            _quantize(child, rows)


class Int8Linear(Part):
    """Does about what the projection did that it was made of, on float32 rows.

    The operator rounds all rows by the range of all of them. So each row is divided by its largest element, and two
    more columns, which count for nothing, hold 1 and -1: the range is always theirs, and no row sees its neighbours.
    """

    def __init__(self, linear: Linear, rows: "_Rows") -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scales = weight.abs().amax(dim=1).clamp_(min=_LEAST) / _LARGEST
        whole = (weight / scales.unsqueeze(1)).round_().to(torch.int8)
        self.outputs = linear.outputs
        self._packed = _packed(functional.pad(whole, (0, 2)), scales)
        self._bias = None if linear.bias is None else linear.bias.detach().float()
        self._activation = None if linear.activation is None else ACTIVATIONS[linear.activation]
        self._multiply = torch.ops.quantized.linear_dynamic.default
        self._rows = rows

    def forward(self, rows: Tensor) -> Tensor:
        spread, largest = self._rows.spread(rows)
        out: Tensor = self._multiply(spread, self._packed).mul_(largest)
        if self._bias is not None:
            out += self._bias
        return out if self._activation is None else self._activation(out)


class _Rows:
    """Rows divided by their largest elements, with the two columns. Those of few rows are kept and written again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, ...], tuple[Tensor, Tensor]] = {}

    def spread(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """[rows, inputs + 2], to be used before the next call, and what each row was divided by, [rows, 1]."""
        largest = rows.abs().amax(-1, True).clamp_(min=_LEAST)
        spread, view = self._kept.get(rows.shape) or self._make(rows)
        torch.div(rows, largest, out=view)
        return spread, largest

    def _make(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        count, width = rows.shape
        spread = torch.ones(count, width + 2)
        spread[:, -1] = -1.0
        made = spread, spread[:, :width]
        if count <= _MOST_ROWS_KEPT:
            self._kept[rows.shape] = made
        return made


def _packed(whole: Tensor, scales: Tensor) -> torch.ScriptObject:
    """The operator's own layout. It holds no bias: that is added after a row's scale."""
    torch.backends.quantized.engine = ENGINE
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the constructors of quantised tensors will go; the operators stay
        weight = torch._make_per_channel_quantized_tensor(whole, scales.double(), zeros, 0)  # noqa: SLF001
        return torch.ops.quantized.linear_prepack(weight, None)  # type: ignore[no-any-return]
