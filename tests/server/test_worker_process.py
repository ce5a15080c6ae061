"""A worker as a process: started, ended or killed, reaped; and the folder of the sockets."""

import asyncio
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loquor_server.errors import StartFailed
from loquor_server.worker_process import SocketDirectory, WorkerProcess, new_epoch


@pytest.fixture
def sockets() -> Iterator[SocketDirectory]:
    made = SocketDirectory()
    yield made
    made.close()


def start(sockets: SocketDirectory, folder: Path, source: str) -> WorkerProcess:
    """A worker whose program is this source."""
    (folder / "stand_in.py").write_text(source)

    class StandIn(WorkerProcess):
        program = "stand_in"

    os.environ["PYTHONPATH"] = str(folder)
    try:
        return StandIn(sockets, ["--flag", "value"])
    finally:
        del os.environ["PYTHONPATH"]


TALKATIVE = """
import sys
open(__file__.replace("stand_in.py", "said"), "w").write(" ".join(sys.argv[1:]))
sys.exit(3)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def test_it_is_told_where_to_listen_and_its_end_is_noticed(sockets: SocketDirectory, tmp_path: Path) -> None:
    worker = start(sockets, tmp_path, TALKATIVE)
    async with asyncio.timeout(20):
        assert await worker.exited() == 3
    said = (tmp_path / "said").read_text()
    assert said == f"--address {worker.address} --epoch {worker.epoch} --flag value"
    assert worker.address.startswith(f"unix:{sockets.path}/")
    assert await worker.end(1.0) == 3


async def test_it_is_asked_first(sockets: SocketDirectory, tmp_path: Path) -> None:
    worker = start(sockets, tmp_path, "import signal, sys; signal.signal(15, lambda *_: sys.exit(7)); signal.pause()")
    await asyncio.sleep(0.5)
    async with asyncio.timeout(20):
        assert await worker.end(15.0) in (7, -15)


async def test_one_that_does_not_listen_is_killed(sockets: SocketDirectory, tmp_path: Path) -> None:
    worker = start(sockets, tmp_path, STUBBORN)
    await asyncio.sleep(0.5)
    async with asyncio.timeout(20):
        assert await worker.end(0.3) in (-9, -15)
    assert not is_there(worker.pid)


async def test_without_patience_it_is_killed_at_once(sockets: SocketDirectory, tmp_path: Path) -> None:
    worker = start(sockets, tmp_path, STUBBORN)
    assert await worker.end(0) == -9
    assert not is_there(worker.pid)


def test_epochs_grow() -> None:
    epochs = [new_epoch() for _ in range(100)]
    assert epochs == sorted(set(epochs))


def test_nobody_else_can_look_into_the_folder_and_it_goes(sockets: SocketDirectory) -> None:
    assert stat.S_IMODE(sockets.path.stat().st_mode) == 0o700
    (sockets.path / "left.sock").touch()
    sockets.close()
    assert not sockets.path.exists()


def test_a_folder_too_long_for_sockets_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with pytest.raises(StartFailed, match="TMPDIR"):
        SocketDirectory()
    assert list(long.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(StartFailed, match="TMPDIR"):
        SocketDirectory()
