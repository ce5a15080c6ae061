"""What is on its way to one worker: submissions and cancels, gathered into few messages.

A message costs the front and the worker as much as a call does, so one should carry as much as there is. Two messages
keep a worker busy: one that its engine runs, and one that waits for the next step. What comes while both are under way
is sent together when a step ends, or after a moment, so that it is there in time for a step that is long.
"""

import asyncio

from loquor.internal.v1 import replica_service_pb2 as wire

_MOST_UNDER_WAY = 2
_LONGEST_WAIT_SECONDS = 0.005


class Outbox:
    """Filled by the replica, emptied by the one task that writes to the worker's stream."""

    def __init__(self) -> None:
        self._submissions: list[wire.Submission] = []
        self._cancels: list[int] = []
        self._due = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = 0

    def submit(self, submission: wire.Submission) -> None:
        """Keep for the next message; `flush` sends it."""
        self._submissions.append(submission)

    def cancel(self, id: int) -> None:
        self._cancels.append(id)
        self._due.set()

    def flush(self) -> None:
        """Send what was submitted: now, if the worker could use it now."""
        if not self._submissions:
            return
        if self._under_way < _MOST_UNDER_WAY:
            self._due.set()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_LONGEST_WAIT_SECONDS, self._due.set)

    def stepped(self, *, idle: bool) -> None:
        """A step of the worker has ended, after which it has nothing more to run if `idle`."""
        self._under_way = 0 if idle else max(0, self._under_way - 1)

    async def next(self) -> list[wire.ServeRequest]:
        """Wait until something is due, and take out all that there is."""
        await self._due.wait()
        return self.take()

    def take(self) -> list[wire.ServeRequest]:
        self._rest()
        messages = []
        if self._submissions:
            self._under_way += 1
            messages.append(wire.ServeRequest(submissions=wire.Submissions(submissions=self._submissions)))
            self._submissions.clear()
        if self._cancels:
            messages.append(wire.ServeRequest(cancels=wire.Cancels(ids=self._cancels)))
            self._cancels.clear()
        return messages

    def clear(self) -> list[int]:
        """Forget everything, and say which submissions were never sent."""
        self._rest()
        unsent = [submission.id for submission in self._submissions]
        self._submissions.clear()
        self._cancels.clear()
        self._under_way = 0
        return unsent

    def _rest(self) -> None:
        self._due.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
