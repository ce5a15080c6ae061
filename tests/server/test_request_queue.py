"""The order of the queue, and what becomes of requests that ended in it."""

import time
from collections.abc import Callable, Sequence

from loquor_server.errors import Unavailable
from loquor_server.pending_request import PendingRequest
from loquor_server.request_queue import RequestQueue
from tests.server.conftest import future_of

Make = Callable[..., PendingRequest]


def taken(queue: RequestQueue) -> Sequence[PendingRequest]:
    order = []
    while queue.first() is not None:
        order.append(queue.pop())
    return order


async def test_priority_then_arrival(make_pending: Make) -> None:
    queue = RequestQueue()
    requests = [make_pending(priority=priority) for priority in (5, 1, 9, 5, 1)]
    for request in requests:
        queue.push(request)
    assert taken(queue) == [requests[index] for index in (1, 4, 0, 3, 2)]


async def test_a_request_that_comes_back_keeps_its_turn(make_pending: Make) -> None:
    queue = RequestQueue()
    first, second = make_pending(), make_pending()
    second.call.queued_at = first.call.queued_at + 1
    queue.push(second)
    queue.push(first)
    assert queue.first() is first
    assert queue.pop() is first
    queue.push(first)
    assert taken(queue) == [first, second]


async def test_ended_requests_are_passed_over(make_pending: Make) -> None:
    queue = RequestQueue()
    requests = [make_pending() for _ in range(4)]
    for request in requests:
        queue.push(request)
    future_of(requests[0]).cancel()
    future_of(requests[2]).cancel()
    assert taken(queue) == [requests[1], requests[3]]
    assert queue.first() is None


async def test_cancelled_requests_do_not_pile_up_behind_one_that_waits(make_pending: Make) -> None:
    queue = RequestQueue()
    waiting = make_pending(priority=1)
    queue.push(waiting)
    started = time.monotonic()
    for _ in range(20_000):
        gone = make_pending()
        queue.push(gone)
        future_of(gone).cancel()
    assert len(queue) <= 512
    assert queue.first() is waiting
    assert time.monotonic() - started < 5


async def test_drain_gives_out_what_has_not_ended(make_pending: Make) -> None:
    queue = RequestQueue()
    live, dead = make_pending(), make_pending()
    queue.push(live)
    queue.push(dead)
    dead.call.fail(Unavailable("gone"))
    assert queue.drain() == [live]
    assert len(queue) == 0
    assert isinstance(future_of(dead).exception(), Unavailable)
