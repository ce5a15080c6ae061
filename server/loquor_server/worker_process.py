"""One worker as an operating-system process, and the private folder of the workers' sockets.

It knows nothing of models or streams. It imports little, so that workers can be started before the server has read
its own modules: their start is the longer one.
"""

import itertools
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from loquor_server.child_process import ChildProcess
from loquor_server.errors import StartFailed

# The kernel's 108 bytes, less the end of the text and the name of a socket.
_LONGEST_FOLDER = 107 - len("/1234567.sock")
_START_NANOSECONDS = time.time_ns()
_count = itertools.count()


def new_epoch() -> int:
    """A number that no worker had before, in this server or an earlier one."""
    return _START_NANOSECONDS + next(_count)


class SocketDirectory:
    """A private folder (mode 0700) for the sockets of the workers; gone when the server is.

    Raises `StartFailed` if its path is too long for sockets, or there is no place for it.
    """

    def __init__(self) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(prefix="loquor-")
        except OSError as error:
            raise StartFailed(f"no temporary folder: {error.strerror}; set TMPDIR to one that can be written") from None
        self.path = Path(self._folder.name)
        if len(self._folder.name.encode()) > _LONGEST_FOLDER:
            self.close()
            raise StartFailed(f"the temporary folder {self.path.parent} is too long for sockets; set TMPDIR to another")

    def close(self) -> None:
        self._folder.cleanup()


class WorkerProcess:
    """A started worker. `address` is where it listens, or will; `program` is the module that it runs."""

    program = "loquor_worker"

    def __init__(self, sockets: SocketDirectory, arguments: Sequence[str]) -> None:
        self.epoch = new_epoch()
        self._socket = sockets.path / f"{self.epoch - _START_NANOSECONDS}.sock"
        self.address = f"unix:{self._socket}"
        command = [sys.executable, "-m", self.program, "--address", self.address, "--epoch", str(self.epoch)]
        self._process = ChildProcess([*command, *arguments])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def exited(self) -> int:
        """Wait for its end and return the exit status, negative for a signal."""
        return await self._process.exited()

    async def end(self, patience_seconds: float) -> int:
        """As `ChildProcess.end`; its socket is gone, too."""
        status = await self._process.end(patience_seconds)
        self._socket.unlink(missing_ok=True)
        return status

    def kill(self) -> None:
        self._process.kill()
