"""How much a model takes on at a time: permits, counted in requests and in tokens.

A permit is held from the end of tokenization until the request has ended, by whatever door it leaves. What is refused
here costs nothing further. It knows neither the queue's order nor the workers.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from loquor_server.caller import Caller
from loquor_server.errors import InvalidArgument, Overloaded

_SHORTEST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.05, 30.0
_LEAST_SECONDS, _FORGET_SECONDS = 0.2, 10.0


class Pace:
    """Tokens that the workers answer per second when they have all they can take, an exponential mean.

    Only the time between two answers with a queue behind the first one counts: what an idle server answers says how
    little it was asked, not how much it can do. What was learned is forgotten after a while, since a wrong belief would
    refuse the very requests that could correct it.
    """

    def __init__(self) -> None:
        self._tokens = 0.0
        self._seconds = 0.0
        self._last = 0.0
        self._learned_at = -_FORGET_SECONDS
        self._queued = False

    def note(self, tokens: int, now: float, *, queued: bool) -> None:
        """Note an answer of so many tokens; `queued` is whether requests still wait that no worker has room for."""
        gap = now - self._last
        counts = self._queued
        self._last, self._queued = now, queued
        if counts:
            kept = max(0.0, 1.0 - (now - self._learned_at) / _FORGET_SECONDS)
            self._tokens = self._tokens * kept + tokens
            self._seconds = self._seconds * kept + gap
            self._learned_at = now

    def tokens_per_second(self, now: float) -> float:
        """0 while it is not known."""
        known = self._seconds >= _LEAST_SECONDS and now - self._learned_at < _FORGET_SECONDS
        return self._tokens / self._seconds if known else 0.0


class Admission:
    """The permits of one model. `most_requests` counts texts or rows, `most_tokens` tokens or rows."""

    def __init__(self, most_requests: int, most_tokens: int) -> None:
        self.most_requests = most_requests
        self.most_tokens = most_tokens
        self.requests = 0
        self.tokens = 0
        self._pace = Pace()

    @contextmanager
    def permit(self, caller: Caller, requests: int, tokens: int, *, estimates: bool = True) -> Iterator[None]:
        """Hold room for `requests` texts of `tokens` tokens together.

        `estimates` is whether tokens say how long it will take: of a text to be written they are only the most. Raises
        `InvalidArgument` if they could never fit, `Overloaded` if they do not fit now or could not be answered before
        the caller's deadline, and `DeadlineExceeded` if that has passed.
        """
        self._check(caller, requests, tokens, estimates=estimates)
        self.requests += requests
        self.tokens += tokens
        try:
            yield
        finally:
            self.requests -= requests
            self.tokens -= tokens

    def check_requests(self, requests: int) -> None:
        """Raises `InvalidArgument` if so many could never be admitted at once."""
        if requests > self.most_requests:
            raise InvalidArgument(
                "request", f"holds {requests} texts, the queue takes {self.most_requests} at the most"
            )

    def note_answer(self, tokens: int, *, queued: bool) -> None:
        """Note an answer of a worker; `queued` is whether requests still wait that no worker has room for."""
        self._pace.note(tokens, time.monotonic(), queued=queued)

    def expected_wait_seconds(self) -> float:
        """How long what is admitted now will take, at the pace of the recent past; 0 while that is unknown."""
        pace = self._pace.tokens_per_second(time.monotonic())
        return self.tokens / pace if pace else 0.0

    def _check(self, caller: Caller, requests: int, tokens: int, *, estimates: bool) -> None:
        caller.check_deadline()
        self.check_requests(requests)
        if tokens > self.most_tokens:
            raise InvalidArgument("request", f"holds {tokens} tokens, the queue takes {self.most_tokens} at the most")
        wait = self.expected_wait_seconds()
        if self.requests + requests > self.most_requests or self.tokens + tokens > self.most_tokens:
            raise Overloaded("the queue of the model is full", self._retry_seconds(wait))
        if estimates and wait > caller.seconds_left():
            raise Overloaded("the queue of the model is too long for the deadline", self._retry_seconds(wait))

    def _retry_seconds(self, wait: float) -> float:
        """When about half of what is admitted will have been answered."""
        return min(max(wait / 2, _SHORTEST_RETRY_SECONDS), _LONGEST_RETRY_SECONDS)
