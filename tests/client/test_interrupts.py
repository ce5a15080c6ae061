"""Ctrl-C is held back where it must be, and nowhere else."""

import signal
import threading

import pytest

from loquor._interrupts import held_interrupts


def test_an_interrupt_comes_at_the_end() -> None:
    reached: list[bool] = []

    def interrupted() -> None:
        with held_interrupts():
            signal.raise_signal(signal.SIGINT)
            reached.append(True)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert reached
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_one_nothing_happens_and_an_error_is_itself() -> None:
    with held_interrupts():
        pass
    with pytest.raises(RuntimeError, match="its own"), held_interrupts():
        raise RuntimeError("its own")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_programs_own_is_called_at_once() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        with held_interrupts():
            signal.raise_signal(signal.SIGINT)
            assert seen == [signal.SIGINT]
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_may_use_it() -> None:
    done = threading.Event()

    def use() -> None:
        with held_interrupts():
            done.set()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert done.is_set()
