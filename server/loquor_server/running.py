"""What one worker has been handed and has not answered: by id, with how much it is."""

import asyncio
from collections.abc import Iterator

from loquor_server.pending_request import PendingRequest


class Running:
    """`alone` is whether one that has not begun to answer is to have no other such beside it.

    `silent` counts those that have given nothing yet. What writes text may go on beside one that is alone: should the
    worker be lost, it is that one's doing, and what has begun is not run again, so nobody is suspected in its place.
    """

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0
        self.alone = False
        self.silent = 0
        self._by_id: dict[int, PendingRequest] = {}
        self._idle = asyncio.Event()

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(self._by_id.values())

    def __contains__(self, pending: PendingRequest) -> bool:
        return self._by_id.get(pending.submission.id) is pending

    def add(self, pending: PendingRequest) -> None:
        """Under the id of its submission."""
        self._by_id[pending.submission.id] = pending
        self.rows += pending.rows
        self.tokens += pending.tokens
        self.silent += 1
        self.alone = pending.submission.alone

    def hear(self, id: int) -> PendingRequest | None:
        """The one that gives something and goes on; None for an id that is not there."""
        pending = self._by_id.get(id)
        if pending is not None and not pending.heard:
            pending.heard = True
            self._less_silent(pending)
        return pending

    def release(self, id: int) -> PendingRequest | None:
        """Take out what has been answered; None for an id that is not there."""
        pending = self._by_id.pop(id, None)
        if pending is not None:
            self.rows -= pending.rows
            self.tokens -= pending.tokens
            if not pending.heard:
                self._less_silent(pending)
            pending.heard = False
        if not self._by_id:
            self._idle.set()
        return pending

    def lose(self) -> list[PendingRequest]:
        """Take out all, unanswered."""
        return [pending for id in list(self._by_id) if (pending := self.release(id)) is not None]

    def _less_silent(self, pending: PendingRequest) -> None:
        self.silent -= 1
        if pending.submission.alone:
            self.alone = False

    async def idle(self) -> None:
        """Return once nothing runs."""
        while self._by_id:
            self._idle.clear()
            await self._idle.wait()
