"""What is on its way to one worker: submissions and cancels, as few messages as there can be."""

import asyncio

from loquor.internal.v1 import replica_service_pb2 as wire


class Outbox:
    """Filled by the replica, emptied by the one task that writes to the worker's stream."""

    def __init__(self) -> None:
        self._submissions: list[wire.Submission] = []
        self._cancels: list[int] = []
        self._due = asyncio.Event()

    def submit(self, submission: wire.Submission) -> None:
        """Keep for the next message; `flush` sends it."""
        self._submissions.append(submission)

    def flush(self) -> None:
        if self._submissions:
            self._due.set()

    def cancel(self, id: int) -> None:
        self._cancels.append(id)
        self._due.set()

    async def next(self) -> list[wire.ServeRequest]:
        """Wait until something is due, and take out all that there is."""
        await self._due.wait()
        return self.take()

    def take(self) -> list[wire.ServeRequest]:
        self._due.clear()
        messages = []
        if self._submissions:
            messages.append(wire.ServeRequest(submissions=wire.Submissions(submissions=self._submissions)))
            self._submissions.clear()
        if self._cancels:
            messages.append(wire.ServeRequest(cancels=wire.Cancels(ids=self._cancels)))
            self._cancels.clear()
        return messages

    def clear(self) -> list[int]:
        """Forget everything, and say which submissions were never sent."""
        self._due.clear()
        unsent = [submission.id for submission in self._submissions]
        self._submissions.clear()
        self._cancels.clear()
        return unsent
