"""Late binding: a request leaves the queue only when some replica has room for it.

A message to a worker costs as much as a call does, so one should carry as much as there is. gRPC hands over calls one
by one, in different turns of the event loop. So the router waits until a few turns have brought nothing new, a fraction
of a millisecond, and sends all at once; where this never gathers more than one, it stops. It knows no sockets and no
processes.
"""

import asyncio
from typing import Protocol

from loquor_server.pending_request import PendingRequest
from loquor_server.request_queue import RequestQueue

_QUIET_TURNS = 12  # without anything new, after which all is sent
_MOST_TURNS = 64  # after which it is sent whatever comes
_VAIN_WAITS = 8  # in a row, after which nothing is waited for


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
        self._waits_left = 0
        self._turns = 0
        self._quiet_turns = 0

    def add(self, destination: Destination) -> None:
        self._destinations.append(destination)
        self.wake()

    def wake(self) -> None:
        """Route soon: when this turn of the event loop has ended, or once a few have brought nothing new."""
        self._quiet_turns = 0
        if not self._woken:
            self._woken = True
            self._turns = 0
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._turns += 1
        self._quiet_turns += 1
        if self._waits_left and self._turns < _MOST_TURNS and self._quiet_turns < _QUIET_TURNS:
            asyncio.get_running_loop().call_soon(self._turn)
        else:
            self._woken = False
            self._route()

    def _route(self) -> None:
        assigned = 0
        while (pending := self._queue.first()) is not None:
            destination = self._with_room_for(pending)
            if destination is None:
                break
            destination.assign(self._queue.pop())
            assigned += 1
        if assigned:
            self._waits_left = _VAIN_WAITS if assigned > 1 else max(0, self._waits_left - 1)
        for destination in self._destinations:
            destination.flush()

    def _with_room_for(self, pending: PendingRequest) -> Destination | None:
        free = [destination for destination in self._destinations if destination.has_room(pending)]
        return min(free, key=lambda destination: destination.running_tokens, default=None)
