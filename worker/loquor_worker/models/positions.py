"""Positions that are no embeddings: rotary angles, and a learned bias on distances.

It knows no layer: a rotation is made for the rows of a step, a bias for its longest sequence.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from loquor_worker.models.config import RelativeBias
from loquor_worker.models.parts import Table
from loquor_worker.models.rope import Rope


class Rotation(NamedTuple):
    """How rows turn: cosine and sine, each [rows, 1, size] in float32, the first half of the sine negated."""

    cosine: Tensor
    sine: Tensor


class Rotary(nn.Module):
    """Makes the rotation of a step for the layers of one rope."""

    frequencies: Tensor

    def __init__(self, rope: Rope, longest: int) -> None:
        super().__init__()
        self._amplitude = rope.amplitude
        # A buffer without a name in the checkpoint: it moves with the module.
        self.register_buffer("frequencies", rope.frequencies(longest), persistent=False)

    def forward(self, positions: Tensor) -> Rotation:
        angles = (positions.float().unsqueeze(1) * self.frequencies).unsqueeze(1)
        cosine, sine = angles.cos() * self._amplitude, angles.sin() * self._amplitude
        return Rotation(torch.cat((cosine, cosine), dim=-1), torch.cat((-sine, sine), dim=-1))


def rotate(rows: Tensor, rotation: Rotation) -> Tensor:
    """Turn [rows, heads, head size], in float32. Elements behind the rotation's size stay as they are."""
    cosine, sine = rotation
    size = cosine.shape[-1]
    if size < rows.shape[-1]:
        return torch.cat((rotate(rows[..., :size], rotation), rows[..., size:]), dim=-1)
    wide = rows.float()
    return torch.addcmul(wide * cosine, wide.roll(size // 2, -1), sine).type_as(rows)


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
