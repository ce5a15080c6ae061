"""Positions that are no embeddings: rotary angles, and a learned bias on distances.

It knows no layer: a rotation is made for the rows of a step, a bias for its longest sequence.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from loquor_worker.models.config import RelativeBias
from loquor_worker.models.parts import Table


class Rotary(NamedTuple):
    """Cosine and sine for each row, each [rows, 1, head size]."""

    cosine: Tensor
    sine: Tensor

    @classmethod
    def of(cls, positions: Tensor, base: float, head_size: int, dtype: torch.dtype) -> "Rotary":
        exponents = torch.arange(0, head_size, 2, dtype=torch.float32, device=positions.device) / head_size
        angles = positions.float().unsqueeze(1) * (1.0 / base**exponents)
        angles = torch.cat((angles, angles), dim=-1).unsqueeze(1)
        return cls(angles.cos().to(dtype), angles.sin().to(dtype))


def rotate(rows: Tensor, rotary: Rotary) -> Tensor:
    """Rotate [rows, heads, head size], first half against second half, in float32 (RoFormer, eq. 34)."""
    first, second = rows.float().chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return (rows.float() * rotary.cosine + turned * rotary.sine).to(rows.dtype)


class RelativeBiasTable(nn.Module):
    """The bias of T5 (section 2.1) for attention to both sides: near distances have a bucket each, far ones share."""

    def __init__(self, config: RelativeBias, heads: int) -> None:
        super().__init__()
        self._config = config
        self.table = Table(config.buckets, heads)

    def forward(self, length: int) -> Tensor:
        """[heads, length, length]; that of a shorter sequence is its upper left corner."""
        places = torch.arange(length, device=self.table.weight.device)
        buckets = self._buckets(places.unsqueeze(0) - places.unsqueeze(1))
        return self.table(buckets).permute(2, 0, 1).contiguous()  # type: ignore[no-any-return]

    def _buckets(self, distance: Tensor) -> Tensor:
        half = self._config.buckets // 2
        exact = half // 2
        near = distance.abs()
        octaves = torch.log(near.clamp(min=1).float() / exact) / math.log(self._config.max_distance / exact)
        far = (exact + (octaves * (half - exact)).long()).clamp(max=half - 1)
        return (distance > 0).long() * half + torch.where(near < exact, near, far)
