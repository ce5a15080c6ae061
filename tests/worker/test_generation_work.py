"""The worker's loop with sequences that are written on, by an engine whose next token follows from those before."""

import random
from collections import defaultdict
from collections.abc import Sequence

import pytest

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as api
from loquor_worker.engines import DeviceFailed, OutOfMemory
from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import Chunk, Outcome, Produced, TokenLogprob
from loquor_worker.generation_submission import sequence_of
from loquor_worker.generation_work import GenerationWork
from loquor_worker.inbox import Arrived, Cancelled, Gone, Inbox, Message, Stop
from loquor_worker.sequence import Sender
from loquor_worker.worker import Progress, Worker

VOCABULARY, CONTEXT, END = 50, 64, 49
FATAL, FAILING, LARGE, LONG, HUGE = 41, 42, 43, 44, 45


def follow(tokens: Sequence[int]) -> int:
    return sum(place * id for place, id in enumerate(tokens, 1)) % 40


def written(prompt: list[int], count: int) -> list[int]:
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(follow(tokens))
    return tokens[len(prompt) :]


class Front:
    """A sender, and what was sent to it."""

    def __init__(self) -> None:
        self.steps: list[wire.StepResults] = []
        self.ids: dict[int, list[int]] = defaultdict(list)
        self.endings: dict[int, str] = {}

    def take(self, step: wire.StepResults) -> None:
        self.steps.append(step)
        for result in step.results:
            assert result.id not in self.endings
            self.ids[result.id] += result.tokens.ids
            if result.HasField("failure"):
                self.endings[result.id] = wire.FailureKind.Name(result.failure.kind).removeprefix("FAILURE_KIND_")
            elif result.tokens.finish:
                self.endings[result.id] = api.FinishReason.Name(result.tokens.finish).removeprefix("FINISH_REASON_")


class Engine:
    """Some tokens in a prompt make it fail."""

    hello = wire.WorkerHello()

    def __init__(self) -> None:
        self.released: list[int] = []
        self.most = 0

    def warm(self) -> None: ...

    def admit(self, sender: Sender, submission: wire.Submission, at: float) -> GenerationSequence:
        return sequence_of(sender, submission, at, vocabulary_size=VOCABULARY, sequence_tokens=CONTEXT)

    def release(self, sequence: GenerationSequence) -> None:
        self.released.append(sequence.id)

    def step(self, chunks: Sequence[Chunk]) -> list[Outcome]:
        known = {id for chunk in chunks for id in chunk.sequence.tokens}
        if FATAL in known:
            raise DeviceFailed
        if FAILING in known:
            raise ValueError("the engine fails on this step")
        if LARGE in known and len(chunks) > 1:
            raise OutOfMemory
        if LONG in known and any(len(chunk.tokens) > 3 for chunk in chunks):
            raise OutOfMemory
        if HUGE in known:
            raise OutOfMemory
        self.most = max(self.most, len(chunks))
        return [self._produce(chunk) for chunk in chunks]

    def _produce(self, chunk: Chunk) -> Outcome:
        if not chunk.samples:
            return Produced([], [])
        wants = chunk.sequence.params.logprobs is not None
        return Produced([follow(chunk.sequence.tokens)], [TokenLogprob(-0.5, [1], [-0.5])] if wants else [])


class Outbox:
    def send(self, sender: object, results: wire.StepResults) -> None:
        assert isinstance(sender, Front)
        sender.take(results)


def submission(id: int, prompt: list[int], tokens: int = 5, logprobs: int | None = None) -> wire.Submission:
    params = wire.Sampling(max_tokens=tokens, top_p=1.0, repetition_penalty=1.0, logprobs=logprobs)
    return wire.Submission(id=id, generation=wire.GenerationInput(prompt_ids=prompt, sampling=params))


