"""Attention over the KV cache: each row sees the tokens of its own sequence up to itself, wherever their blocks lie.

A kernel is made once a step over a `PagedBatch` and called by every layer. It stores the rows' own keys and values
first. It knows neither weights nor positions. docs/decisions/0013 has the measurements behind its shares.
"""

from collections.abc import Iterator
from functools import cached_property, partial

import torch
from torch import Tensor

from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.scoring import Scoring

# Sequences share a call while the longest is at most so many times the shortest: the rest is padding.
_MOST_PADDING = 2


class PagedAttention:
    """A few dense calls: sequences with one row each share them, blocks copied together; a longer chunk has its own."""

    def __init__(self, batch: PagedBatch, device: torch.device, cache: KvCache, scoring: Scoring) -> None:
        self._cache = cache
        self._slots = torch.from_numpy(batch.slots()).to(device, non_blocking=True)
        self._shares = [_share(batch, first, last, device, cache, scoring) for first, last in _shares(batch)]

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, window: int | None, bias: Tensor | None
    ) -> Tensor:
        """Of query [rows, heads, head size], key and value [rows, kv heads, head size] make the query's shape."""
        self._cache.store(layer, self._slots, key, value)
        parts = [share.attend(query, key, value, layer, window) for share in self._shares]
        return parts[0] if len(parts) == 1 else torch.cat(parts)


def _shares(batch: PagedBatch) -> Iterator[tuple[int, int]]:
    """First and last (excluded) of the sequences of each call."""
    first = 0
    for place in range(1, len(batch) + 1):
        if place == len(batch) or not _fit_together(batch, first, place):
            yield first, place
            first = place


def _fit_together(batch: PagedBatch, first: int, place: int) -> bool:
    if batch.lengths[first] > 1 or batch.lengths[place] > 1:
        return False
    shortest, longest = sorted((batch.totals[first], batch.totals[place]))
    return longest <= _MOST_PADDING * max(shortest, batch.block_tokens)


def _share(
    batch: PagedBatch, first: int, last: int, device: torch.device, cache: KvCache, scoring: Scoring
) -> "_Prompt | _Stretch | _Padded":
    rows = slice(batch.offsets[first], batch.offsets[last])
    if last - first > 1:
        return _Padded(batch, first, last, rows, device, cache, scoring)
    if batch.starts[first] == 0:
        return _Prompt(rows, device, scoring)
    return _Stretch(batch, first, rows, device, cache, scoring)


class _Prompt:
    """The start of one sequence: all that its rows see is in this step."""

    def __init__(self, rows: slice, device: torch.device, scoring: Scoring) -> None:
        self._rows = rows
        self._mask = partial(_band, 0, rows.stop - rows.start, device)
        self._scoring = scoring

    def attend(self, query: Tensor, key: Tensor, value: Tensor, _layer: int, window: int | None) -> Tensor:
        q, k, v = (x[self._rows].transpose(0, 1).unsqueeze(0) for x in (query, key, value))
        length = q.shape[2]
        plain = window is None or window >= length - 1
        if plain and self._scoring.soft_cap is None:
            out = self._scoring.attend_causally(q, k, v)
        else:
            out = self._scoring.attend(q, k, v, self._mask(window, query.dtype))
        return out.squeeze(0).transpose(0, 1)


