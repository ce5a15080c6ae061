"""Attention of packed sequences, each to itself alone, by the best means of the device.

A kernel is made once a step over a `Packing` and called by every layer. It knows no weights and no positions: what a layer
adds to the scores comes as `bias`, and `window` says how many tokens it sees to either side.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from loquor_worker.models.packing import Packing, Run


class Attend(Protocol):
    """Scores, softmax and weighted sum, scaled by the square root of the head size."""

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, window: int | None, bias: Tensor | None) -> Tensor:
        """Of [rows, heads, head size] make the same shape. `bias` is [heads, longest, longest]."""
        ...


Attention = Callable[[Packing, torch.device], Attend]


class GroupedAttention:
    """One dense call for each run of sequences of one length: views, no copy in, no mask."""

    def __init__(self, packing: Packing, device: torch.device) -> None:
        self._runs = packing.runs

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *, window: int | None, bias: Tensor | None) -> Tensor:
        parts = []
        for run in self._runs:
            q, k, v = (_dense(x, run) for x in (query, key, value))
            if window is not None and run.length > window + 1:
                out = local_attention(q, k, v, window)
            else:
                mask = None if bias is None else bias[:, : run.length, : run.length].unsqueeze(0)
                out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            parts.append(out.transpose(1, 2).flatten(0, 1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _dense(rows: Tensor, run: Run) -> Tensor:
    """[rows, heads, head size] as a view [count, heads, length, head size]."""
    return rows[run.start : run.end].unflatten(0, (run.count, run.length)).transpose(1, 2)


def local_attention(query: Tensor, key: Tensor, value: Tensor, window: int) -> Tensor:
    """Attention within a window, a block of queries at a time: the cost grows with the length and not its square."""
    length, block = query.shape[2], max(2 * window, 64)
    # Row i of a block may see the columns i to i + 2 * window of the keys that start `window` before the block.
    rows = torch.arange(block, device=query.device).unsqueeze(1)
    columns = torch.arange(block + 2 * window, device=query.device)
    band = (columns >= rows) & (columns <= rows + 2 * window)
    parts = []
    for start in range(0, length, block):
        end = min(start + block, length)
        low, high = max(start - window, 0), min(end + window, length)
        shift = start - window
        mask = band[: end - start, low - shift : high - shift]
        seen = slice(low, high)
        parts.append(
            functional.scaled_dot_product_attention(query[:, :, start:end], key[:, :, seen], value[:, :, seen], mask)
        )
    return torch.cat(parts, dim=2)
