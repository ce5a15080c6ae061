"""What came in since the last step: the one place where the socket's thread hands work to the engine's.

Any thread puts; the engine's thread takes. It reads nothing of what it carries.
"""

import queue
from dataclasses import dataclass

from loquor.internal.v1.replica_service_pb2 import Submission
from loquor_worker.sequence import Sender


@dataclass(frozen=True, slots=True)
class Arrived:
    """Submissions of one message."""

    sender: Sender
    submissions: list[Submission]
    at: float


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Submissions whose callers went away."""

    sender: Sender
    ids: list[int]


@dataclass(frozen=True, slots=True)
class Gone:
    """A front whose stream has ended."""

    sender: Sender


@dataclass(frozen=True, slots=True)
class Stop:
    """Finish what waits, then end."""


Message = Arrived | Cancelled | Gone | Stop


class Inbox:
    """A queue that is emptied as a whole."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Message] = queue.SimpleQueue()

    def put(self, message: Message) -> None:
        self._queue.put(message)

    def take(self, seconds: float | None) -> list[Message]:
        """All that is there; if nothing is, wait for the first one, `seconds` at the longest or for ever."""
        taken: list[Message] = []
        try:
            if seconds != 0:
                taken.append(self._queue.get(timeout=seconds))
            while True:
                taken.append(self._queue.get_nowait())
        except queue.Empty:
            return taken
