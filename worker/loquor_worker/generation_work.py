"""Submissions that are written on for many steps: each joins and leaves at any step.

It ties the scheduler, which knows no message, to the engine, which knows no scheduler.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as api
from loquor_worker.engines import OutOfMemory
from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.progress import FinishReason, Progress
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Failed, FailureKind, Outcome, TokenLogprob
from loquor_worker.sequence import Sender
from loquor_worker.work import Told

_FINISHES = {
    FinishReason.STOP: api.FINISH_REASON_STOP,
    FinishReason.LENGTH: api.FINISH_REASON_LENGTH,
    None: api.FINISH_REASON_UNSPECIFIED,
}
_FAILURES = {
    FailureKind.ENGINE: wire.FAILURE_KIND_ENGINE,
    FailureKind.INVALID: wire.FAILURE_KIND_INVALID,
    FailureKind.OUT_OF_MEMORY: wire.FAILURE_KIND_OUT_OF_MEMORY,
}


class GeneratorEngine(Protocol):
    """An engine that writes sequences on."""

    @property
    def hello(self) -> wire.WorkerHello: ...

    def warm(self) -> None: ...

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> GenerationSequence:
        """Check a submission and make its sequence. Raises `InvalidSubmission`."""
        ...

    def step(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        """Run chunks, each of its own sequence; the outcome of each, in order.

        A `Failed` is that sequence's alone. Raises as `Engine.step`; then nothing counts, and any of the chunks may
        be run again.
        """
        ...

    def release(self, sequence: GenerationSequence) -> None:
        """Let go of what is kept for a sequence that has ended."""
        ...


class GenerationWork:
    """A `Work` of one engine and its scheduler, which has the same limits and the pool of the engine's blocks."""

    def __init__(
        self, engine: GeneratorEngine, scheduler: GenerationScheduler, pool: BlockPool, limits: Limits
    ) -> None:
        self._engine = engine
        self._scheduler = scheduler
        self._pool = pool
        self._limits = limits
        self._shrunk = False

    @property
    def hello(self) -> wire.WorkerHello:
        return self._engine.hello

    @property
    def room(self) -> wire.Room:
        """As many again as run side by side, so that one that ends leaves no gap; each counts all it may write."""
        return wire.Room(
            submissions=2 * self._limits.running_sequences, tokens=2 * self._pool.blocks * self._pool.block_tokens
        )

    def warm(self) -> None:
        self._engine.warm()

    def __len__(self) -> int:
        return len(self._scheduler)

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> None:
        self._scheduler.add(self._engine.admit(sender, submission, at))

    def cancel(self, sender: Sender, id: int) -> bool:
        sequence = self._scheduler.cancel(sender, id)
        if sequence is not None:
            self._engine.release(sequence)
        return sequence is not None

    def forget(self, sender: Sender) -> None:
        for sequence in self._scheduler.forget(sender):
            self._engine.release(sequence)

    def delay_seconds(self, now: float) -> float:
        """A step never waits: who comes later joins the next one."""
        return 0.0

    def schedule(self, now: float) -> Sequence[Chunk]:
        self._shrunk = False
        return self._scheduler.schedule(now)

    def run(self, items: Sequence[Chunk]) -> Sequence[Outcome]:
        try:
            return self._engine.step(items)
        except OutOfMemory:
            self._shrunk = self._scheduler.shrink()
            raise

    def commit(self, items: Sequence[Chunk], outputs: Sequence[Outcome | wire.Failure], started: float) -> list[Told]:
        """What there was no memory for comes again in smaller parts, as long as it has parts."""
        ran = [
            (chunk, _outcome(output))
            for chunk, output in zip(items, outputs, strict=True)
            if not (self._shrunk and len(chunk.tokens) > 1 and _is_for_memory(output))
        ]
        told = []
        for progress in self._scheduler.commit([chunk for chunk, _ in ran], [outcome for _, outcome in ran]):
            told.append(Told(progress.sequence.sender, _result(progress)))
            if progress.is_last:
                self._engine.release(progress.sequence)
        return told

    def size(self, items: Sequence[Chunk]) -> tuple[int, int]:
        return len(items), sum(len(chunk.tokens) for chunk in items)

    def load(self) -> wire.Load:
        return wire.Load(
            running_sequences=self._scheduler.running,
            waiting_sequences=self._scheduler.waiting,
            kv_blocks_used=self._pool.used,
        )

    def rest(self) -> None:
        self._scheduler.check_integrity()


def _result(progress: Progress) -> wire.Result:
    sequence = progress.sequence
    wait_seconds = (sequence.started_at or sequence.arrived_at) - sequence.arrived_at
    result = wire.Result(id=sequence.id, wait_seconds=wait_seconds)
    if progress.failed is not None:
        failed = progress.failed
        message = failed.message if failed.kind is FailureKind.INVALID else ""
        result.failure.CopyFrom(wire.Failure(kind=_FAILURES[failed.kind], message=message))
    else:
        result.tokens.CopyFrom(_tokens(progress))
    return result


def _is_for_memory(output: Outcome | wire.Failure) -> bool:
    return isinstance(output, wire.Failure) and output.kind == wire.FAILURE_KIND_OUT_OF_MEMORY


def _outcome(output: Outcome | wire.Failure) -> Outcome:
    """As the scheduler knows it; the loop's own failures are one of two kinds."""
    if not isinstance(output, wire.Failure):
        return output
    return Failed(FailureKind.OUT_OF_MEMORY if _is_for_memory(output) else FailureKind.ENGINE)


def _tokens(progress: Progress) -> wire.Tokens:
    return wire.Tokens(
        ids=progress.new_ids,
        logprobs=_logprobs(progress.logprobs),
        finish=_FINISHES[progress.finish],
        cached_prompt_tokens=progress.cached_prompt_tokens,
        draft_tokens=progress.draft_tokens,
        accepted_draft_tokens=progress.accepted_draft_tokens,
        preemptions=progress.preemptions,
    )


def _logprobs(logprobs: Iterable[TokenLogprob]) -> list[wire.TokenLogprob]:
    return [wire.TokenLogprob(logprob=one.logprob, ids=one.ids, logprobs=one.logprobs) for one in logprobs]
