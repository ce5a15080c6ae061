"""What a worker was handed: how much it is, what has given something already, and who is to have nobody beside it."""

import asyncio

import pytest

from loquor_server.running import Running
from tests.server.conftest import MakePending


@pytest.fixture
def running() -> Running:
    return Running()


async def test_it_counts_what_runs(running: Running, make_pending: MakePending) -> None:
    short, long = make_pending([1]), make_pending([1, 2, 3])
    for id, pending in enumerate((short, long), 1):
        pending.submission.id = id
        running.add(pending)
    assert (len(running), running.rows, running.tokens, running.silent) == (2, 2, 4, 2)
    assert running.release(2) is long
    assert running.release(2) is None
    assert (len(running), running.rows, running.tokens, running.silent) == (1, 1, 1, 1)
    assert list(running) == [short]
    assert short in running
    assert long not in running


async def test_what_gives_something_and_goes_on_is_silent_no_more(running: Running, make_pending: MakePending) -> None:
    one, other = make_pending([1]), make_pending([2])
    for id, pending in enumerate((one, other), 1):
        pending.submission.id = id
        running.add(pending)
    assert running.hear(1) is one
    assert running.hear(1) is one
    assert running.hear(3) is None
    assert (running.silent, len(running)) == (1, 2)
    running.release(1)
    assert running.silent == 1
    running.release(2)
    assert running.silent == 0


async def test_one_is_alone_until_it_gives_something_or_is_gone(running: Running, make_pending: MakePending) -> None:
    beside, suspect = make_pending([1]), make_pending([2])
    beside.submission.id, suspect.submission.id, suspect.submission.alone = 1, 2, True
    running.add(beside)
    running.hear(1)
    running.add(suspect)
    running.hear(1)
    assert running.alone
    running.hear(2)
    assert not running.alone
    running.release(2)
    running.add(suspect)
    assert (running.alone, running.silent) == (True, 1)
    running.release(2)
    assert (running.alone, running.silent) == (False, 0)


async def test_what_is_lost_may_run_again_from_the_start(running: Running, make_pending: MakePending) -> None:
    heard = make_pending([1])
    heard.submission.id = 1
    running.add(heard)
    running.hear(1)
    assert running.lose() == [heard]
    assert (len(running), running.tokens, running.silent) == (0, 0, 0)
    running.add(heard)
    assert running.silent == 1


async def test_idle_waits_for_the_last(running: Running, make_pending: MakePending) -> None:
    pending = make_pending([1])
    pending.submission.id = 1
    running.add(pending)
    waiting = asyncio.create_task(running.idle())
    await asyncio.sleep(0)
    running.hear(1)
    await asyncio.sleep(0)
    assert not waiting.done()
    running.release(1)
    await asyncio.wait_for(waiting, 1)
