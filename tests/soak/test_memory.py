"""Memory stays flat over minutes of calls, some cancelled and some bad; and a server that leaks is found out.

`LOQUOR_SOAK_MINUTES` says for how long (4 if absent).
"""

import asyncio
import os
import random
import statistics
import time
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest

from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.load import TEXTS, embedding_stub

SECONDS = float(os.environ.get("LOQUOR_SOAK_MINUTES", "4")) * 60
CALLERS = 32
MOST_BYTES_A_REQUEST = 40.0  # at the length of these runs; a page more or less is no leak
MOST_SWING_BYTES = 32 * 1024 * 1024

pytestmark = pytest.mark.timeout(SECONDS * 3 + 300)


@dataclass
class Record:
    """Resident bytes of the front after so many requests, in order."""

    requests: int = 0
    wrong: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)

    def bytes_a_request(self) -> float:
        """The slope of the later two thirds: by then, what is made once has been made."""
        late = self.samples[len(self.samples) // 3 :]
        return statistics.linear_regression([n for n, _ in late], [size for _, size in late]).slope

    def swing_bytes(self) -> float:
        late = [size for _, size in self.samples[len(self.samples) // 3 :]]
        return max(late) - statistics.mean(late)


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def load(server: RunningServer, seconds: float) -> Record:
    record, until, dice = Record(), time.monotonic() + seconds, random.Random(1)

    async def ask(stub: object, caller: int) -> None:
        embed = stub.Embed  # type: ignore[attr-defined]
        while time.monotonic() < until:
            record.requests += 1
            kind = dice.random()
            texts = [dice.choice(TEXTS)] if kind > 0.01 else []
            call = embed(api.EmbedRequest(model="fake", texts=texts), timeout=30)
            if kind > 0.9:
                await asyncio.sleep(dice.uniform(0, 0.01))
                call.cancel()
            code = await call.code()
            fine = {grpc.StatusCode.OK, *([grpc.StatusCode.CANCELLED] if kind > 0.9 else [])}
            record.wrong += code not in (fine if texts else {grpc.StatusCode.INVALID_ARGUMENT})

    async def sample() -> None:
        while time.monotonic() < until:
            record.samples.append((record.requests, resident_bytes(server.process.pid)))
            await asyncio.sleep(seconds / 200)

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        await asyncio.gather(sample(), *(ask(stub, caller) for caller in range(CALLERS)))
    return record


def start(repository: Path, log: Path, program: str) -> RunningServer:
    flags = ["--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0", "--repository", str(repository)]
    return RunningServer([*flags, "--models", "fake:1", "--log-level", "warning"], log, program=program)


async def test_memory_stays_flat(fake_repository: Path, tmp_path: Path) -> None:
    server = start(fake_repository, tmp_path / "log", "tests.end_to_end.fake_serve")
    try:
        record = await load(server, SECONDS)
        assert server.metric("loquor_running_requests") == server.metric("loquor_queue_requests") == 0
    finally:
        server.stop()
    print(f"{record.requests} requests, {record.bytes_a_request():.1f} B a request, swing {record.swing_bytes():.0f} B")
    assert record.wrong == 0
    assert record.bytes_a_request() < MOST_BYTES_A_REQUEST
    assert record.swing_bytes() < MOST_SWING_BYTES


async def test_a_leak_is_found_out(fake_repository: Path, tmp_path: Path) -> None:
    server = start(fake_repository, tmp_path / "log", "tests.soak.leaking_serve")
    try:
        record = await load(server, min(SECONDS, 60.0))
    finally:
        server.stop()
    assert record.bytes_a_request() > 2 * MOST_BYTES_A_REQUEST
