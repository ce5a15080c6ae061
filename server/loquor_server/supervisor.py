"""Keeps one replica alive: starts a worker, serves it until it ends, and starts the next one with back-off.

What a worker is (a process of ours, a process elsewhere) is the launcher's business; what runs on it, the replica's.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable
from typing import Protocol

import structlog

from loquor_server.replica import LoadFailed, Replica, ReplicaState, WorkerLost

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 30.0
_PATIENCE_SECONDS = 5.0
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

    def __init__(self, model: str, replica: Replica, launch: Callable[[], Worker]) -> None:
        self.first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._log = log.bind(model=model, replica=replica.index)
        self._replica = replica
        self._launch = launch
        self._failures = 0
        self._task = asyncio.create_task(self._keep())

    async def stop(self, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        """End the worker and start no other."""
        self._replica.move(ReplicaState.STOPPED)
        self._patience_seconds = patience_seconds
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _keep(self) -> None:
        self._patience_seconds = 0.0
        while True:
            try:
                await self._serve_one()
            except LoadFailed as failure:
                self._failed(str(failure), failure)
            except WorkerLost as loss:
                self._failed(str(loss), None)
            await asyncio.sleep(self._pause_seconds())
            self._replica.restarts += 1

    async def _serve_one(self) -> None:
        """Start a worker and serve it. Always raises: `WorkerLost`, `LoadFailed` or a cancel."""
        worker = self._launch()
        self._log.info("worker started", pid=getattr(worker, "pid", None), epoch=worker.epoch)
        serving = asyncio.create_task(self._replica.serve(worker.address, worker.epoch))
        exited = asyncio.create_task(worker.exited())
        ready = asyncio.create_task(self._note_ready())
        try:
            await asyncio.wait({serving, exited}, return_when=asyncio.FIRST_COMPLETED)
            # A worker that cannot load says why before it exits; its words may still be on the way.
            await asyncio.wait({serving}, timeout=1.0)
            if serving.done():
                await serving
            raise WorkerLost(f"it exited with status {await exited}")
        finally:
            for task in (serving, exited, ready):
                task.cancel()
            await asyncio.gather(serving, exited, ready, return_exceptions=True)
            await worker.end(self._patience_seconds)

    async def _note_ready(self) -> None:
        while self._replica.state is not ReplicaState.READY:
            await self._replica.moved.wait()
        self._failures = 0
        if not self.first_ready.done():
            self.first_ready.set_result(None)

    def _failed(self, reason: str, failure: LoadFailed | None) -> None:
        self._failures += 1
        self._replica.gave_up = self._failures >= _FAILURES_TO_GIVE_UP or failure is not None
        self._log.error("worker lost", reason=reason, failures=self._failures)
        if self.first_ready.done():
            return
        if failure is not None:
            self.first_ready.set_exception(failure)
        elif self._failures >= _FAILURES_TO_GIVE_UP:
            self.first_ready.set_exception(LoadFailed(f"its worker failed to start: {reason}"))

    def _pause_seconds(self) -> float:
        """Exponential in the failures since a worker was last ready, with full jitter above half."""
        longest = min(_FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures, 12), _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)
