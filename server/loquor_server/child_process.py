"""A process that this one started: waited for, asked to end, killed, reaped.

It is started by command line (posix_spawn or vfork underneath, never a copy of this process with its threads).
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

from loquor.internal.process import PARENT


class ChildProcess:
    """It has a session of its own, so that a signal to our group (Ctrl-C) reaches us alone, who pass on what is needed.

    Its stdout goes to our stderr: ours is for the line that says we are ready.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            start_new_session=True,
            env={**os.environ, PARENT: str(os.getpid())},
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exited(self) -> int:
        """Wait for its end and return the exit status, negative for a signal."""
        descriptor = os.pidfd_open(self._process.pid)
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()
        loop.add_reader(descriptor, gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        return self._process.wait()

    async def end(self, patience_seconds: float) -> int:
        """Ask it to end, kill it if it has not after `patience_seconds`, and return the exit status."""
        if self._process.poll() is None and patience_seconds:
            self.signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.exited(), patience_seconds)
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
            await self.exited()
        return self._process.wait()

    def kill(self) -> None:
        """End it now and reap it, without an event loop."""
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)
        self._process.wait()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
