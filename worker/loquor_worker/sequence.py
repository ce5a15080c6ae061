"""A submission in the worker: who sent it, what it takes of a batch, and how far it is."""

from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from loquor.internal.v1.replica_service_pb2 import Submission
from loquor_worker.engines import Size


class SequenceState(Enum):
    """WAITING -> RUNNING (scheduled) -> FINISHED; WAITING -> FINISHED (cancelled). Moved by the scheduler alone."""

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class Sender(Hashable, Protocol):
    """The stream that a submission came by; compared by identity."""


@dataclass(slots=True, eq=False)
class Sequence:
    """`arrived_at` and `started_at` are on the clock of `time.monotonic`."""

    sender: Sender
    submission: Submission
    size: Size
    arrived_at: float
    started_at: float = 0.0
    state: SequenceState = SequenceState.WAITING

    @property
    def key(self) -> tuple[int, int]:
        return id(self.sender), self.submission.id
