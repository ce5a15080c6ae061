"""Late binding: a request leaves the queue only when some replica has room for it.

The router runs once after whatever changed (a request came, a step ended, a replica became ready), so all that came in
one turn of the event loop goes to a worker in one message. It knows no sockets and no processes.
"""

import asyncio
from typing import Protocol

from loquor_server.pending_request import PendingRequest
from loquor_server.request_queue import RequestQueue


class Destination(Protocol):
    """Whatever runs requests, as the router sees it."""

    @property
    def running_tokens(self) -> int: ...

    def has_room(self, pending: PendingRequest) -> bool:
        """Whether it would take this request now."""
        ...

    def assign(self, pending: PendingRequest) -> None:
        """Take a request for which there is room."""
        ...

    def flush(self) -> None:
        """Send what has been assigned since the last time."""
        ...


class Router:
    """Moves requests from one queue to the replicas of one model."""

    def __init__(self, queue: RequestQueue) -> None:
        self._queue = queue
        self._destinations: list[Destination] = []
        self._woken = False

    def add(self, destination: Destination) -> None:
        self._destinations.append(destination)
        self.wake()

    def wake(self) -> None:
        """Route at the end of this turn of the event loop."""
        if not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._route)

    def _route(self) -> None:
        self._woken = False
        while (pending := self._queue.first()) is not None:
            destination = self._with_room_for(pending)
            if destination is None:
                break
            destination.assign(self._queue.pop())
        for destination in self._destinations:
            destination.flush()

    def _with_room_for(self, pending: PendingRequest) -> Destination | None:
        free = [destination for destination in self._destinations if destination.has_room(pending)]
        return min(free, key=lambda destination: destination.running_tokens, default=None)
