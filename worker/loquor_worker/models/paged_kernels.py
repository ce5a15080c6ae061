"""Which attention over the KV cache a model gets on a device: tried when it is loaded, and held against the plain one.

A kernel that raises or gives other numbers is passed over, with a line in the log: no model is served by one that was
not seen to work. docs/decisions/0015 says why. It knows no weights and no sequence.
"""

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import cast

import structlog
import torch

from loquor_worker.models.attention import Attend
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.flash_paged_attention import FlashPagedAttention, Kernel, Places, Varlen
from loquor_worker.models.kernels import FLASH_DTYPES, FLASH_HEAD_SIZES, scoring_of
from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_attention import PagedAttention
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.scoring import Scoring

log = structlog.get_logger()

# FlashAttention 2 takes pages of this many tokens or a multiple of it.
PAGE_TOKENS = 256
_TRIAL_BLOCKS = 6
# Sums in another order differ by so much of the largest number, in the types that a flash kernel takes.
_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True)
class PagedKernel:
    """Makes the attention of one step: by a flash kernel, or where there is none by copies and dense calls."""

    scoring: Scoring
    flash: Kernel | None = None

    def __call__(self, batch: PagedBatch, device: torch.device, cache: KvCache) -> Attend:
        if self.flash is None:
            return PagedAttention(batch, device, cache, self.scoring)
        return FlashPagedAttention(Places.of(batch, device), cache, self.scoring, self.flash)


def choose_paged(
    config: ModelConfig, device: torch.device, dtype: torch.dtype, block_tokens: int, varlen: Varlen | None = None
) -> PagedKernel:
    """The best that works. `varlen` None is PyTorch's own, and on the CPU none at all."""
    plain = PagedKernel(scoring_of(config))
    if varlen is None and device.type == "cuda":
        varlen = find_paged_varlen()
    if varlen is None or not _flash_can(config, dtype, block_tokens):
        return plain
    for takes_key_offsets in (False, True):
        flash = replace(plain, flash=Kernel(varlen, takes_key_offsets))
        if _agrees(flash, plain, config, device, dtype, block_tokens):
            return flash
    return plain


def find_paged_varlen() -> Varlen | None:
    """PyTorch's own, where it follows block tables."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return cast(Varlen, varlen_attn) if "block_table" in inspect.signature(varlen_attn).parameters else None


def _flash_can(config: ModelConfig, dtype: torch.dtype, block_tokens: int) -> bool:
    return (
        dtype in FLASH_DTYPES
        and config.head_size in FLASH_HEAD_SIZES
        and config.score_cap is None
        and block_tokens % PAGE_TOKENS == 0
    )


def _agrees(
    flash: PagedKernel,
    plain: PagedKernel,
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
    block_tokens: int,
) -> bool:
    small = replace(config, layers=1, windows=(), ropes=())
    try:
        for batch, window in _trials(config, block_tokens):
            wanted, found = (_tried(one, batch, window, small, device, dtype) for one in (plain, flash))
            difference = (wanted - found).abs().max().item() / wanted.abs().max().item()
            if not difference < _TOLERANCE:
                log.warning("a flash kernel gives other numbers", difference=difference)
                return False
    except Exception as error:  # whatever a kernel that was never seen may raise
        log.warning("a flash kernel does not run here", error=type(error).__name__, detail=str(error)[:200])
        return False
    return True


def _trials(config: ModelConfig, block_tokens: int) -> Iterator[tuple[PagedBatch, int | None]]:
    """Prompts, a stretch and single rows together, then single rows alone; with every window that the model has."""
    mixed = PagedBatch([37, 5, 1, 1], [0, 260, 300, 0], [[3], [5, 1], [2, 0], [4]], block_tokens)
    single = PagedBatch([1, 1, 1], [511, 0, 40], [[5, 1], [3], [2]], block_tokens)
    for batch in (mixed, single):
        for window in {None, *config.windows}:
            yield batch, window


def _tried(
    kernel: PagedKernel,
    batch: PagedBatch,
    window: int | None,
    config: ModelConfig,
    device: torch.device,
    dtype: torch.dtype,
) -> torch.Tensor:
    """The same random numbers each time."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(device, dtype)

    cache = KvCache(config, _TRIAL_BLOCKS, batch.block_tokens, device, dtype)
    for cached in cache.layer(0):
        cached.copy_(noise(*cached.shape))
    rows, width = batch.offsets[-1], config.head_size
    query, key, value = noise(rows, config.heads, width), *(noise(rows, config.kv_heads, width) for _ in range(2))
    return kernel(batch, device, cache)(query, key, value, layer=0, window=window, bias=None).float()
