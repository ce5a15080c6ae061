"""A decoder with its KV cache: token ids of a step in, logits of chosen rows out.

It knows tensors and where they lie. Which rows run, and what becomes of logits, it does not know.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from loquor_worker.models.attention import Attend
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.decode_graphs import Bounds, DecodeGraphs, Record
from loquor_worker.models.flash_paged_attention import FlashPagedAttention, Places
from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.paged_kernels import PagedKernel
from loquor_worker.models.transformer import Transformer


class CachedAttention:
    """The `Attention` of a transformer whose cache is made once its weights are there, of the memory they leave.

    A step comes as a `PagedBatch`, or for a flash kernel as `Places`, which are tensors alone.
    """

    def __init__(self, kernel: PagedKernel) -> None:
        self.kernel = kernel
        self.cache: KvCache | None = None

    def __call__(self, batch: PagedBatch | Places, device: torch.device) -> Attend:
        if self.cache is None:
            raise RuntimeError("the cache has not been made")
        if isinstance(batch, PagedBatch):
            return self.kernel(batch, device, self.cache)
        if self.kernel.flash is None:
            raise RuntimeError("only a flash kernel follows block tables that are tensors")
        return FlashPagedAttention(batch, self.cache, self.kernel.scoring, self.kernel.flash)


class LanguageModel:
    """One transformer, its language head and its cache."""

    def __init__(self, transformer: Transformer, head: nn.Module, attention: CachedAttention) -> None:
        if attention.cache is None:
            raise RuntimeError("the cache has not been made")
        self.cache = attention.cache
        self.has_flash = attention.kernel.flash is not None
        self.graphs: DecodeGraphs | None = None
        self._transformer = transformer
        self._head = head
        self.device = transformer.embeddings.tokens.weight.device

    @property
    def config(self) -> ModelConfig:
        return self._transformer.config

    def record_steps(self, record: Record, sequences: int, sequence_tokens: int) -> None:
        """From now on, record steps in which each sequence has one row, and replay them. For flash kernels alone."""
        blocks = -(-sequence_tokens // self.cache.block_tokens)
        bounds = Bounds(sequences, blocks, self.cache.block_tokens, self.cache.spare_block)
        self.graphs = DecodeGraphs(self._rows_alone, record, bounds, self.device)

    def logits(self, ids: npt.NDArray[np.int64], batch: PagedBatch, rows: npt.NDArray[np.int64]) -> Tensor:
        """Run the rows of a step, whose tokens are `ids`, and return the logits of some of them.

        They are [len(rows), vocabulary size] in float32, to be read before the next call.
        """
        if self.graphs is not None and len(rows) == len(ids) and self.graphs.takes(batch):
            logits = self.graphs.logits(ids, batch)
            if logits is not None:
                return logits
        hidden = self._transformer(self._moved(ids), self._moved(batch.positions()), None, batch)
        if len(rows) < len(ids):
            hidden = hidden.index_select(0, self._moved(rows))
        return self._head(hidden)  # type: ignore[no-any-return]

    def _rows_alone(self, ids: Tensor, positions: Tensor, places: Places) -> Tensor:
        return self._head(self._transformer(ids, positions, None, places))  # type: ignore[no-any-return]

    def _moved(self, values: npt.NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)
