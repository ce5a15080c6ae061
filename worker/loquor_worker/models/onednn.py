"""Projections on the CPU with their weights laid out for oneDNN, the activation inside the product.

It knows projections only. The operators are those that torch's own compiler puts into frozen models; where torch was
built without them the projections stay as they are. docs/decisions/0005 has the measurements.
"""

import torch
from torch import Tensor, nn

from loquor_worker.models.parts import Linear, Part

# The operator's name and variant of the activations that it can do.
FUSED = {
    "gelu": ("gelu", "none"),
    "gelu_fast": ("gelu", "tanh"),
    "gelu_new": ("gelu", "tanh"),
    "gelu_pytorch_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "swish": ("swish", ""),
    "tanh": ("tanh", ""),
    None: ("none", ""),
}


REORDER, LINEAR, HAS_BFLOAT16 = "_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported"


def is_available(dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, can pack weights of that type."""
    operators = torch.ops.mkldnn
    if not all(hasattr(operators, name) for name in (REORDER, LINEAR, HAS_BFLOAT16)):
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and bool(getattr(operators, HAS_BFLOAT16)()))


def pack(module: nn.Module, *, keeps_plain: bool = False) -> None:
    """Replace every projection inside a module. For inference alone: what is packed has no gradient.

    `keeps_plain` is for weights that somebody else holds in memory anyway: for a single row, these are faster.
    """
    for name, child in list(module.named_children()):
        if isinstance(child, Linear):
            setattr(module, name, PackedLinear(child, child if keeps_plain else None))
        else:
            pack(child, keeps_plain=keeps_plain)


class PackedLinear(Part):
    """Does what the projection did that it was made of, and leaves a single row to the `plain` one if there is one."""

    def __init__(self, linear: Linear, plain: Linear | None = None) -> None:
        super().__init__()
        self._plain = plain
        self._weight: Tensor = getattr(torch.ops.mkldnn, REORDER)(linear.weight.detach(), None)
        self._bias = None if linear.bias is None else linear.bias.detach()
        self._operator = getattr(torch.ops.mkldnn, LINEAR).default
        self._activation, self._variant = FUSED[linear.activation]

    def forward(self, rows: Tensor) -> Tensor:
        if self._plain is not None and rows.shape[0] == 1:
            return self._plain(rows)  # type: ignore[no-any-return]
        out: Tensor = self._operator(rows, self._weight, self._bias, self._activation, [], self._variant)
        return out
