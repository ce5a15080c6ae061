"""What a process that another one starts does first.

`PARENT` is the environment variable by which it is told whose child it is: by the time it could look for itself, its
parent may have died.
"""

import ctypes
import os
import signal
import sys

PARENT = "LOQUOR_PARENT"

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


def guard(*, dies_with_parent: bool) -> None:
    """Leave the terminal's Ctrl-C to the process that started this one, and die with it if so asked."""
    if dies_with_parent:
        parent = int(os.environ.get(PARENT, os.getppid()))
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that started this one has ended")
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def keep_memory_private() -> None:
    """Leave no memory in core files, and let no other user's process read it."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
