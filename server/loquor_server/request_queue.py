"""The request queue of one model: by priority, then by arrival.

Requests that have ended (cancelled, past their deadline) are passed over when their turn comes, and swept out before
they are many. It knows neither who runs what it gives out, nor how much may be in it: that is admission's.
"""

import heapq
import itertools

from loquor_server.pending_request import PendingRequest

_LEAST_TO_SWEEP = 256


class RequestQueue:
    """A handle with three verbs: `push`, `first`, `pop`."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, PendingRequest]] = []
        self._arrivals = itertools.count()
        self._sweep_at = _LEAST_TO_SWEEP

    def __len__(self) -> int:
        """How many it holds, those that have ended and are not yet swept out among them."""
        return len(self._heap)

    def push(self, pending: PendingRequest) -> None:
        """Put in its place by priority and by when its call was queued, so a request pushed again keeps its turn."""
        if len(self._heap) >= self._sweep_at:
            self._sweep()
        call = pending.call
        heapq.heappush(self._heap, (call.caller.priority, call.queued_at, next(self._arrivals), pending))

    def first(self) -> PendingRequest | None:
        """The one to run next, left in its place."""
        heap = self._heap
        while heap:
            pending = heap[0][3]
            if not pending.ended:
                return pending
            heapq.heappop(heap)
        return None

    def pop(self) -> PendingRequest:
        """Take out the one that `first` returned."""
        return heapq.heappop(self._heap)[3]

    def drain(self) -> list[PendingRequest]:
        """Take out all that have not ended."""
        waiting = [entry[3] for entry in self._heap if not entry[3].ended]
        self._heap.clear()
        return waiting

    def _sweep(self) -> None:
        """Let go of what has ended. What is left doubles before the next sweep, so a push costs the same on average."""
        self._heap = [entry for entry in self._heap if not entry[3].ended]
        heapq.heapify(self._heap)
        self._sweep_at = max(_LEAST_TO_SWEEP, 2 * len(self._heap))