def run(*messages: Message, blocks: int = 64) -> Engine:
    """Until all that these messages ask for is done."""
    inbox, engine, pool = Inbox(), Engine(), BlockPool(blocks, 4)
    limits = Limits(16, 8, CONTEXT)
    scheduler = GenerationScheduler(pool, limits, frozenset({END}))
    for message in (*messages, Stop()):
        inbox.put(message)
    work = GenerationWork(engine, scheduler, pool, limits)
    assert work.room == wire.Room(submissions=16, tokens=2 * 4 * blocks)
    Worker(work, inbox, Outbox(), Progress()).run()
    assert (len(work), pool.used) == (0, 0)
    work.rest()
    return engine


def test_each_sequence_is_written_to_its_end() -> None:
    front, dice = Front(), random.Random(1)
    prompts = {id: [dice.randrange(40) for _ in range(dice.randint(1, 30))] for id in range(1, 31)}
    engine = run(Arrived(front, [submission(id, prompt, 3 + id % 9) for id, prompt in prompts.items()], 0.0))
    assert {id: front.ids[id] for id in prompts} == {id: written(p, 3 + id % 9) for id, p in prompts.items()}
    assert set(front.endings.values()) == {"LENGTH"}
    assert sorted(engine.released) == sorted(prompts)
    assert engine.most == 8


def test_a_step_says_what_the_engine_has_taken_on() -> None:
    front = Front()
    run(Arrived(front, [submission(id, [id] * 6) for id in range(1, 13)], 0.0))
    assert max(step.load.running_sequences for step in front.steps) == 8
    assert front.steps[0].load.waiting_sequences > 0
    assert front.steps[-1].load == wire.Load()
    assert max(step.load.kv_blocks_used for step in front.steps) >= 16


def test_a_cached_prompt_and_logprobs_are_reported() -> None:
    front = Front()
    run(Arrived(front, [submission(1, [7] * 13, logprobs=1)], 0.0), Arrived(front, [submission(2, [7] * 13)], 1.0))
    tokens = [result.tokens for step in front.steps for result in step.results if result.id == 2]
    assert tokens[0].cached_prompt_tokens == 12
    assert [t.cached_prompt_tokens for t in tokens[1:]] == [0] * 4
    first = next(result.tokens for step in front.steps for result in step.results if result.id == 1)
    assert (first.logprobs[0].logprob, list(first.logprobs[0].ids)) == (-0.5, [1])


@pytest.mark.parametrize(
    ("word", "ending"), [(FAILING, "ENGINE"), (LARGE, "LENGTH"), (LONG, "LENGTH"), (HUGE, "OUT_OF_MEMORY")]
)
def test_one_that_fails_fails_alone(word: int, ending: str) -> None:
    front = Front()
    prompts = {id: [id] for id in range(1, 8)} | {9: [word] * 9}
    run(Arrived(front, [submission(id, prompt) for id, prompt in prompts.items()], 0.0))
    assert front.endings.pop(9) == ending
    assert front.endings == dict.fromkeys(range(1, 8), "LENGTH")
    assert {id: front.ids[id] for id in range(1, 8)} == {id: written([id], 5) for id in range(1, 8)}


def test_a_device_beyond_use_ends_the_loop() -> None:
    with pytest.raises(DeviceFailed):
        run(Arrived(Front(), [submission(1, [FATAL])], 0.0))


def test_what_is_refused_or_cancelled_gets_one_ending_and_what_is_left_behind_none() -> None:
    here, gone = Front(), Front()
    engine = run(
        Arrived(here, [submission(1, [1]), submission(2, [VOCABULARY]), submission(3, [3])], 0.0),
        Arrived(gone, [submission(1, [1])], 0.0),
        Cancelled(here, [3, 77]),
        Gone(gone),
    )
    assert here.endings == {1: "LENGTH", 2: "INVALID", 3: "CANCELLED"}
    assert gone.steps == []
    assert sorted(engine.released) == [1, 1, 3]


def test_a_pool_too_small_for_all_makes_some_wait() -> None:
    front = Front()
    prompts = {id: [id, *range(10)] for id in range(1, 7)}
    run(Arrived(front, [submission(id, prompt, 20) for id, prompt in prompts.items()], 0.0), blocks=16)
    assert {id: front.ids[id] for id in prompts} == {id: written(prompt, 20) for id, prompt in prompts.items()}
