"""A worker whose engine is no model, yet writes: the next token follows from all tokens before it, by a rule.

It is put together of the worker's own parts, scheduler and pool of blocks among them.
"""

import sys
import time
from collections.abc import Sequence

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1.model_service_pb2 import TASK_GENERATE
from loquor_worker.__main__ import serve
from loquor_worker.config import WorkerConfig
from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Outcome, Produced, TokenLogprob
from loquor_worker.generation_submission import sequence_of
from loquor_worker.generation_work import GenerationWork
from loquor_worker.loading import Loaded
from loquor_worker.sequence import Sender

# Of the vocabulary of `minilm`, in which the words that are whole begin here.
FIRST_WORD, WORDS, VOCABULARY = 2000, 1000, 30522
LOGPROB, SECONDS_PER_STEP = -0.5, 0.002
LIMITS = Limits(step_tokens=256, running_sequences=16, sequence_tokens=256)
BLOCKS, BLOCK_TOKENS = 256, 16


class WritingEngine:
    hello = wire.WorkerHello(
        task=TASK_GENERATE,
        device="cpu",
        dtype="float32",
        sequence_tokens=LIMITS.sequence_tokens,
        batch_tokens=LIMITS.step_tokens,
        vocabulary_size=VOCABULARY,
        kv_blocks=BLOCKS,
        kv_block_tokens=BLOCK_TOKENS,
    )

    def warm(self) -> None: ...

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> GenerationSequence:
        return sequence_of(sender, submission, at, vocabulary_size=VOCABULARY, sequence_tokens=LIMITS.sequence_tokens)

    def release(self, sequence: GenerationSequence) -> None: ...

    def step(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        time.sleep(SECONDS_PER_STEP)
        return [self._produced(chunk) for chunk in chunks]

    def _produced(self, chunk: Chunk) -> Produced:
        if not chunk.samples:
            return Produced([], [])
        id, count = next_token(chunk.sequence.tokens), chunk.sequence.params.logprobs
        if count is None:
            return Produced([id], [])
        likely = [id, *range(FIRST_WORD, FIRST_WORD + count)][:count]
        return Produced([id], [TokenLogprob(LOGPROB, likely, [LOGPROB - place for place in range(count)])])


def next_token(tokens: Sequence[int]) -> int:
    return FIRST_WORD + sum(place * id for place, id in enumerate(tokens, 1)) % WORDS


def load(_config: WorkerConfig) -> Loaded:
    engine, pool = WritingEngine(), BlockPool(BLOCKS, BLOCK_TOKENS)
    work = GenerationWork(engine, GenerationScheduler(pool, LIMITS, frozenset()), pool, LIMITS)
    return Loaded(work, engine.hello, work.room)


if __name__ == "__main__":
    sys.exit(serve(load))
