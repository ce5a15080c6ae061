"""Attention of packed sequences, each to itself alone, by the best means of the device.

A kernel is made once a step over a `Packing` and called by every layer. It knows no weights and no positions: what a
layer adds to the scores comes as `bias`, and `window` says how many tokens it sees to either side. Those of this module
look to both sides; `causal_attention` and `paged_attention` look back.
"""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from loquor_worker.models.packing import Packing, Run


class Batch(Protocol):
    """How the rows of a step belong to sequences: a `Packing`, or whatever else a kernel takes."""

    @property
    def longest(self) -> int:
        """The most rows of a sequence."""
        ...


class Attend(Protocol):
    """Scores, softmax and weighted sum of one layer."""

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, window: int | None, bias: Tensor | None
    ) -> Tensor:
        """Of query [rows, heads, head size], key and value [rows, kv heads, head size] make the query's shape.

        Each head of key and value serves as many heads of the query, in order, as there are to one of it. `bias` is
        [heads, longest, longest].
        """
        ...


# Each kernel takes its own kind of `Batch`.
Attention = Callable[[Any, torch.device], Attend]


class GroupedAttention:
    """One dense call for each run of sequences of one length: views, no copy in, no mask."""

    def __init__(self, packing: Packing, device: torch.device) -> None:
        self._runs = packing.runs

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int = 0, window: int | None, bias: Tensor | None
    ) -> Tensor:
        parts = []
        for run in self._runs:
            q, k, v = (dense(x, run) for x in (query, key, value))
            if window is not None and run.length > window + 1:
                out = local_attention(q, k, v, window)
            else:
                mask = None if bias is None else bias[:, : run.length, : run.length].unsqueeze(0)
                out = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
            parts.append(out.transpose(1, 2).flatten(0, 1))
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def dense(rows: Tensor, run: Run) -> Tensor:
    """[rows, heads, head size] as a view [count, heads, length, head size]."""
    return rows[run.start : run.end].view(run.count, run.length, *rows.shape[1:]).transpose(1, 2)


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
        mask = band[: end - start, low - start + window : high - start + window]
        q, k, v = query[:, :, start:end], key[:, :, low:high], value[:, :, low:high]
        parts.append(functional.scaled_dot_product_attention(q, k, v, attn_mask=mask))
    return torch.cat(parts, dim=2)


class PaddedAttention:
    """A few dense calls over sequences of similar length, padded for the call alone: few launches on a GPU.

    Sequences share a call while the longest is at most twice the shortest, so that at most half of it is padding.
    """

    def __init__(self, packing: Packing, device: torch.device) -> None:
        self._shares = [_Share(packing, first, last, device) for first, last in _similar(packing.lengths)]

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int = 0, window: int | None, bias: Tensor | None
    ) -> Tensor:
        return torch.cat([share.attend(query, key, value, window, bias) for share in self._shares])


def _similar(lengths: tuple[int, ...]) -> list[tuple[int, int]]:
    """First and last (excluded) of the sequences of each call."""
    bounds, first = [], 0
    for place, length in enumerate(lengths):
        if length > 2 * lengths[first]:
            bounds.append((first, place))
            first = place
    return [*bounds, (first, len(lengths))]


class _Share:
    """The rows of one padded call: where they come from and where they go back to."""

    def __init__(self, packing: Packing, first: int, last: int, device: torch.device) -> None:
        lengths = torch.tensor(packing.lengths[first:last]).unsqueeze(1)
        starts = torch.tensor(packing.offsets[first:last]).unsqueeze(1)
        places = torch.arange(packing.lengths[last - 1])
        kept = places < lengths
        # Padding repeats the sequence's own first row, so that no score of it is ever out of range.
        self._source = torch.where(kept, starts + places, starts).to(device)
        self._kept = kept.to(device)
        self._rows = kept.flatten().nonzero().squeeze(1).to(device)
        self._places = places.to(device)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, window: int | None, bias: Tensor | None) -> Tensor:
        q, k, v = (x[self._source].transpose(1, 2) for x in (query, key, value))
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._mask(window, bias))
        return out.transpose(1, 2).flatten(0, 1)[self._rows]

    def _mask(self, window: int | None, bias: Tensor | None) -> Tensor:
        mask = self._kept[:, None, None, :]
        if window is not None:
            near = (self._places.unsqueeze(0) - self._places.unsqueeze(1)).abs() <= window
            # A padding row sees what it may, lest its softmax be over nothing.
            mask = (mask & near) | ~self._kept[:, None, :, None]
        if bias is None:
            return mask
        longest = len(self._places)
        return bias[:, :longest, :longest].unsqueeze(0).masked_fill(~mask, float("-inf"))


Varlen = Callable[..., Tensor]


class VarlenAttention:
    """One call over all sequences by their offsets, as flash attention on CUDA takes them. It knows no bias."""

    def __init__(self, packing: Packing, device: torch.device, varlen: Varlen) -> None:
        self._offsets = torch.tensor(packing.offsets, dtype=torch.int32).to(device, non_blocking=True)
        self._longest = packing.longest
        self._varlen = varlen

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int = 0, window: int | None, bias: Tensor | None
    ) -> Tensor:
        if bias is not None:
            raise ValueError("a varlen call takes no bias")
        sides = {} if window is None else {"window_size": (window, window)}
        longest, offsets = self._longest, self._offsets
        return self._varlen(query, key, value, offsets, offsets, longest, longest, **sides)
