"""A request whose answer is written over many steps: its sequences, each with one ending, and what nobody has read yet.

The replicas put in what workers send; one reader takes out whatever there is. A reader who stands still, as one does
whose caller does not read, holds up neither: what is written for him ends all the same. It knows nothing of queues,
workers and text.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.pending_request import Answer


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """How many tokens of a sequence may wait to be read, and for how long, before it is cut off."""

    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Came:
    """What one step wrote of a sequence, when that came, and how long it had waited to be begun, both in seconds."""

    tokens: wire.Tokens
    at: float
    queue_seconds: float


class WrittenSequence:
    """One sequence: a `PendingRequest`'s call. It ends by its last tokens, by a failure, or when it is closed."""

    __slots__ = (
        "_limits",
        "_unread",
        "_unread_tokens",
        "_writing",
        "begun",
        "caller",
        "complete",
        "failure",
        "queued_at",
    )

    def __init__(self, writing: "Writing", caller: Caller, limits: ReadLimits) -> None:
        self.caller = caller
        self.queued_at = time.monotonic()
        self.begun = False
        self.complete = False
        self.failure: errors.RequestError | None = None
        self._writing = writing
        self._limits = limits
        self._unread: list[Came] = []
        self._unread_tokens = 0

    @property
    def ended(self) -> bool:
        return self.complete or self.failure is not None

    def take(self, tokens: wire.Tokens, queue_seconds: float) -> None:
        """What a worker wrote. Nothing comes after the last."""
        if self.ended:
            return
        now = time.monotonic()
        self.begun = True
        self.complete = bool(tokens.finish)
        self._unread.append(Came(tokens, now, queue_seconds))
        self._unread_tokens += len(tokens.ids)
        late = now - self._unread[0].at > self._limits.seconds
        if self.complete:
            self._writing.ended()
        elif late or self._unread_tokens > self._limits.tokens:
            self.fail(errors.SlowReader("the caller reads too slowly: what was written waits for it"))
        self._writing.ring(self)

    def fail(self, error: Exception) -> None:
        if not self.ended:
            self.failure = error if isinstance(error, errors.RequestError) else errors.EngineFailed("internal error")
            self._writing.ended()
            self._writing.ring(self)

    def cancelled(self) -> None:
        """A worker left it out, which nobody asked for who still waits."""
        self.fail(errors.EngineFailed("the sequence was left out"))

    def answer(self, _index: int, _answer: Answer) -> None:
        """Tensors are no text."""
        self.fail(errors.EngineFailed("the engine answered with tensors; the server's log says why"))

    def expire(self) -> None:
        """The caller's deadline has passed."""
        self.fail(errors.DeadlineExceeded("the deadline passed before the text was written"))

    def close(self) -> None:
        """Nobody reads on."""
        if not self.ended:
            self.failure = errors.Unavailable("nobody reads this any more")
            self._writing.ended()
        self._unread.clear()

    def read(self) -> list[Came]:
        """All that came since the last time."""
        came, self._unread = self._unread, []
        self._unread_tokens = 0
        return came


class Writing:
    """All sequences of one request, read together. `release` is called when the last has ended, read or not."""

    def __init__(self, caller: Caller, sequences: int, limits: ReadLimits, release: Callable[[], None]) -> None:
        self.sequences = [WrittenSequence(self, caller, limits) for _ in range(sequences)]
        self._index = {id(sequence): index for index, sequence in enumerate(self.sequences)}
        self._under_way = sequences
        self._release = release
        self._news: dict[int, None] = {}
        self._rung = asyncio.Event()

    def __iter__(self) -> Iterator[WrittenSequence]:
        return iter(self.sequences)

    def ring(self, sequence: WrittenSequence) -> None:
        self._news[self._index[id(sequence)]] = None
        self._rung.set()

    def ended(self) -> None:
        """One of the sequences has."""
        self._under_way -= 1
        if not self._under_way:
            self._release()

    async def news(self) -> Sequence[int]:
        """Wait until something came or ended, and return of which sequences, in order of its coming."""
        await self._rung.wait()
        self._rung.clear()
        news, self._news = list(self._news), {}
        return news

    def expire(self) -> None:
        for sequence in self.sequences:
            sequence.expire()

    def close(self) -> None:
        for sequence in self.sequences:
            sequence.close()
