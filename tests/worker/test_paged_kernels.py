"""A kernel is taken only if it was seen to give the numbers of the plain one."""

import random
from dataclasses import replace
from typing import Any

import pytest
import structlog
import torch
from torch import Tensor

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.flash_paged_attention import FlashPagedAttention, Kernel, Places
from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_attention import PagedAttention
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.paged_kernels import PAGE_TOKENS, choose_paged
from loquor_worker.models.scoring import Scoring
from tests.worker.paged_reference import varlen
from tests.worker.test_paged_attention import CPU, HEADS, KV_HEADS, SIZE, cache_with, make

CONFIG = ModelConfig(
    vocabulary_size=10,
    hidden_size=HEADS * SIZE,
    layers=2,
    heads=HEADS,
    key_value_heads=KV_HEADS,
    intermediate_size=8,
    activation="silu",
    gated=True,
    norm_epsilon=1e-5,
    norm_place=NormPlace.BEFORE,
    norm_bias=False,
    attention_bias=False,
    mlp_bias=False,
    max_positions=2048,
    causal=True,
    windows=(None, 100),
)


def chosen(kernel: Any, config: ModelConfig = CONFIG, dtype: torch.dtype = torch.bfloat16, tokens: int = 256) -> Any:
    with structlog.testing.capture_logs():
        return choose_paged(config, CPU, dtype, tokens, kernel).flash


def raises(*_: Any, **__: Any) -> Tensor:
    raise RuntimeError("no kernel for this device")


def lies(*arguments: Any, **options: Any) -> Tensor:
    return varlen(*arguments, **options) * 1.2


def sees_all(*arguments: Any, **options: Any) -> Tensor:
    return varlen(*arguments, **options | {"window_size": (-1, 0)})


def wants_offsets(*arguments: Any, **options: Any) -> Tensor:
    if arguments[4] is None:
        raise TypeError("cu_seq_k is required")
    return varlen(*arguments, **options)


def wants_none(*arguments: Any, **options: Any) -> Tensor:
    assert arguments[4] is None
    return varlen(*arguments, **options)


@pytest.mark.parametrize(("kernel", "takes_key_offsets"), [(wants_none, False), (wants_offsets, True)])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_first_that_agrees_is_taken(kernel: Any, takes_key_offsets: bool, dtype: torch.dtype) -> None:
    flash = chosen(kernel, dtype=dtype)
    assert flash is not None
    assert flash.takes_key_offsets is takes_key_offsets


@pytest.mark.parametrize("kernel", [raises, lies, sees_all, None])
def test_one_that_raises_or_lies_is_not(kernel: Any) -> None:
    assert chosen(kernel) is None


def test_what_it_cannot_do_is_not_asked_of_it() -> None:
    assert chosen(varlen, dtype=torch.float32) is None
    assert chosen(varlen, tokens=PAGE_TOKENS // 2) is None
    assert chosen(varlen, replace(CONFIG, score_cap=50.0)) is None
    assert chosen(varlen, replace(CONFIG, head_width=12)) is None


@pytest.mark.parametrize("window", [None, 3, 50])
@pytest.mark.parametrize("seed", range(8))
def test_a_flash_kernel_reads_the_same_blocks_as_the_plain_one(seed: int, window: int | None) -> None:
    torch.manual_seed(seed)
    sequences = make(random.Random(seed))
    batch = PagedBatch([t.rows for t in sequences], [t.start for t in sequences], [t.table for t in sequences], 4)
    rows = batch.offsets[-1]
    query = torch.randn(rows, HEADS, SIZE)
    key, value = torch.randn(2, rows, KV_HEADS, SIZE).unbind()
    outs, caches = [], []
    for kind in (PagedAttention, None):
        cache: KvCache = cache_with(sequences)
        scoring = Scoring(0.3)
        if kind is None:
            attend: Any = FlashPagedAttention(Places.of(batch, CPU), cache, scoring, Kernel(varlen, True))
        else:
            attend = kind(batch, CPU, cache, scoring)
        outs.append(attend(query, key, value, layer=1, window=window, bias=None))
        caches.append(cache)
    assert torch.allclose(outs[0], outs[1], atol=1e-5)
    assert torch.equal(caches[0].layer(1)[0], caches[1].layer(1)[0])


def test_it_knows_no_soft_cap() -> None:
    batch = PagedBatch([1], [0], [[0]], 4)
    with pytest.raises(ValueError, match="soft cap"):
        FlashPagedAttention(Places.of(batch, CPU), cache_with([]), Scoring(1.0, 5.0), Kernel(varlen, True))
