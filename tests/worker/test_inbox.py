"""The inbox gives out all there is, and waits only when there is nothing."""

import threading
import time

from loquor_worker.inbox import Cancelled, Inbox, Stop


def test_it_gives_out_all_there_is_in_order() -> None:
    inbox = Inbox()
    messages = [Cancelled(object(), [number]) for number in range(5)]
    for message in messages:
        inbox.put(message)
    assert inbox.take(None) == messages
    assert inbox.take(0) == []


def test_it_waits_for_the_first_one_as_long_as_it_may() -> None:
    inbox = Inbox()
    started = time.monotonic()
    assert inbox.take(0.1) == []
    assert 0.09 < time.monotonic() - started < 1.0


def test_a_message_wakes_whoever_waits_for_ever() -> None:
    inbox = Inbox()
    threading.Timer(0.05, inbox.put, [Stop()]).start()
    assert inbox.take(None) == [Stop()]
