"""Load on something that can be called: in a closed loop or an open one, bounded in time and in number.

Closed: so many callers, each asks again once it has its answer. Open: requests come at random times (a Poisson process)
of a given rate, whether or not the ones before are answered, and each latency counts from the time at which the request
was due. A server that stalls therefore shows in every request that fell due meanwhile, and not in one (no coordinated
omission). It does not know what is called, nor what is done with the samples.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import loquor

OK = "OK"
NOT_SENT = "NOT_SENT"


@dataclass(frozen=True, slots=True)
class Writing:
    """A text as it was streamed to us, in seconds since its request was sent."""

    tokens: int
    first_seconds: float
    gaps_seconds: tuple[float, ...]
    """Between one delta and the next."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one answer was worth; the server's own timings where it gave them."""

    texts: int
    tokens: int
    queue_seconds: float = 0.0
    compute_seconds: float = 0.0
    batch_size: int = 0
    writing: Writing | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `due` counts from the start of the run, the others from `due`: to the sending, and to the answer."""

    due: float
    lag_seconds: float
    latency_seconds: float
    status: str
    work: Work | None


@dataclass(frozen=True, slots=True)
class Bounds:
    """Nothing is sent after so many seconds or so many requests; what is under way may finish."""

    seconds: float
    requests: int


Call = Callable[[int], Awaitable[Work]]
"""Sends the n-th request. Raises `LoquorError`."""


class Run:
    """One run. `samples` grows as it goes."""

    def __init__(self, call: Call, bounds: Bounds) -> None:
        self.samples: list[Sample] = []
        self._call = call
        self._bounds = bounds
        self._sent = 0
        self._started = time.perf_counter()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._started

    async def closed_loop(self, concurrency: int) -> None:
        async with asyncio.TaskGroup() as callers:
            for _ in range(concurrency):
                callers.create_task(self._caller())

    async def open_loop(self, rate: float, most_under_way: int, seed: int) -> None:
        """Beyond `most_under_way` requests wait here, and their latency counts on.

        Those that still wait when the time is over are not sent, and are counted as that.
        """
        room = asyncio.Semaphore(most_under_way)
        async with asyncio.TaskGroup() as requests:
            for due in self._due_times(rate, seed):
                if (early := due - self.elapsed) > 0:
                    await asyncio.sleep(early)
                if not await self._acquire(room):
                    self.samples.append(Sample(due, self.elapsed - due, self.elapsed - due, NOT_SENT, None))
                    continue
                requests.create_task(self._release_after(due, room))

    async def _caller(self) -> None:
        while self._sent < self._bounds.requests and self.elapsed < self._bounds.seconds:
            await self._request(self.elapsed)

    def _due_times(self, rate: float, seed: int) -> Iterator[float]:
        chance, due = random.Random(seed), 0.0
        for _ in range(self._bounds.requests):
            due += chance.expovariate(rate)
            if due >= self._bounds.seconds:
                return
            yield due

    async def _acquire(self, room: asyncio.Semaphore) -> bool:
        if not room.locked():
            await room.acquire()
            return True
        try:
            async with asyncio.timeout(max(0.0, self._bounds.seconds - self.elapsed)):
                await room.acquire()
        except TimeoutError:
            return False
        return True

    async def _release_after(self, due: float, room: asyncio.Semaphore) -> None:
        try:
            await self._request(due)
        finally:
            room.release()

    async def _request(self, due: float) -> None:
        number, self._sent = self._sent, self._sent + 1
        lag, work = self.elapsed - due, None
        try:
            work = await self._call(number)
            status = OK
        except loquor.LoquorError as error:
            status = error.code.name
        self.samples.append(Sample(due, lag, self.elapsed - due, status, work))
