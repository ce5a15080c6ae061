"""How the server ends: calls under way are answered, new ones refused, and nothing of it stays."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from loquor.v1 import language_service_pb2 as api
from tests.end_to_end.load import embedding_stub
from tests.end_to_end.test_chaos import marked, until

SLOW = api.EmbedRequest(model="fake", texts=["slow " * 198])


class Started:
    """A server that may not be ready yet, with a temporary folder of its own."""

    def __init__(self, program: str, folder: Path, log: Path, *arguments: str) -> None:
        self.mark = f"{os.getpid()}-{time.monotonic_ns()}"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.socket = folder / "front.sock"
        self.log = log
        environment = {**os.environ, "TMPDIR": str(self.temporary), "LOQUOR_TEST_MARK": self.mark}
        address = ("--address", f"unix:{self.socket}", "--metrics-address", "", "--threads", "1")
        with self.log.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", program, *address, *arguments],
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment,
                start_new_session=True,
            )

    def wait_ready(self) -> None:
        assert self.process.stdout is not None
        assert b"loquor is ready" in self.process.stdout.readline(), self.log.read_text()

    async def gone(self, seconds: float) -> int:
        """The exit status, once nothing of it is left: no process, no socket, no file."""
        status: int = await asyncio.to_thread(self.process.wait, seconds)
        await until(lambda: not marked(self.mark), 2)
        assert list(self.temporary.iterdir()) == []
        assert status == 1 or not self.socket.exists()  # who leaves at once leaves the public socket
        return status

    def channel(self) -> grpc.aio.Channel:
        """It dials a socket that is not there yet as often as a test may look."""
        pauses = ("grpc.initial_reconnect_backoff_ms", "grpc.min_reconnect_backoff_ms", "grpc.max_reconnect_backoff_ms")
        return grpc.aio.insecure_channel(f"unix:{self.socket}", options=[(pause, 10) for pause in pauses])


Start = Callable[..., Started]


@pytest.fixture
def start(fake_repository: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Started] = []
    folders: list[tempfile.TemporaryDirectory[str]] = []  # a socket's path is to be short

    def start_one(*arguments: str, program: str = "tests.end_to_end.fake_serve") -> Started:
        folders.append(tempfile.TemporaryDirectory(prefix="lq"))
        if "--repository" not in arguments:
            arguments = ("--repository", str(fake_repository), *arguments)
        started.append(Started(program, Path(folders[-1].name), tmp_path / f"{len(started)}.log", *arguments))
        return started[-1]

    yield start_one
    for one in started:
        one.process.kill()
        one.process.wait()
        if one.process.stdout is not None:
            one.process.stdout.close()
    for folder in folders:
        folder.cleanup()


async def test_calls_under_way_are_answered_and_new_ones_refused(start: Start) -> None:
    server = start()
    server.wait_ready()
    async with server.channel() as channel:
        stub = embedding_stub(channel)
        asked = [asyncio.ensure_future(stub.Embed(SLOW, timeout=20)) for _ in range(4)]
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.Embed(SLOW, timeout=20)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        answers = await asyncio.gather(*asked)
        ended = time.monotonic()
        assert [len(answer.embeddings) for answer in answers] == [1] * 4
        assert await server.gone(10) == 0
        assert time.monotonic() - ended < 2.5


async def test_a_stream_answers_what_it_has_read(start: Start) -> None:
    server = start()
    server.wait_ready()
    async with server.channel() as channel:
        call = embedding_stub(channel).EmbedStream()
        for number in range(3):
            await call.write(api.EmbedStreamRequest(id=str(number), request=SLOW))
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        answered = {(await call.read()).id for _ in range(3)}
        assert answered == {"0", "1", "2"}
        assert await call.code() is grpc.StatusCode.UNAVAILABLE
        assert await server.gone(10) == 0


async def test_the_drain_has_an_end(start: Start) -> None:
    server = start("--drain-seconds", "0.5")
    server.wait_ready()
    async with server.channel() as channel:
        stub = embedding_stub(channel)
        asked = [asyncio.ensure_future(stub.Embed(SLOW, timeout=60)) for _ in range(20)]
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert await server.gone(8) == 0
        ends = await asyncio.gather(*asked, return_exceptions=True)
        assert any(isinstance(end, grpc.aio.AioRpcError) for end in ends)


async def test_a_second_signal_leaves_at_once(start: Start) -> None:
    server = start()
    server.wait_ready()
    async with server.channel() as channel:
        stub = embedding_stub(channel)
        asked = [asyncio.ensure_future(stub.Embed(SLOW, timeout=60)) for _ in range(20)]
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        assert await server.gone(1) == 1
        await asyncio.gather(*asked, return_exceptions=True)


async def test_ctrl_c_reaches_the_whole_group_and_ends_it_in_order(start: Start) -> None:
    server = start()
    server.wait_ready()
    async with server.channel() as channel:
        asked = asyncio.ensure_future(embedding_stub(channel).Embed(SLOW, timeout=20))
        await asyncio.sleep(0.2)
        os.killpg(server.process.pid, signal.SIGINT)
        assert len((await asked).embeddings) == 1
    assert await server.gone(5) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8, 1.1])
async def test_a_signal_before_all_is_ready_ends_it_too(start: Start, seconds: float, number: signal.Signals) -> None:
    server = start()
    await asyncio.sleep(seconds)
    os.killpg(server.process.pid, number)
    status = await server.gone(8)
    assert status in (0, -number)
    # Before the server's own first line runs, a signal is Python's to answer, and on Ctrl-C it says where it was.
    assert status == -number or "Traceback" not in server.log.read_text()


async def test_a_signal_while_a_real_model_loads_ends_it(start: Start, models: Path) -> None:
    server = start("--repository", str(models), "--models", "minilm", program="loquor_server")
    await asyncio.sleep(2.0)
    server.process.send_signal(signal.SIGTERM)
    assert await server.gone(5) == 0
