"""A replica always gets its next worker: whatever ended the last one, and at a pace that is no storm."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from loquor_server.replica import LoadFailed, Replica, ReplicaEvents, ReplicaState, Watch
from loquor_server.supervisor import Supervisor
from tests.server.conftest import LocalWorker, MakeWorker

Launch = Callable[[], Awaitable[Any]]


def replica_of_one() -> Replica:
    events = ReplicaEvents(lambda: None, lambda _: None, lambda _: None, lambda _: None)
    return Replica(0, Watch(5.0, 5.0), events)


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.01)


class Launcher:
    """Starts local workers, each made ready at once unless told otherwise."""

    def __init__(self, make: MakeWorker, *, ready: bool = True) -> None:
        self.workers: list[LocalWorker] = []
        self._make = make
        self._ready = ready

    async def __call__(self) -> LocalWorker:
        self.workers.append(self._make())
        if self._ready:
            self.workers[-1].ready()
        return self.workers[-1]


async def test_it_starts_the_next_worker_when_one_ends(make_worker: MakeWorker) -> None:
    replica, launch = replica_of_one(), Launcher(make_worker)
    supervisor = Supervisor("model", replica, launch)
    await supervisor.first_ready
    for restarts in (1, 2):
        await asyncio.to_thread(launch.workers[-1].kill)
        await until(lambda restarts=restarts: len(launch.workers) == restarts + 1)  # type: ignore[misc]
        await until(lambda: replica.state is ReplicaState.READY)
        assert replica.restarts == restarts
        assert not replica.gave_up
    await supervisor.stop()
    assert replica.state is ReplicaState.STOPPED


async def test_a_start_that_raises_is_tried_again() -> None:
    attempts = itertools.count(1)

    async def launch() -> Any:
        if next(attempts) <= 3:
            raise OSError(11, "Resource temporarily unavailable")
        await asyncio.Event().wait()

    supervisor = Supervisor("model", replica_of_one(), launch)
    with pytest.raises(LoadFailed, match="could not be started"):
        await supervisor.first_ready
    await until(lambda: next(attempts) > 4)
    await supervisor.stop()


async def test_what_cannot_be_loaded_is_told_at_once_and_tried_again(make_worker: MakeWorker) -> None:
    replica, launch = replica_of_one(), Launcher(make_worker, ready=False)
    supervisor = Supervisor("model", replica, launch)
    await until(lambda: len(launch.workers) == 1)
    await asyncio.to_thread(launch.workers[0].link.fail, "config.json: is missing", 5.0)
    with pytest.raises(LoadFailed, match=r"config\.json"):
        await supervisor.first_ready
    assert replica.gave_up
    await until(lambda: len(launch.workers) == 2)
    launch.workers[1].ready()
    await until(lambda: replica.state is ReplicaState.READY)
    assert not replica.gave_up
    await supervisor.stop()


async def test_two_that_die_before_they_are_ready_are_enough_to_give_up(make_worker: MakeWorker) -> None:
    replica, launch = replica_of_one(), Launcher(make_worker, ready=False)
    supervisor = Supervisor("model", replica, launch)
    for number in (1, 2):
        await until(lambda number=number: len(launch.workers) == number)  # type: ignore[misc]
        assert not replica.gave_up
        await asyncio.to_thread(launch.workers[-1].kill)
    with pytest.raises(LoadFailed, match="failed to start"):
        await supervisor.first_ready
    assert replica.gave_up
    await supervisor.stop()


async def test_stop_ends_a_worker_that_is_still_loading(make_worker: MakeWorker) -> None:
    launch = Launcher(make_worker, ready=False)
    supervisor = Supervisor("model", replica_of_one(), launch)
    await until(lambda: len(launch.workers) == 1)
    async with asyncio.timeout(5):
        await supervisor.stop(60.0)
    assert len(launch.workers) == 1


async def test_the_pauses_grow_with_the_losses_and_have_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loquor_server.supervisor.random.uniform", lambda _low, high: high)

    async def launch() -> Any:
        await asyncio.Event().wait()

    supervisor = Supervisor("model", replica_of_one(), launch)
    pauses = []
    for _ in range(20):
        supervisor._failed(OSError("no process"))
        supervisor._failures = 0  # each was ready before it was lost
        pauses.append(supervisor._pause_seconds())
    assert pauses[:3] == [0.1, 0.1, 0.1]
    assert pauses == sorted(pauses)
    assert pauses[-1] == 30.0
    supervisor._losses = type(supervisor._losses)(time - 120 for time in supervisor._losses)
    supervisor._failed(OSError("no process"))
    assert supervisor._pause_seconds() == pytest.approx(0.2)
    await supervisor.stop()
