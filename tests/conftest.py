"""What the tests share: real servers as processes on free ports, and the folder of real models."""

import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from prometheus_client.parser import text_string_to_metric_families

# Examples are not timed, since the machine may be busy; where tests gate, they are the same every time.
settings.register_profile(
    "loquor", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("loquor")

ROOT = Path(__file__).resolve().parent.parent

_READY = re.compile(r"loquor is ready: serving .*? on (\S+?)(?:, metrics on http://(\S+)/metrics)?$")
_START_SECONDS = 90.0


class RunningServer:
    """A `loquor serve` of its own, with every line that it wrote."""

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        environment: dict[str, str] | None = None,
        program: str = "loquor_server",
    ) -> None:
        self.log = log
        with log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                env={**os.environ, **(environment or {})},
            )
        self.address, self.metrics_address = self._wait_ready()

    def workers(self) -> list[int]:
        """Process ids of its present workers."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"_worker" in _command_line(pid)]

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the samples of this name that have these labels."""
        with urllib.request.urlopen(f"http://{self.metrics_address}/metrics", timeout=10) as page:
            families = list(text_string_to_metric_families(page.read().decode()))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        assert samples, f"there is no metric {name}"
        return sum(sample.value for sample in samples if labels.items() <= sample.labels.items())

    def stop(self, seconds: float = 40.0) -> int:
        """SIGTERM, and the exit status; killed if it does not end."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
        return self.process.returncode

    def _wait_ready(self) -> tuple[str, str]:
        assert self.process.stdout is not None
        timer = threading.Timer(_START_SECONDS, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        timer.cancel()
        match = _READY.match(line.strip())
        if match is None:
            self.process.wait()
            self.process.stdout.close()
            raise RuntimeError(f"the server did not start (status {self.process.returncode}): {self.log.read_text()}")
        return match[1], match[2] or ""


def _command_line(pid: str) -> bytes:
    """Empty for a process that has gone meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


Serve = Callable[..., RunningServer]


@pytest.fixture(scope="session")
def models() -> Path:
    """The repository of real models, made by `make models`."""
    folder = ROOT / os.environ.get("LOQUOR_TEST_MODELS", "models")
    assert (folder / "minilm").is_dir(), f"{folder} lacks the real models: run `make models`"
    return folder


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts servers of a test's own: `serve("--models", "minilm", repository=folder)`. All are stopped at its end."""
    running: list[RunningServer] = []

    def start(*arguments: str, repository: Path, environment: dict[str, str] | None = None) -> RunningServer:
        flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(repository)]
        log = tmp_path / f"server-{len(running)}.log"
        server = RunningServer([*flags, "--threads", "1", *arguments], log, environment)
        running.append(server)
        return server

    yield start
    for server in running:
        server.stop()


@pytest.fixture(scope="session")
def server(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One server with the real models, shared by all tests that do it no harm."""
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(models)]
    log = tmp_path_factory.mktemp("server") / "log"
    running = RunningServer([*flags, "--models", "minilm,rampart", "--threads", "1", "--log-level", "debug"], log)
    yield running
    running.stop()
