"""One worker as an operating-system process: started by command line, ended by signal, reaped.

It knows nothing of models or streams. It imports little, so that workers can be started before the server has read
its own modules: their start is the longer one.
"""

import asyncio
import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

_START_NANOSECONDS = time.time_ns()
_count = itertools.count()


def new_epoch() -> int:
    """A number that no worker had before, in this server or an earlier one."""
    return _START_NANOSECONDS + next(_count)


class SocketDirectory:
    """A private folder (mode 0700) for the sockets of the workers; gone when the server is."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="loquor-")
        self.path = Path(self._folder.name)

    def close(self) -> None:
        self._folder.cleanup()


class WorkerProcess:
    """A started worker. `address` is where it listens, or will."""

    def __init__(self, sockets: SocketDirectory, arguments: Sequence[str]) -> None:
        self.epoch = new_epoch()
        self._socket = sockets.path / f"{self.epoch}.sock"
        self.address = f"unix:{self._socket}"
        command = [sys.executable, "-m", "loquor_worker", "--address", self.address, "--epoch", str(self.epoch)]
        self._process = subprocess.Popen([*command, *arguments], stdin=subprocess.DEVNULL, stdout=sys.stderr)  # noqa: S603

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
        if self._process.poll() is None:
            self._signal(signal.SIGTERM if patience_seconds else signal.SIGKILL)
            try:
                await asyncio.wait_for(self.exited(), patience_seconds or None)
            except TimeoutError:
                self._signal(signal.SIGKILL)
                await self.exited()
        self._socket.unlink(missing_ok=True)
        return self._process.wait()

    def kill(self) -> None:
        """End it now and reap it, without an event loop."""
        if self._process.poll() is None:
            self._signal(signal.SIGKILL)
        self._process.wait()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
