"""The engine of models that write text: chunks of many sequences in one pass, then one pick for each that is due.

It knows tokens and tensors. Which sequence runs when is the scheduler's; how a token is picked, the sampler's.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt
import torch

from loquor.internal.v1.replica_service_pb2 import Submission, WorkerHello
from loquor.v1.model_service_pb2 import TASK_GENERATE
from loquor_worker.engines.device import device_errors
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.params import SamplingParams
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Failed, FailureKind, Outcome, Produced
from loquor_worker.generation_submission import sequence_of
from loquor_worker.models.language_model import LanguageModel
from loquor_worker.models.paged_batch import PagedBatch
from loquor_worker.sampling.sampler import Pick, Row, Sampler
from loquor_worker.sequence import Sender

WARM_LENGTHS = (64, 8, 1)


class GeneratorEngine:
    """One language model, its KV cache and its sampler."""

    def __init__(self, model: LanguageModel, sampler: Sampler, limits: Limits, dtype: str) -> None:
        self.limits = limits
        self._model = model
        self._sampler = sampler
        self._dtype = dtype

    @property
    def hello(self) -> WorkerHello:
        return WorkerHello(
            task=TASK_GENERATE,
            device=str(self._model.device),
            dtype=self._dtype,
            threads=torch.get_num_threads(),
            sequence_tokens=self.limits.sequence_tokens,
            batch_tokens=self.limits.step_tokens,
            vocabulary_size=self._model.config.vocabulary_size,
            kv_blocks=self._model.cache.blocks,
            kv_block_tokens=self._model.cache.block_tokens,
        )

    def admit(self, sender: Sender, submission: Submission, at: float) -> GenerationSequence:
        sequence = sequence_of(
            sender,
            submission,
            at,
            vocabulary_size=self._model.config.vocabulary_size,
            sequence_tokens=self.limits.sequence_tokens,
        )
        self._sampler.admit(sequence)
        return sequence

    def release(self, sequence: GenerationSequence) -> None:
        self._sampler.release(sequence)

    def warm(self) -> None:
        """A prompt and the steps after it, in blocks that nobody has yet."""
        params = SamplingParams(max_tokens=1)
        blocks = list(range(min(self._model.cache.blocks, -(-max(WARM_LENGTHS) // self._model.cache.block_tokens))))
        for length in WARM_LENGTHS:
            length = min(length, len(blocks) * self._model.cache.block_tokens)
            sequence = GenerationSequence(None, 0, length, [0] * length, params, blocks=blocks)
            self.step([Chunk(sequence, 0, sequence.tokens)])
            self.release(sequence)

    def step(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        order = sorted(range(len(chunks)), key=lambda place: _rank(chunks[place]))
        with device_errors():
            outcomes = self._run([chunks[place] for place in order])
        restored = dict(zip(order, outcomes, strict=True))
        return [restored[place] for place in range(len(chunks))]

    @torch.inference_mode()
    def _run(self, chunks: list[Chunk]) -> list[Outcome]:
        batch = PagedBatch(
            [len(chunk.tokens) for chunk in chunks],
            [chunk.start for chunk in chunks],
            [chunk.sequence.blocks for chunk in chunks],
            self._model.cache.block_tokens,
        )
        ids = np.concatenate([np.asarray(chunk.tokens, dtype=np.int64) for chunk in chunks])
        rows = [row for chunk in chunks for row in _rows(chunk)]
        logits = self._model.logits(ids, batch, _sampled(chunks, batch))
        return list(_produced(chunks, iter(self._sampler.sample(logits, rows) if rows else ())))


def _rank(chunk: Chunk) -> tuple[bool, int]:
    """Single rows first, by how much they see, so that those alike can share a call."""
    return len(chunk.tokens) > 1, chunk.start


def _sampled(chunks: Sequence[Chunk], batch: PagedBatch) -> npt.NDArray[np.int64]:
    """The rows of the step after which a token is picked."""
    ends = zip(chunks, batch.offsets[1:], strict=True)
    return np.array([row for chunk, end in ends for row in range(end - _picks(chunk), end)], dtype=np.int64)


def _picks(chunk: Chunk) -> int:
    return chunk.drafts + 1 if chunk.samples else 0


def _rows(chunk: Chunk) -> Iterator[Row]:
    """What is known at each pick: all guesses before it are taken for right."""
    guesses = chunk.tokens[len(chunk.tokens) - chunk.drafts :]
    return (Row(chunk.sequence, guesses[:place]) for place in range(_picks(chunk)))


def _produced(chunks: Sequence[Chunk], picks: Iterator[Pick]) -> Iterator[Outcome]:
    for chunk in chunks:
        yield _right(chunk, list(islice(picks, _picks(chunk))))


def _right(chunk: Chunk, picks: list[Pick]) -> Outcome:
    """The picks up to the first that is not what was guessed, that one included."""
    guesses = chunk.tokens[len(chunk.tokens) - chunk.drafts :]
    kept: list[Pick] = []
    for place, pick in enumerate(picks):
        if pick.failure is not None:
            return Failed(FailureKind.INVALID, f"sampling: the structure cannot be followed: {pick.failure}")
        kept.append(pick)
        if pick.complete or [pick.id] != guesses[place : place + 1]:
            break
    logprobs = [pick.logprob for pick in kept if pick.logprob is not None]
    return Produced([pick.id for pick in kept], logprobs, complete=bool(kept) and kept[-1].complete)
