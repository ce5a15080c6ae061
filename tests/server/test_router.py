"""Late binding: nothing leaves the queue before somebody has room for it."""

import asyncio
from collections.abc import Callable

from loquor_server.pending_request import PendingRequest
from loquor_server.request_queue import RequestQueue
from loquor_server.router import Router

Make = Callable[..., PendingRequest]


class Place:
    """Takes so many tokens."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.running_tokens = 0
        self.assigned: list[PendingRequest] = []
        self.flushed: list[int] = []

    def has_room(self, pending: PendingRequest) -> bool:
        return self.running_tokens + pending.tokens <= self.room

    def assign(self, pending: PendingRequest) -> None:
        assert self.has_room(pending)
        self.assigned.append(pending)
        self.running_tokens += pending.tokens

    def flush(self) -> None:
        self.flushed.append(len(self.assigned))


async def settle() -> None:
    for _ in range(16):
        await asyncio.sleep(0)


async def test_what_has_no_room_stays_in_the_queue(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(5)
    router = Router(queue)
    router.add(place)
    requests = [make_pending([1, 2]) for _ in range(3)]
    for request in requests:
        queue.push(request)
    router.wake()
    await settle()
    assert place.assigned == requests[:2]
    assert queue.first() is requests[2]
    place.running_tokens = 0
    router.wake()
    await settle()
    assert place.assigned == requests


async def test_all_of_one_turn_goes_in_one_message(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(100)
    router = Router(queue)
    router.add(place)
    await settle()
    place.flushed.clear()
    for _ in range(10):
        queue.push(make_pending())
        router.wake()
    await settle()
    assert place.flushed == [10]


async def test_after_several_at_once_those_of_near_turns_go_in_one_message(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(100)
    router = Router(queue)
    router.add(place)
    queue.push(make_pending())
    queue.push(make_pending())
    router.wake()
    await settle()
    assert place.flushed[-1] == 2
    place.flushed.clear()
    for _ in range(5):
        queue.push(make_pending())
        router.wake()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    assert place.flushed == []
    await settle()
    assert place.flushed == [7]


async def test_one_at_a_time_is_sent_at_once(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(100)
    router = Router(queue)
    router.add(place)
    queue.push(make_pending())
    queue.push(make_pending())
    router.wake()
    await settle()
    for _ in range(8):
        queue.push(make_pending())
        router.wake()
        await settle()
    place.flushed.clear()
    queue.push(make_pending())
    router.wake()
    await asyncio.sleep(0)
    assert place.flushed == [11]


async def test_what_never_stops_coming_is_sent_all_the_same(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(1000)
    router = Router(queue)
    router.add(place)
    for _ in range(100):
        queue.push(make_pending())
        router.wake()
        await asyncio.sleep(0)
    assert len(place.assigned) > 50


async def test_the_least_loaded_gets_the_next(make_pending: Make) -> None:
    queue = RequestQueue()
    places = [Place(10), Place(10)]
    router = Router(queue)
    for place in places:
        router.add(place)
    for _ in range(6):
        queue.push(make_pending([1, 2]))
    router.wake()
    await settle()
    assert [len(place.assigned) for place in places] == [3, 3]


async def test_the_first_in_the_queue_is_not_overtaken_by_a_smaller_one(make_pending: Make) -> None:
    queue = RequestQueue()
    place = Place(4)
    place.running_tokens = 2
    router = Router(queue)
    router.add(place)
    long, short = make_pending([1] * 4), make_pending([1])
    queue.push(long)
    queue.push(short)
    router.wake()
    await settle()
    assert place.assigned == []
    place.running_tokens = 0
    router.wake()
    await settle()
    assert place.assigned == [long]
