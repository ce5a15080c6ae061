"""Ctrl-C held back for a moment.

gRPC's blocking stack registers a call in C first and then, in Python, starts the thread that will see it end. A
KeyboardInterrupt between the two leaves a call that never ends, and a channel that waits for it for ever when it is
closed (seen with grpcio 1.85.1).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_interrupts() -> Iterator[None]:
    """A Ctrl-C inside raises KeyboardInterrupt at the end. Other handlers than Python's own are left alone."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    held: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if held:
        raise KeyboardInterrupt
