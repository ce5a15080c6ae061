"""Keeps one replica alive: starts a worker, serves it until it ends, and starts the next one with back-off.

What a worker is (a process of ours, a process elsewhere) is the launcher's business; what runs on it, the replica's.
"""

import asyncio
import contextlib
import functools
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from loquor_server.replica import LoadFailed, Replica, ReplicaState, WorkerLost

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
_REMEMBERED_SECONDS = 60.0
# So many losses in that time are bad luck, or one bad request; more are a reason to slow down.
_LOSSES_TO_SLOW_DOWN = 3
_PATIENCE_SECONDS = 5.0
# The end of a process is known a moment after that of its stream.
_EXIT_SECONDS = 0.2
# A worker is expected back soon until so many have died in a row without having been ready.
_FAILURES_TO_GIVE_UP = 2

log = structlog.get_logger()


class Worker(Protocol):
    """A worker that has been started, as a supervisor sees it."""

    @property
    def address(self) -> str: ...

    @property
    def epoch(self) -> int: ...

    async def exited(self) -> int:
        """Wait for its end and return its exit status."""
        ...

    async def end(self, patience_seconds: float) -> int:
        """End it, at once if `patience_seconds` is 0, and return its exit status."""
        ...


class Supervisor:
    """Of one replica."""

    def __init__(self, model: str, replica: Replica, launch: Callable[[], Awaitable[Worker]]) -> None:
        self.first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log = log.bind(model=model, replica=replica.index)
        self._replica = replica
        self._launch = launch
        self._failures = 0
        self._losses: deque[float] = deque()
        self._patience_seconds = 0.0
        self._ending: asyncio.Task[None] | None = None
        self._task = asyncio.create_task(self._keep())

    async def stop(self, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """End the worker and start no other. One that is still loading is not waited for."""
        if self._replica.state in (ReplicaState.READY, ReplicaState.DRAINING):
            self._patience_seconds = patience_seconds
        self._replica.move(ReplicaState.STOPPED)
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._ending is not None:
            await self._ending

    async def _keep(self) -> None:
        while True:
            try:
                await self._serve_one()
            except Exception as loss:  # whatever it was, the replica gets its next worker
                self._failed(loss)
            await asyncio.sleep(self._pause_seconds())
            self._replica.restarts += 1

    async def _serve_one(self) -> None:
        """Start a worker and serve it. Always raises: `WorkerLost`, `LoadFailed` or a cancel."""
        worker = await self._launch()
        self._log.info("worker started", pid=getattr(worker, "pid", None), epoch=worker.epoch)
        exited = asyncio.create_task(worker.exited())
        serving = asyncio.create_task(
            self._replica.serve(worker.address, worker.epoch, functools.partial(_exit_status, exited))
        )
        ready = asyncio.create_task(self._note_ready())
        try:
            await asyncio.wait({serving, exited}, return_when=asyncio.FIRST_COMPLETED)
            # A worker that cannot load says why before it exits; its words may still be on the way.
            await asyncio.wait({serving}, timeout=1.0)
            if serving.done():
                await serving
            raise WorkerLost(f"it exited with status {await exited}")
        finally:
            # In a task of its own: a second cancel must not leave the worker behind.
            self._ending = asyncio.create_task(self._end(worker, serving, exited, ready))
            await asyncio.shield(self._ending)

    async def _end(self, worker: Worker, *tasks: "asyncio.Task[object]") -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await worker.end(self._patience_seconds)

    async def _note_ready(self) -> None:
        while self._replica.state is not ReplicaState.READY:
            await self._replica.moved.wait()
        self._failures = 0
        if not self.first_ready.done():
            self.first_ready.set_result(None)

    def _failed(self, loss: Exception) -> None:
        self._failures += 1
        self._losses.append(time.monotonic())
        self._replica.gave_up = self._failures >= _FAILURES_TO_GIVE_UP or isinstance(loss, LoadFailed)
        expected = isinstance(loss, LoadFailed | WorkerLost)
        reason = str(loss) if expected else f"it could not be started: {loss}"
        self._log.error("worker lost", reason=reason, failures=self._failures, exc_info=None if expected else loss)
        if self.first_ready.done():
            return
        if isinstance(loss, LoadFailed):
            self.first_ready.set_exception(loss)
        elif self._failures >= _FAILURES_TO_GIVE_UP:
            self.first_ready.set_exception(LoadFailed(f"its worker failed to start: {reason}"))

    def _pause_seconds(self) -> float:
        """Exponential in the losses since a worker was ready, or of the last minute, with jitter in the upper half."""
        while time.monotonic() - self._losses[0] > _REMEMBERED_SECONDS:
            self._losses.popleft()
        doublings = min(max(len(self._losses) - _LOSSES_TO_SLOW_DOWN, self._failures), 12)
        longest = min(_FIRST_PAUSE_SECONDS * 2.0**doublings, _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)


async def _exit_status(exited: "asyncio.Task[int]") -> int | None:
    """Of a worker whose stream is over; None if it has not ended by itself."""
    await asyncio.wait({exited}, timeout=_EXIT_SECONDS)
    return exited.result() if exited.done() and not exited.cancelled() else None
