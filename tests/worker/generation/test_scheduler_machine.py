"""Whatever comes in whatever order: each sequence has one ending and its own text, and every block returns."""

import itertools
from collections.abc import Hashable
from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from loquor_worker.generation.block_pool import BlockPool
from loquor_worker.generation.draft import PromptLookup
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.params import SamplingParams
from loquor_worker.generation.progress import FinishReason, Progress
from loquor_worker.generation.scheduler import GenerationScheduler
from loquor_worker.generation.sequence import GenerationSequence, SequenceState
from loquor_worker.generation.step import Chunk, Failed, FailureKind, Outcome, Produced
from tests.worker.generation.fake_engine import END, FakeEngine, alone, looping_token, next_token

BLOCK_TOKENS = 4
SEQUENCE_TOKENS = 40
FRONTS = ("first front", "second front")


@dataclass(frozen=True)
class Ask:
    """A prompt that is `shared` tokens which others begin with, too, and `own` ones."""

    front: str
    shared: int
    own: list[int]
    salt: bytes
    priority: int
    max_tokens: int
    min_tokens: int
    stop: frozenset[int]
    ignore_eos: bool
    logprobs: int | None

    @property
    def prompt(self) -> list[int]:
        return [*range(20, 20 + self.shared), *self.own]


ASKS = st.builds(
    Ask,
    front=st.sampled_from(FRONTS),
    shared=st.sampled_from([1, 4, 8, 11, 20]),
    own=st.lists(st.integers(1, 2), max_size=4),
    salt=st.sampled_from([b"", b"", b"other"]),
    priority=st.integers(1, 9),
    max_tokens=st.integers(1, SEQUENCE_TOKENS - 24),
    min_tokens=st.integers(0, 6),
    stop=st.frozensets(st.integers(1, 11), max_size=1),
    ignore_eos=st.booleans(),
    logprobs=st.sampled_from([None, 0]),
)


class SchedulerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.ids = itertools.count()
        self.now = 0.0
        self.made: list[GenerationSequence] = []
        self.texts: dict[GenerationSequence, list[int]] = {}
        self.endings: dict[GenerationSequence, list[FinishReason | str]] = {}

    @initialize(
        blocks=st.integers(10, 15),
        step_tokens=st.sampled_from([1, 2, 3, 5, 8, 16, 40]),
        running=st.integers(1, 6),
        prefix_cache=st.booleans(),
        drafts=st.integers(0, 4),
        looping=st.booleans(),
    )
    def start(
        self, blocks: int, step_tokens: int, running: int, prefix_cache: bool, drafts: int, looping: bool
    ) -> None:
        self.pick = looping_token if looping else next_token
        self.pool = BlockPool(blocks, BLOCK_TOKENS, prefix_cache)
        self.limits = Limits(step_tokens, running, SEQUENCE_TOKENS)
        drafter = PromptLookup(2, 1, most_drafts=drafts) if drafts else None
        self.scheduler = GenerationScheduler(self.pool, self.limits, frozenset({END}), drafter)
        self.engine = FakeEngine(self.pool, self.pick)

    # --- what comes ---

    @rule(asks=st.lists(ASKS, min_size=1, max_size=6))
    def add(self, asks: list[Ask]) -> None:
        for ask in asks:
            self.add_one(ask)

    def add_one(self, ask: Ask) -> None:
        params = SamplingParams(
            ask.max_tokens,
            min_tokens=ask.min_tokens,
            stop_token_ids=ask.stop,
            ignore_eos=ask.ignore_eos,
            logprobs=ask.logprobs,
        )
        prompt = ask.prompt
        sequence = GenerationSequence(
            ask.front, next(self.ids), len(prompt), prompt.copy(), params, ask.priority, ask.salt, arrived_at=self.now
        )
        self.scheduler.add(sequence)
        self.made.append(sequence)
        self.texts[sequence] = []
        self.endings[sequence] = []

    @rule(asks=st.lists(ASKS, min_size=2, max_size=6))
    def add_and_step(self, asks: list[Ask]) -> None:
        self.add(asks)
        self.step(3)

    @rule(seconds=st.floats(0.0, 30.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.made)
    @rule(which=st.integers(0, 100), everything=st.booleans())
    def leave(self, which: int, everything: bool) -> None:
        """A caller, or seldom all of its front."""
        sequence = self.made[which % len(self.made)]
        if everything and which % 4 == 0:
            self.forget(sequence.sender)
        else:
            left = self.scheduler.cancel(sequence.sender, sequence.id)
            assert (left is sequence) == (not self.endings[sequence])
            self.endings[sequence] = self.endings[sequence] or ["cancelled"]

    def forget(self, front: Hashable) -> None:
        gone = self.scheduler.forget(front)
        assert set(gone) == {s for s, endings in self.endings.items() if s.sender == front and not endings}
        for sequence in gone:
            self.endings[sequence].append("forgotten")

    # --- steps ---

    @rule(steps=st.integers(1, 6))
    def step(self, steps: int) -> None:
        for _ in range(steps):
            chunks = self.schedule()
            self.take(self.scheduler.commit(chunks, self.engine.step(chunks)))

    @rule(which=st.integers(0, 20), failed=st.sampled_from([*map(Failed, FailureKind), None]))
    def fail_one(self, which: int, failed: Failed | None) -> None:
        """The engine says so, or says more than can be: that sequence fails, and nobody else."""
        chunks = self.schedule()
        outcomes: list[Outcome] = [*self.engine.step(chunks)]
        if chunks:
            which %= len(chunks)
            too_many = Produced([1] * (chunks[which].drafts + 2), []) if chunks[which].samples else Produced([], [])
            outcomes[which] = failed or too_many
        self.take(self.scheduler.commit(chunks, outcomes))

    @rule(kept=st.integers(0, 4))
    def run_out_of_memory(self, kept: int) -> None:
        """A part of the step came through; the loop takes blocks from one of the rest and tries less."""
        chunks = self.schedule()
        ran = chunks[:kept]
        outcomes = self.engine.step(ran)
        if len(chunks) > kept:
            self.scheduler.preempt(chunks[-1].sequence)
        self.take(self.scheduler.commit(ran, outcomes))
        assert self.scheduler.shrink() == (sum(len(chunk.tokens) for chunk in chunks) > 1)

    @rule()
    def preempt_before_the_commit(self) -> None:
        """What a chunk gave is dropped with the blocks it was written to."""
        chunks = self.schedule()
        outcomes = self.engine.step(chunks)
        if chunks:
            self.scheduler.preempt(chunks[0].sequence)
        self.take(self.scheduler.commit(chunks, outcomes))

    def schedule(self) -> list[Chunk]:
        self.now += 0.01
        chunks = self.scheduler.schedule(self.now)
        assert bool(chunks) == bool(len(self.scheduler))
        assert sum(len(chunk.tokens) for chunk in chunks) <= self.limits.step_tokens
        assert len({chunk.sequence for chunk in chunks}) == len(chunks) <= self.limits.running_sequences
        for chunk in chunks:
            assert chunk.sequence.state is SequenceState.RUNNING
            assert not self.endings[chunk.sequence]
        return chunks

    def take(self, progress: list[Progress]) -> None:
        for one in progress:
            text = self.texts[one.sequence]
            assert not self.endings[one.sequence]
            assert len(one.logprobs) == (len(one.new_ids) if one.sequence.params.logprobs is not None else 0)
            assert [p.logprob for p in one.logprobs] in ([], [-float(id) for id in one.new_ids])
            assert not (text and one.cached_prompt_tokens)
            assert one.accepted_draft_tokens <= min(one.draft_tokens, len(one.new_ids))
            text += one.new_ids
            if one.is_last:
                self.endings[one.sequence].append(one.finish or "failed")

    # --- what holds ---

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "scheduler"):
            self.scheduler.check_integrity()
            assert len(self.scheduler) == sum(not endings for endings in self.endings.values())
            self.parents_outlive_their_blocks()

    def parents_outlive_their_blocks(self) -> None:
        """Of the unused blocks of one chain, the deeper ones are given up first."""
        order = {block: place for place, block in enumerate(self.pool._cached)}
        for sequence in self.made:
            blocks = [self.pool._by_key.get(key) for key in sequence.keys]
            for parent, child in itertools.pairwise(blocks):
                if child in order:
                    assert parent is not None
                    assert parent not in order or order[parent] > order[child]

    @invariant()
    def texts_are_as_alone(self) -> None:
        for sequence, text in self.texts.items():
            assert sequence.tokens[sequence.prompt_tokens :] == text
            whole = self.alone(sequence)
            match self.endings[sequence]:
                case [FinishReason.STOP]:
                    assert text == whole
                    assert len(text) < sequence.params.max_tokens
                case [FinishReason.LENGTH]:
                    assert text == whole
                    assert len(text) == sequence.params.max_tokens
                case _:
                    assert text == whole[: len(text)]

    def alone(self, sequence: GenerationSequence) -> list[int]:
        params = sequence.params
        ends = params.stop_token_ids | (frozenset() if params.ignore_eos else {END})
        prompt = sequence.tokens[: sequence.prompt_tokens]
        return alone(prompt, params.max_tokens, self.pick, ends, params.min_tokens)

    def teardown(self) -> None:
        if not hasattr(self, "scheduler"):
            return
        bound = 20 + 4 * sum(len(s.tokens) + s.params.max_tokens for s, ends in self.endings.items() if not ends)
        for _ in range(bound):
            self.step(1)
        assert all(len(endings) == 1 for endings in self.endings.values())
        assert all(sequence.state is SequenceState.FINISHED for sequence in self.made)
        self.texts_are_as_alone()
        self.scheduler.check_integrity()
        assert (len(self.scheduler), self.pool.used, self.pool.free) == (0, 0, self.pool.blocks)


TestSchedulerMachine = SchedulerMachine.TestCase
TestSchedulerMachine.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
