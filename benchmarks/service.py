"""A process under measurement: started by command line, known by what it prints, stopped at the end.

It knows nothing of what the process serves.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
CACHE = ROOT / ".cache" / "benchmarks"

_START_SECONDS = 120.0
_STOP_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Service:
    """A context manager: the process runs inside the `with` block and is stopped when that is left."""

    def __init__(self, name: str, command: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._log = CACHE / "logs" / f"{name}.log"
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("wb") as log:
            # In a session of its own, since some servers leave processes behind when they end.
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def __enter__(self) -> "Service":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first match in what it prints. Raises `RuntimeError` if it ends or takes two minutes."""
        until = time.monotonic() + _START_SECONDS
        while time.monotonic() < until:
            if match := re.search(pattern, self._log.read_text(errors="replace")):
                return match
            self.check_running()
            time.sleep(0.05)
        raise RuntimeError(f"{self._log} says nothing like {pattern!r}")

    def check_running(self) -> None:
        """Raises `RuntimeError` with its last lines if it has ended."""
        if self._process.poll() is not None:
            last = "\n".join(self._log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"it ended with status {self._process.returncode}:\n{last}")

    def cpu_seconds(self) -> dict[str, float]:
        """What the process ("front") and its children ("workers") have used of the processors so far."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return {"front": _cpu_seconds(self._process.pid), "workers": sum(_cpu_seconds(int(pid)) for pid in children)}


def loquor(*arguments: str, repository: Path, name: str = "loquor", module: str = "loquor_server") -> Service:
    """`loquor serve` on a free port, with one thread in each worker."""
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(repository)]
    return Service(name, [sys.executable, "-m", module, *flags, "--threads", "1", *arguments])


def address_of(server: Service) -> str:
    """Where a `loquor` listens, once it is ready."""
    return server.wait_for(r"loquor is ready: serving .*? on ([^,\s]+)")[1]


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
