"""Attention through block tables against the formula, one sequence at a time."""

import os
import random
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from loquor_worker.models.config import ModelConfig
from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.paged_attention import PagedAttention
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.scoring import Scoring

HEADS, KV_HEADS, SIZE, BLOCK, BLOCKS, LAYERS = 6, 2, 8, 4, 64, 2
CPU = torch.device("cpu")


@dataclass
class Told:
    """One sequence: all its keys and values in both layers, of which the first `start` are in the cache already."""

    start: int
    rows: int
    table: list[int]
    keys: Tensor
    values: Tensor


def formula(query: Tensor, key: Tensor, value: Tensor, start: int, window: int | None, scoring: Scoring) -> Tensor:
    key, value = (x.repeat_interleave(HEADS // KV_HEADS, 1) for x in (key, value))
    scores = torch.einsum("nhd,shd->hns", query, key) * scoring.scale
    if scoring.soft_cap is not None:
        scores = torch.tanh(scores / scoring.soft_cap) * scoring.soft_cap
    rows = torch.arange(start, start + len(query)).unsqueeze(1)
    columns = torch.arange(len(key))
    seen = (columns <= rows) & (columns >= rows - (len(key) if window is None else window))
    return torch.einsum("hns,shd->nhd", scores.masked_fill(~seen, float("-inf")).softmax(-1), value)


def cache_with(sequences: list[Told]) -> KvCache:
    config = cast(ModelConfig, SimpleNamespace(layers=LAYERS, kv_heads=KV_HEADS, head_size=SIZE))
    cache = KvCache(config, BLOCKS, BLOCK, CPU, torch.float32)
    for told in sequences:
        slots = [told.table[place // BLOCK] * BLOCK + place % BLOCK for place in range(told.start)]
        for layer in range(LAYERS):
            places = torch.tensor(slots, dtype=torch.int64)
            cache.store(layer, places, told.keys[layer, : told.start], told.values[layer, : told.start])
    return cache


def make(dice: random.Random) -> list[Told]:
    """A few sequences: prompts, chunks and single rows, with blocks side by side or all over."""
    free = list(range(BLOCKS))
    if dice.random() < 0.6:
        dice.shuffle(free)
    sequences = []
    for _ in range(dice.randint(1, 6)):
        start, rows = (
            dice.choice([0, dice.randint(1, 20), dice.randint(1, 20)]),
            dice.choice([1, 1, dice.randint(2, 9)]),
        )
        blocks = -(-(start + rows) // BLOCK) + dice.randint(0, 1)
        keys, values = torch.randn(2, LAYERS, start + rows, KV_HEADS, SIZE).unbind()
        sequences.append(Told(start, rows, [free.pop(0) for _ in range(blocks)], keys, values))
    return sequences


@pytest.mark.parametrize("scoring", [Scoring(0.3), Scoring(1.0, soft_cap=5.0)])
@pytest.mark.parametrize("window", [None, 3, 50])
@pytest.mark.parametrize("seed", range(20))
def test_every_row_sees_its_own_sequence_up_to_itself(seed: int, window: int | None, scoring: Scoring) -> None:
    torch.manual_seed(seed)
    sequences = make(random.Random(seed))
    cache = cache_with(sequences)
    batch = PagedBatch([t.rows for t in sequences], [t.start for t in sequences], [t.table for t in sequences], BLOCK)
    attend = PagedAttention(batch, CPU, cache, scoring)
    for layer in range(LAYERS):
        query = torch.randn(sum(batch.lengths), HEADS, SIZE)
        key = torch.cat([told.keys[layer, told.start :] for told in sequences])
        value = torch.cat([told.values[layer, told.start :] for told in sequences])
        out = attend(query, key, value, layer=layer, window=window, bias=None)
        queries = torch.split(query, [told.rows for told in sequences])
        wanted = [
            formula(q, told.keys[layer], told.values[layer], told.start, window, scoring)
            for q, told in zip(queries, sequences, strict=True)
        ]
        assert torch.allclose(out, torch.cat(wanted), atol=1e-5)


def test_what_lies_in_other_blocks_changes_nothing() -> None:
    torch.manual_seed(0)
    sequences = make(random.Random(5))
    batch = PagedBatch([t.rows for t in sequences], [t.start for t in sequences], [t.table for t in sequences], BLOCK)
    query = torch.randn(sum(batch.lengths), HEADS, SIZE)
    key, value = torch.randn(2, sum(batch.lengths), KV_HEADS, SIZE).unbind()
    outs: list[Any] = []
    for noise in (0.0, 1e30):
        cache = cache_with(sequences)
        mine = {block for told in sequences for block in told.table}
        for block in set(range(BLOCKS)) - mine:
            cache.layer(0)[0][block * BLOCK : (block + 1) * BLOCK] = noise
        outs.append(PagedAttention(batch, CPU, cache, Scoring(0.3))(query, key, value, layer=0, window=None, bias=None))
    assert torch.equal(*outs)


def test_slots_and_positions_follow_the_table() -> None:
    batch = PagedBatch([1, 3, 2], [5, 2, 0], [[7, 3], [2, 9], [4]], BLOCK)
    assert batch.offsets == (0, 1, 4, 6)
    assert batch.totals == (6, 5, 2)
    assert batch.positions().tolist() == [5, 2, 3, 4, 0, 1]
    assert batch.slots().tolist() == [13, 10, 11, 36, 16, 17]
    assert batch.blocks_of(2) == [4]
    assert replace(batch, tables=[[7, 3, 8], [2, 9], [4]]).blocks_of(0) == [7, 3]


def test_a_cache_takes_memory_as_it_is_written_to() -> None:
    config = cast(ModelConfig, SimpleNamespace(layers=2, kv_heads=4, head_size=64))
    before = resident_bytes()
    cache = KvCache(config, 10_000, 16, CPU, torch.bfloat16)
    assert cache.layer(1)[0].nbytes * 4 > 300_000_000
    assert resident_bytes() - before < 50_000_000
    assert not cache.layer(0)[1][:64].any()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
