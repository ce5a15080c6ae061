"""Late binding: a request leaves the queue only when some replica has room for it.

A message to a worker costs as much as a call does, so one should carry as much as there is. gRPC hands over calls one by
one, in different turns of the event loop. So while a worker has something to run, the router waits until a few turns have
brought nothing new, a fraction of a millisecond, and sends all at once. It knows no sockets and no processes.
"""

import asyncio
from typing import Protocol

from loquor_server.pending_request import PendingRequest
from loquor_server.request_queue import RequestQueue

_QUIET_TURNS = 8
_MOST_TURNS = 32


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
        self._turns = 0
        self._quiet_turns = 0

    def add(self, destination: Destination) -> None:
        self._destinations.append(destination)
        self.wake()

    def wake(self) -> None:
        """Route soon: once a few turns of the event loop have brought nothing new, or at once if nobody has work."""
        self._quiet_turns = 0
        if not self._woken:
            self._woken = True
            self._turns = 0
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns += 1
        self._quiet_turns += 1
        if self._turns < _MOST_TURNS and self._quiet_turns < _QUIET_TURNS and self._busy():
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._woken = False
            self._route()

    def _busy(self) -> bool:
        return any(destination.running_tokens for destination in self._destinations)

    def _route(self) -> None:
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
