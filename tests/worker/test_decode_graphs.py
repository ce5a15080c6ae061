"""Recorded steps against steps as they are, with a recorder that does the work again on the same buffers."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch

from loquor_worker.models.assembly import Assembly
from loquor_worker.models.decode_graphs import Recording
from loquor_worker.models.flash_paged_attention import Kernel
from loquor_worker.models.kernels import scoring_of
from loquor_worker.models.kv_cache import KvCache
from loquor_worker.models.language_model import CachedAttention, LanguageModel
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.models.paged_kernels import PagedKernel
from tests.worker.decoder_folder import VOCABULARY, save_decoder
from tests.worker.paged_reference import varlen

CPU = torch.device("cpu")
BLOCK, BLOCKS, SEQUENCES, TOKENS = 4, 40, 12, 24


class Again:
    """What a graph is on a GPU: the same work on the same buffers."""

    recorded = 0

    def __init__(self, work: Callable[[], None]) -> None:
        Again.recorded += 1
        self._work = work
        work()

    def replay(self) -> None:
        self._work()


def model_of(folder: Path, *, flash: bool) -> LanguageModel:
    assembly = Assembly(folder, CPU, torch.float32)
    kernel = PagedKernel(scoring_of(assembly.config))
    attention = CachedAttention(replace(kernel, flash=Kernel(varlen, True)) if flash else kernel)
    transformer, head = assembly.language_model(attention)
    attention.cache = KvCache(assembly.config, BLOCKS, BLOCK, CPU, torch.float32)
    return LanguageModel(transformer, head, attention)


@pytest.fixture
def models(tmp_path: Path) -> tuple[LanguageModel, LanguageModel]:
    """One that records, and a plain one."""
    save_decoder(tmp_path)
    recording = model_of(tmp_path, flash=True)
    recording.record_steps(Again, SEQUENCES, TOKENS)
    Again.recorded = 0
    return recording, model_of(tmp_path, flash=False)


@torch.inference_mode()
def test_sequences_come_and_go_and_grow(models: tuple[LanguageModel, LanguageModel]) -> None:
    recording, plain = models
    dice = random.Random(4)
    free = list(range(BLOCKS))
    dice.shuffle(free)
    running: list[tuple[list[int], list[int]]] = []  # tokens in the cache, blocks
    for _ in range(60):
        if len(running) < 6 and dice.random() < 0.5 and len(free) > 20:
            running.append(([], []))
        step = [one for one in running if len(one[0]) < TOKENS]
        if not step:
            running.clear()
            free = list(range(BLOCKS))
            continue
        for tokens, table in step:
            if len(tokens) == len(table) * BLOCK:
                table.append(free.pop())
        ids = np.array([dice.randrange(VOCABULARY) for _ in step], dtype=np.int64)
        batch = PagedBatch([1] * len(step), [len(tokens) for tokens, _ in step], [table for _, table in step], BLOCK)
        rows = np.arange(len(step))
        assert recording.graphs is not None
        assert recording.graphs.takes(batch)
        assert torch.allclose(recording.logits(ids, batch, rows), plain.logits(ids, batch, rows), atol=1e-4)
        for id, (tokens, _) in zip(ids, step, strict=True):
            tokens.append(int(id))
        if running and dice.random() < 0.2:
            free += running.pop(dice.randrange(len(running)))[1]
    assert 2 <= Again.recorded <= 4  # 1, 2, 4 and 8 rows, each once


@torch.inference_mode()
def test_other_steps_are_run_as_they_are(models: tuple[LanguageModel, LanguageModel]) -> None:
    recording, plain = models
    batch = PagedBatch([5, 1], [0, 0], [[0, 1], [2]], BLOCK)
    ids = np.arange(6)
    recorded, wanted = (model.logits(ids, batch, np.array([4, 5])) for model in (recording, plain))
    assert torch.allclose(recorded, wanted, atol=1e-4)
    too_long = PagedBatch([1], [TOKENS], [list(range(7))], BLOCK)
    assert recording.graphs is not None
    assert not recording.graphs.takes(too_long)
    assert not recording.graphs.takes(batch)
    assert Again.recorded == 0


@torch.inference_mode()
def test_a_recording_that_fails_turns_them_off(models: tuple[LanguageModel, LanguageModel]) -> None:
    recording, plain = models

    def fails(_: Callable[[], None]) -> Recording:
        raise RuntimeError("the driver cannot capture")

    recording.record_steps(fails, SEQUENCES, TOKENS)
    batch = PagedBatch([1], [0], [[3]], BLOCK)
    with structlog.testing.capture_logs() as logs:
        logits = recording.logits(np.array([5]), batch, np.array([0]))
    assert torch.allclose(logits, plain.logits(np.array([5]), batch, np.array([0])), atol=1e-4)
    assert [event["event"] for event in logs] == ["decode steps are not recorded"]
    assert recording.graphs is not None
    assert not recording.graphs.is_on
