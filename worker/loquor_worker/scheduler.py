"""Which sequences make the next batch: those that came first, as many as the budget takes.

It knows no engine, no socket and no clock but the times it is given.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from loquor_worker.sequence import Sender, Sequence, SequenceState


@dataclass(frozen=True, slots=True)
class Budget:
    """What one batch may hold, and how long it may wait for more. The first sequence always fits."""

    tokens: int
    rows: int
    delay_seconds: float = 0.0


class Scheduler:
    """The waiting sequences of one engine, in order of arrival."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._waiting: deque[Sequence] = deque()
        self._by_key: dict[tuple[int, int], Sequence] = {}
        self._waiting_tokens = 0
        self._waiting_rows = 0

    def __len__(self) -> int:
        return len(self._by_key)

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)
        self._by_key[sequence.key] = sequence
        self._waiting_tokens += sequence.size.tokens
        self._waiting_rows += sequence.size.rows

    def cancel(self, sender: Sender, id: int) -> Sequence | None:
        """Take out a sequence that waits. None if it does not."""
        sequence = self._by_key.get((_identity(sender), id))
        if sequence is not None:
            self._leave(sequence, SequenceState.FINISHED)
        return sequence

    def forget(self, sender: Sender) -> None:
        """Take out all that a sender left behind."""
        for sequence in [s for s in self._by_key.values() if s.sender is sender]:
            self._leave(sequence, SequenceState.FINISHED)

    def delay_seconds(self, now: float) -> float:
        """How much longer to wait for a fuller batch; 0 to schedule now."""
        if not self._budget.delay_seconds or self._full() or (first := self._first()) is None:
            return 0.0
        return max(0.0, first.arrived_at + self._budget.delay_seconds - now)

    def schedule(self, now: float) -> list[Sequence]:
        """The next batch, moved to RUNNING; empty if nothing waits."""
        batch: list[Sequence] = []
        tokens = rows = 0
        while (sequence := self._first()) is not None:
            tokens += sequence.size.tokens
            rows += sequence.size.rows
            if batch and (self._over(tokens, rows) or sequence.submission.alone or batch[0].submission.alone):
                break
            self._waiting.popleft()
            self._leave(sequence, SequenceState.RUNNING)
            sequence.started_at = now
            batch.append(sequence)
        return batch

    def finish(self, batch: Iterable[Sequence]) -> None:
        for sequence in batch:
            sequence.state = SequenceState.FINISHED

    def _first(self) -> Sequence | None:
        while self._waiting:
            if self._waiting[0].state is SequenceState.WAITING:
                return self._waiting[0]
            self._waiting.popleft()
        return None

    def _leave(self, sequence: Sequence, state: SequenceState) -> None:
        sequence.state = state
        del self._by_key[sequence.key]
        self._waiting_tokens -= sequence.size.tokens
        self._waiting_rows -= sequence.size.rows

    def _full(self) -> bool:
        return self._over(self._waiting_tokens + 1, self._waiting_rows + 1)

    def _over(self, tokens: int, rows: int) -> bool:
        return tokens > self._budget.tokens or rows > self._budget.rows


def _identity(sender: Sender) -> int:
    return id(sender)
