"""Who asks and how long they wait: what every request carries beside its message."""

import math
import random
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from loquor_server.errors import DeadlineExceeded, InvalidArgument

FIRST_PRIORITY, DEFAULT_PRIORITY, LAST_PRIORITY = 1, 5, 9

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class Caller:
    """`deadline` is on the clock of `time.monotonic`, infinite if the caller set none."""

    request_id: str
    deadline: float = math.inf
    priority: int = DEFAULT_PRIORITY

    def seconds_left(self) -> float:
        return self.deadline - time.monotonic()

    def check_deadline(self) -> None:
        if self.deadline <= time.monotonic():
            raise DeadlineExceeded("the deadline passed before the request was admitted")

    def within(self, seconds: float) -> "Caller":
        """The same caller with a deadline at most `seconds` from now."""
        return replace(self, deadline=min(self.deadline, time.monotonic() + seconds))

    def at_priority(self, priority: int) -> "Caller":
        return replace(self, priority=priority)


def read_caller(metadata: Iterable[tuple[str, str | bytes]], seconds_left: float | None) -> Caller:
    """From the metadata and the deadline of a call. Raises `InvalidArgument`."""
    request_id, priority = "", DEFAULT_PRIORITY
    for key, value in metadata:
        if key == "x-request-id":
            request_id = _request_id(value)
        elif key == "loquor-priority":
            priority = _priority(value)
    deadline = math.inf if seconds_left is None else time.monotonic() + seconds_left
    return Caller(request_id or new_request_id(), deadline, priority)


def new_request_id() -> str:
    """Unlikely to be one that was given before; no secret."""
    return f"{random.getrandbits(64):016x}"


def _request_id(value: str | bytes) -> str:
    if isinstance(value, bytes) or not _REQUEST_ID.fullmatch(value):
        raise InvalidArgument("metadata x-request-id", "takes 1 to 128 printable ASCII characters without blanks")
    return value


def _priority(value: str | bytes) -> int:
    if isinstance(value, str) and len(value) == 1 and value.isascii() and value.isdigit():
        level = int(value)
        if FIRST_PRIORITY <= level <= LAST_PRIORITY:
            return level
    raise InvalidArgument("metadata loquor-priority", f"takes a number from {FIRST_PRIORITY} to {LAST_PRIORITY}")
