"""Who asks and how long they wait, out of a call's metadata."""

import math
import time

import pytest

from loquor_server.caller import Caller, read_caller
from loquor_server.errors import DeadlineExceeded, InvalidArgument


def test_without_metadata_a_caller_gets_an_id_and_the_middle_priority() -> None:
    one, other = read_caller([], None), read_caller([], None)
    assert one.request_id != other.request_id
    assert (one.priority, one.deadline) == (5, math.inf)


def test_what_the_metadata_says() -> None:
    before = time.monotonic()
    caller = read_caller([("x-request-id", "abc-1"), ("loquor-priority", "2"), ("user-agent", "any")], 3.0)
    assert (caller.request_id, caller.priority) == ("abc-1", 2)
    assert before + 3.0 <= caller.deadline <= time.monotonic() + 3.0
    assert 2.5 < caller.seconds_left() <= 3.0


@pytest.mark.parametrize("value", ["", "x" * 129, "a b", "a\tb", "ä", "a\n", b"bytes"])
def test_an_id_that_could_hurt_a_log_is_refused(value: str | bytes) -> None:
    with pytest.raises(InvalidArgument, match="x-request-id"):
        read_caller([("x-request-id", value)], None)


@pytest.mark.parametrize("value", ["", "0", "10", "-1", "1.0", " 1", "²", "٣", b"1"])
def test_a_priority_that_is_none_is_refused(value: str | bytes) -> None:
    with pytest.raises(InvalidArgument, match="loquor-priority"):
        read_caller([("loquor-priority", value)], None)


def test_the_nearer_deadline_holds() -> None:
    caller = Caller("id", time.monotonic() + 10)
    assert caller.within(1.0).seconds_left() <= 1.0
    assert caller.within(60.0).deadline == caller.deadline
    assert caller.at_priority(1).priority == 1


def test_a_passed_deadline_raises() -> None:
    Caller("id").check_deadline()
    with pytest.raises(DeadlineExceeded):
        Caller("id", time.monotonic() - 0.001).check_deadline()