class _Stretch:
    """Rows of one sequence after others of it: a view of its blocks where they lie side by side, else a copy."""

    def __init__(
        self, batch: PagedBatch, place: int, rows: slice, device: torch.device, cache: KvCache, scoring: Scoring
    ) -> None:
        self._rows = rows
        self._start, self._total = batch.starts[place], batch.totals[place]
        self._cache = cache
        self._scoring = scoring
        blocks = batch.blocks_of(place)
        side_by_side = list(blocks) == list(range(blocks[0], blocks[0] + len(blocks)))
        self._views = cache.stretch(blocks[0], self._total) if side_by_side else None
        self._blocks = torch.tensor(() if side_by_side else blocks, dtype=torch.int64, device=device)
        self._masks: dict[int | None, Tensor | None] = {}

    def attend(self, query: Tensor, _key: Tensor, _value: Tensor, layer: int, window: int | None) -> Tensor:
        q = query[self._rows]
        k, v = self._views[layer] if self._views is not None else map(self._gathered, self._cache.layer(layer))
        if q.shape[0] == 1:
            q = q.view(1, k.shape[1], -1, q.shape[2])
            return self._scoring.attend(q, k, v, self._mask(window, query)).view(1, -1, q.shape[3])
        q = q.transpose(0, 1).unsqueeze(0)
        return self._scoring.attend(q, k, v, self._mask(window, query)).squeeze(0).transpose(0, 1)

    def _gathered(self, cached: Tensor) -> Tensor:
        """[slots, kv heads, head size] as [1, kv heads, tokens, head size]."""
        blocks = cached.view(-1, self._cache.block_tokens, *cached.shape[1:])
        stretch = blocks.index_select(0, self._blocks).flatten(0, 1)[: self._total]
        return stretch.transpose(0, 1).unsqueeze(0)

    def _mask(self, window: int | None, like: Tensor) -> Tensor | None:
        """One row sees all, unless there is a window."""
        if window not in self._masks:
            all_seen = self._total - self._start == 1 and (window is None or window >= self._start)
            self._masks[window] = None if all_seen else _band(self._start, self._total, like.device, window, like.dtype)
        return self._masks[window]


class _Padded:
    """One row of each of several sequences: their blocks copied side by side, padded to the longest, in one call."""

    def __init__(
        self,
        batch: PagedBatch,
        first: int,
        last: int,
        rows: slice,
        device: torch.device,
        cache: KvCache,
        scoring: Scoring,
    ) -> None:
        self._cache = cache
        self._rows = rows
        self._scoring = scoring
        self._block_tokens = batch.block_tokens
        tables = [batch.blocks_of(place) for place in range(first, last)]
        width = max(map(len, tables))
        padded = [block for table in tables for block in (*table, *[table[0]] * (width - len(table)))]
        self._blocks = torch.tensor(padded).to(device, non_blocking=True)
        self._shape = (last - first, width * batch.block_tokens)
        self._totals = torch.tensor(batch.totals[first:last]).to(device, non_blocking=True)
        self._masks: dict[int | None, Tensor] = {}

    def attend(self, query: Tensor, _key: Tensor, _value: Tensor, layer: int, window: int | None) -> Tensor:
        count, head_size = self._shape[0], query.shape[2]
        k, v = map(self._gathered, self._cache.layer(layer))
        # The heads of one group stand where the rows of a longer query would: no key is repeated.
        q = query[self._rows].reshape(count, k.shape[1], -1, head_size)
        return self._scoring.attend(q, k, v, self._mask(window, query.dtype)).reshape(count, -1, head_size)

    def _gathered(self, cached: Tensor) -> Tensor:
        blocks = cached.view(-1, self._block_tokens, *cached.shape[1:])
        return blocks.index_select(0, self._blocks).view(*self._shape, *cached.shape[1:]).transpose(1, 2)

    def _mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        if window not in self._masks:
            places, totals = self._places, self._totals.unsqueeze(1)
            seen = places < totals
            if window is not None:
                seen &= places >= totals - 1 - window
            self._masks[window] = _additive(seen, dtype)[:, None, None, :]
        return self._masks[window]

    @cached_property
    def _places(self) -> Tensor:
        return torch.arange(self._shape[1], device=self._totals.device)


def _band(start: int, total: int, device: torch.device, window: int | None, dtype: torch.dtype) -> Tensor:
    """What the rows from `start` to `total` see of the tokens up to `total`."""
    rows = torch.arange(start, total, device=device).unsqueeze(1)
    columns = torch.arange(total, device=device)
    seen = columns <= rows
    if window is not None:
        seen &= columns >= rows - window
    return _additive(seen, dtype)


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, float("-inf"))
