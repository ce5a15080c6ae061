"""Which tokens of which sequences make the next step of the engine, and what becomes of a sequence after it.

It knows no engine, no socket and no clock but the times it is given. Between `schedule` and the `commit` of what it
gave, nothing else needs to be called but `preempt` and `shrink`; chunks of sequences that left meanwhile are ignored.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Container, Hashable, Sequence
from itertools import count

from loquor_worker.generation.block_pool import BlockPool, IntegrityError
from loquor_worker.generation.block_tables import BlockTables
from loquor_worker.generation.draft import Drafter
from loquor_worker.generation.limits import Limits
from loquor_worker.generation.progress import Progress, checked, write
from loquor_worker.generation.sequence import GenerationSequence, SequenceState
from loquor_worker.generation.step import Chunk, Failed, Outcome

# What one level of priority is worth, in seconds of waiting.
LEVEL_SECONDS = 10.0


class GenerationScheduler:
    """The sequences of one engine that have not ended.

    A step takes one token of each sequence that decodes, and guesses after it if there is a drafter; the rest of the
    budget goes to prompts, in chunks, first to those that run and then to those that wait, so nobody is admitted while
    there is none. Where the budget does not reach all that decode, having shrunk, they rotate; a quarter of it is kept
    for prompts that are under way.

    Turns go by `arrived_at + 10 s * priority`: of two that arrived together the one with the lower number is first,
    and nobody is overtaken by what arrives more than 80 s later, so none waits for ever. The first in turn gets the
    next free blocks, whatever others could do with less. One whose prompt is just being computed for another, half or
    more of it, waits for that and then finds it in the cache.

    Where a sequence that runs needs a block and none is free, the last in turn loses all of its own and waits again;
    its full blocks stay in the cache until they are needed. The first in turn always runs on, and alone it always
    fits, for `sequence_tokens` have to fit into the pool.
    """

    def __init__(
        self, pool: BlockPool, limits: Limits, end_ids: frozenset[int], drafter: Drafter | None = None
    ) -> None:
        if limits.sequence_tokens > (room := pool.blocks * pool.block_tokens):
            raise ValueError(f"a sequence of {limits.sequence_tokens} tokens does not fit into a pool of {room}")
        self._pool = pool
        self._tables = BlockTables(pool)
        self._limits = limits
        self._end_ids = end_ids
        self._drafter = drafter
        self._by_key: dict[tuple[Hashable, int], GenerationSequence] = {}
        self._waiting: list[GenerationSequence] = []  # by turn
        self._running: list[GenerationSequence] = []  # the least recently served first
        self._arrivals = count()
        self._budget = limits.step_tokens
        self._scheduled_tokens = 0

    def __len__(self) -> int:
        return len(self._by_key)

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    # --- come and go ---

    def add(self, sequence: GenerationSequence) -> None:
        """`ValueError` if it has no token, is longer than the limit, or if its sender has one of this id already."""
        self._check(sequence)
        sequence.turn = (sequence.arrived_at + LEVEL_SECONDS * sequence.priority, next(self._arrivals))
        self._by_key[sequence.key] = sequence
        insort(self._waiting, sequence, key=_turn)

    def cancel(self, sender: Hashable, id: int) -> GenerationSequence | None:
        """End a sequence, running or not; its blocks are free at once. None if there is none of that name."""
        sequence = self._by_key.get((sender, id))
        if sequence is not None:
            self._end(sequence)
        return sequence

    def forget(self, sender: Hashable) -> list[GenerationSequence]:
        """End all that a sender left behind."""
        left = [sequence for sequence in self._by_key.values() if sequence.sender == sender]
        for sequence in left:
            self._end(sequence)
        return left

    def preempt(self, sequence: GenerationSequence) -> None:
        """Take all blocks from a running sequence and let it wait again. What its chunk gave is lost."""
        sequence.move(SequenceState.WAITING)
        sequence.preemptions += 1
        self._running.remove(sequence)
        self._tables.close(sequence)
        insort(self._waiting, sequence, key=_turn)

    def shrink(self) -> bool:
        """Halve the next step: the device had no memory for the last one. False if that was a single token.

        The budget grows back, by a 64th of its limit with each step that is committed.
        """
        if self._scheduled_tokens <= 1:
            return False
        self._budget = self._scheduled_tokens // 2
        return True

    # --- schedule ---

    def schedule(self, now: float) -> list[Chunk]:
        """The next step; empty only if no sequence is there."""
        step = _Step(self._budget)
        self._decode(step)
        self._prefill(step)
        self._admit(step, now)
        self._scheduled_tokens = self._budget - step.left
        return list(step.chunks.values())

    def _decode(self, step: "_Step") -> None:
        decoding = [sequence for sequence in self._running if sequence.computed + 1 == len(sequence.tokens)]
        kept = max(1, step.left // 4) if len(decoding) < len(self._running) else 0
        reach = step.left - kept
        guesses = max(0, reach - len(decoding)) // 2 // max(1, len(decoding))
        for sequence in decoding:
            if len(step.chunks) == reach:
                self._rotate(step.chunks)
                break
            if sequence.state is SequenceState.RUNNING and self._make_room(sequence, step):
                step.add(self._decode_chunk(sequence, guesses))

    def _rotate(self, served: Container[GenerationSequence]) -> None:
        self._running.sort(key=served.__contains__)

    def _decode_chunk(self, sequence: GenerationSequence, guesses: int) -> Chunk:
        drafts = self._draft(sequence, guesses) if guesses and self._drafter else []
        return Chunk(sequence, sequence.computed, [sequence.tokens[-1], *drafts], len(drafts))

    def _draft(self, sequence: GenerationSequence, most: int) -> list[int]:
        """Guesses that the output has room for, in blocks that nobody else is about to need."""
        if sequence.guesser is None and self._drafter:
            sequence.guesser = self._drafter.follow(sequence.tokens)
        room = min(most, sequence.params.max_tokens - sequence.output_tokens - 1)
        drafts = sequence.guesser.propose(room) if sequence.guesser else []
        if self._pool.free > len(self._running):
            self._tables.grow(sequence, len(sequence.tokens) + len(drafts))
        return drafts[: len(sequence.blocks) * self._pool.block_tokens - len(sequence.tokens)]

    def _prefill(self, step: "_Step") -> None:
        for sequence in sorted((s for s in self._running if s.computed + 1 < len(s.tokens)), key=_turn):
            if step.left:
                step.add(_prompt_chunk(sequence, step.left))

    def _admit(self, step: "_Step", now: float) -> None:
        for sequence in self._waiting.copy():
            if not step.left or len(self._running) >= self._limits.running_sequences:
                break
            found = self._tables.find(sequence)
            if self._tables.is_coming(sequence, len(found)):
                continue
            if not self._fits(sequence, found):
                break
            self._start(sequence, found, now)
            step.add(_prompt_chunk(sequence, step.left))

    def _fits(self, sequence: GenerationSequence, found: list[int]) -> bool:
        """Room for all its tokens, and a block more for each that runs: it would soon lose its own to them again."""
        return self._pool.free >= self._tables.missing(sequence, found) + len(self._running)

    def _start(self, sequence: GenerationSequence, found: list[int], now: float) -> None:
        del self._waiting[self._place(sequence)]
        sequence.move(SequenceState.RUNNING)
        self._running.append(sequence)
        self._tables.open(sequence, found)
        if sequence.started_at is None:
            sequence.started_at = now
            sequence.cached_prompt_tokens = sequence.computed

    def _make_room(self, sequence: GenerationSequence, step: "_Step") -> bool:
        """Room for its next token, at the cost of the last in turn if need be. False if that is itself."""
        while not self._tables.grow(sequence, sequence.computed + 1):
            victim = max(self._running, key=_turn)
            step.drop(victim)
            self.preempt(victim)
            if victim is sequence:
                return False
        return True

    # --- commit ---

    def commit(self, chunks: Sequence[Chunk], outcomes: Sequence[Outcome]) -> list[Progress]:
        """Take in what chunks of the last step gave, in their order; those not given here are scheduled again.

        One progress for each sequence that had a token picked or failed.
        """
        progress = []
        for chunk, outcome in zip(chunks, outcomes, strict=True):
            if chunk.sequence.state is SequenceState.RUNNING and chunk.sequence.computed == chunk.start:
                made = self._take(chunk, checked(chunk, outcome))
                if made is not None:
                    progress.append(made)
        self._budget = min(self._limits.step_tokens, self._budget + -(-self._limits.step_tokens // 64))
        return progress

    def _take(self, chunk: Chunk, outcome: Outcome) -> Progress | None:
        sequence = chunk.sequence
        if isinstance(outcome, Failed):
            progress = Progress(sequence, [], [], failed=outcome)
        elif chunk.samples:
            progress = write(chunk, outcome, self._end_ids)
            self._advance(sequence, chunk.start + len(chunk.tokens) - chunk.drafts + len(outcome.ids) - 1)
        else:
            self._advance(sequence, chunk.start + len(chunk.tokens))
            return None
        progress.preemptions, sequence.preemptions = sequence.preemptions, 0
        if progress.is_last:
            self._end(sequence)
        return progress

    def _advance(self, sequence: GenerationSequence, computed: int) -> None:
        """So many tokens are in the cache, less those that were dropped behind an end."""
        sequence.computed = min(computed, len(sequence.tokens))
        if sequence.computed >= (sequence.published + 1) * self._pool.block_tokens:
            self._tables.publish(sequence)

    def _end(self, sequence: GenerationSequence) -> None:
        if sequence.state is SequenceState.RUNNING:
            self._running.remove(sequence)
            self._tables.close(sequence)
        else:
            del self._waiting[self._place(sequence)]
        sequence.move(SequenceState.FINISHED)
        del self._by_key[sequence.key]

    def _place(self, sequence: GenerationSequence) -> int:
        return bisect_left(self._waiting, sequence.turn, key=_turn)

    # --- checks ---

    def check_integrity(self) -> None:
        """Raise `IntegrityError` if lists, states and blocks disagree; if no sequence is there, no block is in use."""
        if self._waiting != sorted(self._waiting, key=_turn):
            raise IntegrityError("the sequences that wait are out of turn")
        listed = Counter(sequence.key for sequence in self._waiting + self._running)
        if listed != Counter(self._by_key.keys()):
            raise IntegrityError(f"{len(self._by_key)} sequences have not ended, but {listed.total()} wait or run")
        _check_states(self._waiting, SequenceState.WAITING)
        _check_states(self._running, SequenceState.RUNNING)
        for sequence in self._waiting:
            if sequence.blocks or sequence.computed or sequence.published:
                raise IntegrityError(f"sequence {sequence.id} waits, but has {len(sequence.blocks)} blocks")
        self._tables.check_integrity(self._running)

    def _check(self, sequence: GenerationSequence) -> None:
        limit = self._limits.sequence_tokens
        if not sequence.tokens or sequence.params.max_tokens < 1:
            raise ValueError("a sequence needs at least one token to start from and one to write")
        if sequence.prompt_tokens + sequence.params.max_tokens > limit:
            raise ValueError(f"prompt and max_tokens make more than {limit} tokens")
        if sequence.key in self._by_key:
            raise ValueError(f"its sender has a sequence {sequence.id} already")


class _Step:
    """The chunks of the step that is being made, and the tokens left for more."""

    __slots__ = ("chunks", "left")

    def __init__(self, tokens: int) -> None:
        self.left = tokens
        self.chunks: dict[GenerationSequence, Chunk] = {}

    def add(self, chunk: Chunk) -> None:
        self.chunks[chunk.sequence] = chunk
        self.left -= len(chunk.tokens)

    def drop(self, sequence: GenerationSequence) -> None:
        if chunk := self.chunks.pop(sequence, None):
            self.left += len(chunk.tokens)


def _prompt_chunk(sequence: GenerationSequence, most: int) -> Chunk:
    end = min(len(sequence.tokens), sequence.computed + most)
    tokens = sequence.tokens[sequence.computed : end]
    return Chunk(sequence, sequence.computed, tokens, samples=end == len(sequence.tokens))


def _turn(sequence: GenerationSequence) -> tuple[float, int]:
    return sequence.turn


def _check_states(sequences: Sequence[GenerationSequence], state: SequenceState) -> None:
    if wrong := next((sequence for sequence in sequences if sequence.state is not state), None):
        raise IntegrityError(f"sequence {wrong.id} is {wrong.state.value}, but listed as {state.value}")
