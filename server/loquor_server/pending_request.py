"""A request in the front: its parts, each of which runs as one submission, and the one ending that it gets.

A caller's request holds many texts. Each becomes a `PendingRequest`, queued, batched and retried by itself; the `Call`
gathers their answers. It knows nothing of queues and workers.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from loquor.internal.v1.replica_service_pb2 import Submission, Tokens
from loquor.v1.tensor_service_pb2 import Tensor
from loquor_server.caller import Caller
from loquor_server.errors import DeadlineExceeded, EngineFailed


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker gave for one submission. Seconds are on the front's clock, but for `compute_seconds`."""

    tensors: Sequence[Tensor]
    queue_seconds: float
    compute_seconds: float
    batch_size: int
    batch_tokens: int


class Waiting(Protocol):
    """Whoever waits for what becomes of a submission, as queues and replicas see them. It ends once."""

    caller: Caller
    queued_at: float

    @property
    def ended(self) -> bool: ...

    @property
    def begun(self) -> bool:
        """Whether something was delivered already, so that it cannot be run again from the start."""
        ...

    def answer(self, index: int, answer: Answer) -> None: ...
    def take(self, tokens: Tokens, queue_seconds: float) -> None: ...
    def fail(self, error: Exception) -> None: ...
    def cancelled(self) -> None: ...


class Call:
    """All parts of one caller's request. It ends once: by the last answer, by the first failure or by a cancel."""

    __slots__ = ("_answers", "_missing", "caller", "future", "queued_at")

    begun = False

    def __init__(self, caller: Caller, parts: int) -> None:
        self.caller = caller
        self.queued_at = time.monotonic()
        self.future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        self._answers: list[Answer | None] = [None] * parts
        self._missing = parts

    @property
    def ended(self) -> bool:
        return self.future.done()

    @property
    def complete(self) -> bool:
        """Whether every part has been answered."""
        return not self._missing

    def answer(self, index: int, answer: Answer) -> None:
        if self.ended or self._answers[index] is not None:
            return
        self._answers[index] = answer
        self._missing -= 1
        if not self._missing:
            self.future.set_result([answer for answer in self._answers if answer is not None])

    def take(self, _tokens: Tokens, _queue_seconds: float) -> None:
        """Text is no answer to what asks for tensors."""
        self.fail(EngineFailed("the engine answered with text; the server's log says why"))

    def fail(self, error: Exception) -> None:
        if not self.ended:
            self.future.set_exception(error)

    def cancelled(self) -> None:
        """A worker left it out."""
        self.future.cancel()

    def expire(self) -> None:
        """The caller's deadline has passed."""
        self.fail(DeadlineExceeded("the deadline passed before the request was answered"))


@dataclass(slots=True, eq=False)
class PendingRequest:
    """One part of a call. `lost_workers` counts the workers that were lost with it under way.

    `handed_at` is when a replica took it last, on the clock of `time.monotonic`, and `heard` whether that one's worker
    has given something of it.
    """

    call: Waiting
    index: int
    submission: Submission
    rows: int
    tokens: int
    lost_workers: int = 0
    handed_at: float = 0.0
    heard: bool = False

    @property
    def ended(self) -> bool:
        return self.call.ended
