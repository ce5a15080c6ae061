"""Steps with one row a sequence, recorded once and replayed: on a GPU, to launch work can take longer than to do it.

A recording has fixed sizes and addresses. So there is one for each of a few numbers of rows, the step's values are
copied into buffers that it reads, and rows that are too many work on a block that belongs to nobody. It knows neither
weights nor sequences. docs/decisions/0015 has the reasons.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import structlog
import torch
from torch import Tensor

from loquor_worker.models.flash_paged_attention import Places
from loquor_worker.models.paged_batch import PagedBatch

log = structlog.get_logger()

_SMALL_SIZES = (1, 2, 4, 8)
_STRIDE = 8

Step = Callable[[Tensor, Tensor, Places], Tensor]


class Recording(Protocol):
    """Work that is done again, on the same buffers."""

    def replay(self) -> object: ...


Record = Callable[[Callable[[], None]], Recording]


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of a step: `sequences`, each of `blocks` blocks of `block_tokens`. `spare_block` is for the rows too many."""

    sequences: int
    blocks: int
    block_tokens: int
    spare_block: int

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of rows that are recorded."""
        return *_SMALL_SIZES, *range(2 * _STRIDE, self.sequences + _STRIDE, _STRIDE)


class DecodeGraphs:
    """`step(ids, positions, places)` gives the logits of rows that are sequences of their own, [rows, vocabulary].

    Once a recording fails, `is_on` is false and stays so: steps are then run as others are.
    """

    def __init__(self, step: Step, record: Record, bounds: Bounds, device: torch.device) -> None:
        self.is_on = True
        self._step = step
        self._record = record
        self._bounds = bounds
        self._device = device
        self._recorded: dict[int, _Recorded] = {}

    def takes(self, batch: PagedBatch) -> bool:
        """Whether a step is one of those: single rows, not too many, of sequences that are not too long."""
        bounds = self._bounds
        fits = len(batch) <= bounds.sizes[-1] and max(map(len, batch.tables)) <= bounds.blocks
        return self.is_on and batch.longest == 1 and fits

    def logits(self, ids: npt.NDArray[np.int64], batch: PagedBatch) -> Tensor | None:
        """[sequences, vocabulary], to be read before the next step; None if it could not be recorded."""
        size = next(size for size in self._bounds.sizes if size >= len(batch))
        if size not in self._recorded and not self._make(size):
            return None
        return self._recorded[size].run(ids, batch)

    def _make(self, size: int) -> bool:
        try:
            self._recorded[size] = _Recorded(self._step, self._record, _Buffers(size, self._bounds, self._device))
        except Exception as error:  # whatever a driver may raise: the step is run without a recording
            log.warning("decode steps are not recorded", rows=size, error=type(error).__name__, detail=str(error)[:200])
            self.is_on = False
        return self.is_on


class _Buffers:
    """What a recording of so many rows reads: at first, all of them too many."""

    def __init__(self, size: int, bounds: Bounds, device: torch.device) -> None:
        self._size = size
        self._bounds = bounds
        self.ids = torch.zeros(size, dtype=torch.int64, device=device)
        self.positions = torch.zeros(size, dtype=torch.int64, device=device)
        offsets = torch.arange(size + 1, dtype=torch.int32, device=device)
        self.places = Places(
            slots=torch.full((size,), self._spare_slot, dtype=torch.int64, device=device),
            offsets=offsets,
            totals=torch.ones(size, dtype=torch.int32, device=device),
            key_offsets=offsets.clone(),
            tables=torch.full((size, bounds.blocks), bounds.spare_block, dtype=torch.int32, device=device),
            most_rows=1,
            most_tokens=bounds.blocks * bounds.block_tokens,
        )

    @property
    def _spare_slot(self) -> int:
        return self._bounds.spare_block * self._bounds.block_tokens

    def write(self, ids: npt.NDArray[np.int64], batch: PagedBatch) -> None:
        """The values of a step for the first rows; the spare block for the others."""
        size, places = self._size, self.places
        tables = np.full((size, self._bounds.blocks), self._bounds.spare_block, dtype=np.int32)
        for row, table in enumerate(batch.tables):
            tables[row, : len(table)] = table
        totals = _filled(np.array(batch.totals, dtype=np.int32), size, 1)
        _copy(self.ids, _filled(ids, size, 0))
        _copy(self.positions, _filled(np.array(batch.starts, dtype=np.int64), size, 0))
        _copy(places.slots, _filled(batch.slots(), size, self._spare_slot))
        _copy(places.totals, totals)
        _copy(places.key_offsets, np.cumsum(np.insert(totals, 0, 0), dtype=np.int32))
        _copy(places.tables, tables)


class _Recorded:
    """One recording, the buffers that it reads, and where its logits come out."""

    def __init__(self, step: Step, record: Record, buffers: _Buffers) -> None:
        self._step = step
        self._buffers = buffers
        self._logits = torch.empty(0)
        self._recording = record(self._work)

    def run(self, ids: npt.NDArray[np.int64], batch: PagedBatch) -> Tensor:
        self._buffers.write(ids, batch)
        self._recording.replay()
        return self._logits[: len(batch)]

    def _work(self) -> None:
        self._logits = self._step(self._buffers.ids, self._buffers.positions, self._buffers.places)


def _copy(buffer: Tensor, values: npt.NDArray[Any]) -> None:
    buffer.copy_(torch.from_numpy(values), non_blocking=True)


def _filled(values: npt.NDArray[Any], size: int, rest: int) -> npt.NDArray[Any]:
    out = np.full(size, rest, dtype=values.dtype)
    out[: len(values)] = values
    return out


class CudaRecorder:
    """Records by CUDA graphs, which share their memory: one is replayed at a time."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], None]) -> Recording:
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            work()  # libraries set themselves up in their first calls, which cannot be recorded
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            work()
        return graph
