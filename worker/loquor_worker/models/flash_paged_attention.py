"""Attention over the KV cache by one call of a flash kernel that follows block tables itself.

As PyTorch's own `varlen_attn` (2.13 and up) does it on CUDA, with FlashAttention underneath. It stores the rows' own
keys and values first. It knows neither weights nor positions, and no soft cap.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.scoring import Scoring


class Varlen(Protocol):
    """`torch.nn.attention.varlen.varlen_attn`, as far as it is used."""

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor | None,
        max_q: int,
        max_k: int,
        **options: Any,
    ) -> Tensor: ...


@dataclass(frozen=True, slots=True)
class Kernel:
    """A flash kernel, and whether it wants the offsets of keys, too (FlashAttention 2 does, 3 takes tables alone)."""

    varlen: Varlen
    takes_key_offsets: bool


@dataclass(frozen=True, slots=True)
class Places:
    """Where the rows of a step belong, as the kernel reads it; all on one device.

    `slots`, int64 [rows]: of the cache, for each row's key and value. `offsets`, int32 [sequences + 1]: the rows where
    sequences start and end. `totals`, int32 [sequences]: tokens of each, those of the step included. `key_offsets`:
    their sums. `tables`, int32 [sequences, blocks]: the blocks of each; what is behind its last one is not read.
    """

    slots: Tensor
    offsets: Tensor
    totals: Tensor
    key_offsets: Tensor
    tables: Tensor
    most_rows: int
    most_tokens: int

    @classmethod
    def of(cls, batch: PagedBatch, device: torch.device) -> "Places":
        width = max(map(len, batch.tables))
        tables = np.zeros((len(batch), width), dtype=np.int32)
        for place, table in enumerate(batch.tables):
            tables[place, : len(table)] = table
        totals = np.array(batch.totals, dtype=np.int32)
        key_offsets = np.concatenate([[0], np.cumsum(totals)]).astype(np.int32)

        def moved(values: npt.NDArray[Any]) -> Tensor:
            return torch.from_numpy(values).to(device, non_blocking=True)

        return cls(
            slots=moved(batch.slots()),
            offsets=moved(np.array(batch.offsets, dtype=np.int32)),
            totals=moved(totals),
            key_offsets=moved(key_offsets),
            tables=moved(tables),
            most_rows=batch.longest,
            most_tokens=max(batch.totals),
        )


class FlashPagedAttention:
    """One call a layer for all sequences of a step."""

    def __init__(self, places: Places, cache: KvCache, scoring: Scoring, kernel: Kernel) -> None:
        if scoring.soft_cap is not None:
            raise ValueError("a flash kernel knows no soft cap")
        self._places = places
        self._cache = cache
        self._scale = scoring.scale
        self._kernel = kernel

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, window: int | None, bias: Tensor | None
    ) -> Tensor:
        """Of query [rows, heads, head size], key and value [rows, kv heads, head size] make the query's shape."""
        places = self._places
        self._cache.store(layer, places.slots, key, value)
        keys, values = (self._pages(cached) for cached in self._cache.layer(layer))
        return self._kernel.varlen(
            query,
            keys,
            values,
            places.offsets,
            places.key_offsets if self._kernel.takes_key_offsets else None,
            places.most_rows,
            places.most_tokens,
            scale=self._scale,
            window_size=(-1 if window is None else window, 0),
            enable_gqa=query.shape[1] != key.shape[1],
            seqused_k=places.totals,
            block_table=places.tables,
        )

    def _pages(self, cached: Tensor) -> Tensor:
        return cached.view(-1, self._cache.block_tokens, *cached.shape[1:])
