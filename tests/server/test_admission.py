"""Permits: what is taken is given back, what never fits is told from what does not fit now."""

import time
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loquor_server.admission import Admission, Pace
from loquor_server.caller import Caller
from loquor_server.errors import DeadlineExceeded, InvalidArgument, Overloaded

ANYBODY = Caller("anybody")


def test_a_permit_is_held_within_and_given_back_after() -> None:
    admission = Admission(10, 100)
    with admission.permit(ANYBODY, 2, 30):
        assert (admission.requests, admission.tokens) == (2, 30)
    assert (admission.requests, admission.tokens) == (0, 0)


def test_a_failure_gives_the_permit_back() -> None:
    admission = Admission(10, 100)
    with pytest.raises(KeyError), admission.permit(ANYBODY, 2, 30):
        raise KeyError
    assert (admission.requests, admission.tokens) == (0, 0)


@pytest.mark.parametrize(("requests", "tokens"), [(11, 1), (1, 101)])
def test_what_never_fits_is_the_callers_fault(requests: int, tokens: int) -> None:
    with pytest.raises(InvalidArgument), Admission(10, 100).permit(ANYBODY, requests, tokens):
        pass


@pytest.mark.parametrize(("requests", "tokens"), [(10, 1), (1, 100)])
def test_what_does_not_fit_now_is_to_be_tried_again(requests: int, tokens: int) -> None:
    admission = Admission(10, 100)
    with admission.permit(ANYBODY, 1, 1):
        with pytest.raises(Overloaded) as refusal, admission.permit(ANYBODY, requests, tokens):
            pass
        assert (admission.requests, admission.tokens) == (1, 1)
    assert refusal.value.retry_after_seconds is not None
    assert refusal.value.retry_after_seconds > 0


def test_a_passed_deadline_gets_no_permit() -> None:
    with pytest.raises(DeadlineExceeded), Admission(10, 100).permit(Caller("late", time.monotonic() - 1), 1, 1):
        pass


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    admission = Admission(1000, 100_000)
    now = time.monotonic()
    for step in range(5):
        admission._pace.note(100, now - 1 + step * 0.1, queued=True)
    with admission.permit(ANYBODY, 10, 5000):  # five seconds of work
        with pytest.raises(Overloaded, match="deadline"), admission.permit(Caller("hasty", now + 1), 1, 1):
            pass
        with admission.permit(Caller("patient", now + 60), 1, 1):
            pass


def test_a_server_that_was_asked_little_takes_a_burst() -> None:
    """One short request now and then says nothing of how much the workers can do."""
    admission = Admission(1000, 100_000)
    now = time.monotonic()
    for second in range(20):
        admission._pace.note(5, now - 20 + second, queued=False)
    with ExitStack() as burst:
        for _ in range(100):
            burst.enter_context(admission.permit(Caller("hasty", time.monotonic() + 5), 1, 128))
        assert admission.requests == 100


def test_the_pace_is_that_of_a_full_queue() -> None:
    pace = Pace()
    for step in range(11):
        pace.note(50, step * 0.1, queued=True)
    assert pace.tokens_per_second(1.0) == pytest.approx(500)
    pace.note(50, 9.0, queued=False)  # the worker was away for eight seconds
    assert pace.tokens_per_second(9.0) < 100


def test_the_pace_is_forgotten() -> None:
    pace = Pace()
    for step in range(11):
        pace.note(50, step * 0.1, queued=True)
    assert pace.tokens_per_second(10.9) > 0
    assert pace.tokens_per_second(11.1) == 0


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(1, 60)), max_size=30))
def test_there_is_never_more_than_the_most(asks: list[tuple[int, int]]) -> None:
    admission = Admission(20, 100)
    held: list[tuple[int, int]] = []
    with ExitStack() as stack:
        for requests, tokens in asks:
            try:
                stack.enter_context(admission.permit(ANYBODY, requests, tokens))
            except Overloaded:
                full = sum(r for r, _ in held) + requests > 20 or sum(t for _, t in held) + tokens > 100
                assert full
            else:
                held.append((requests, tokens))
            assert (admission.requests, admission.tokens) == (sum(r for r, _ in held), sum(t for _, t in held))
    assert (admission.requests, admission.tokens) == (0, 0)
