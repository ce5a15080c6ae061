"""How the rows of a sequence become one row.

It knows rows and lengths only.
"""

from enum import Enum

import torch
from torch import Tensor

from loquor_worker.models.packing import Packing, Run


class Pooling(Enum):
    """How the rows of a sequence become one."""

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"


def pool(hidden: Tensor, packing: Packing, pooling: Pooling) -> Tensor:
    """Of [rows, hidden size] make [sequences, hidden size]."""
    if pooling is Pooling.CLS:
        return hidden[torch.tensor(packing.offsets[:-1], device=hidden.device)]
    reduce = _mean if pooling is Pooling.MEAN else _max
    return torch.cat([reduce(_dense(hidden, run)) for run in packing.runs])


def _dense(hidden: Tensor, run: Run) -> Tensor:
    return hidden[run.start : run.end].view(run.count, run.length, -1)


def _mean(dense: Tensor) -> Tensor:
    return dense.mean(dim=1, dtype=torch.float32).to(dense.dtype)


def _max(dense: Tensor) -> Tensor:
    return dense.amax(dim=1)
