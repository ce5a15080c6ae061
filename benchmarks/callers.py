"""The load: callers in a closed loop, in a process of their own that does little else.

Each caller has one call under way and starts the next when the answer is there. Payloads are bytes made beforehand and
answers stay bytes, so that it costs the same whatever is measured. It knows gRPC and HTTP, and no model.
"""

import asyncio
import base64
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.service import ROOT

_CALL_SECONDS = 120.0


@dataclass(frozen=True)
class Load:
    """`target` is `grpc://host:port/service/Method` or `http://host:port/path`.

    The payloads are sent in turn, again and again. Measuring starts when `warm_calls` have been answered and ends with
    the first whole round of payloads after `seconds`, so that every measure is of the same mixture. gRPC's callers
    share so many `connections`; those of HTTP have one each.
    """

    target: str
    payloads: Sequence[bytes]
    callers: int
    seconds: float
    warm_calls: int
    connections: int = 1


@dataclass(frozen=True)
class Outcome:
    """What the callers saw; `cpu_seconds` is what they used of the processors, `answers` the first one a payload."""

    calls: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_seconds: float
    answers: list[bytes]

    @property
    def per_second(self) -> float:
        return self.calls / self.seconds


def run(load: Load) -> Outcome:
    """Put the load on from another process."""
    given = asdict(load) | {"payloads": [_text(payload) for payload in load.payloads]}
    with tempfile.TemporaryDirectory() as folder:
        load_file, outcome_file = Path(folder, "load.json"), Path(folder, "outcome.json")
        load_file.write_text(json.dumps(given))
        command = [sys.executable, "-m", "benchmarks.callers", str(load_file), str(outcome_file)]
        subprocess.run(command, cwd=ROOT, check=True)
        found = json.loads(outcome_file.read_text())
    return Outcome(**found | {"answers": [base64.b64decode(answer) for answer in found["answers"]]})


class Connection(Protocol):
    """What a caller calls by."""

    async def call(self, payload: bytes) -> bytes: ...


class GrpcConnection:
    """A unary method of a channel that callers share, as gRPC's clients do."""

    def __init__(self, target: str) -> None:
        import grpc

        address, _, method = target.removeprefix("grpc://").partition("/")
        self._channel = grpc.aio.insecure_channel(address, options=(("grpc.use_local_subchannel_pool", 1),))
        self._method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(f"/{method}")

    async def call(self, payload: bytes) -> bytes:
        return await self._method(payload, timeout=_CALL_SECONDS)


class HttpConnection:
    """One connection that is kept alive, opened by its first call."""

    def __init__(self, target: str) -> None:
        host, _, path = target.removeprefix("http://").partition("/")
        self._host, _, self._port = host.partition(":")
        self._head = f"POST /{path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n".encode()
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def call(self, payload: bytes) -> bytes:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, int(self._port))
        reader, writer = self._streams
        writer.write(self._head + b"Content-Length: %d\r\n\r\n" % len(payload) + payload)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        body = await reader.readexactly(int(head.partition(b"content-length:")[2].split(b"\r\n")[0]))
        if b" 200 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(f"{head.decode()}{body[:500].decode()}")
        return body


class Meter:
    """Counts answers, and knows when there are enough."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._count = 0
        self._started = 0.0
        self._cpu_started = 0.0
        self._latencies: list[float] = []
        self._answers: list[bytes] = [b""] * len(load.payloads)
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()

    def note(self, index: int, seconds: float, answer: bytes) -> None:
        self._count += 1
        measured = self._count - self._load.warm_calls
        if measured == 0:
            self._started, self._cpu_started = time.perf_counter(), time.process_time()
        elif measured > 0:
            self._latencies.append(seconds)
            self._answers[index] = self._answers[index] or answer
            elapsed = time.perf_counter() - self._started
            if measured % len(self._load.payloads) == 0 and elapsed >= self._load.seconds and not self.outcome.done():
                self.outcome.set_result(self._outcome(measured, elapsed))

    def _outcome(self, calls: int, seconds: float) -> Outcome:
        latencies = sorted(1000 * latency for latency in self._latencies)
        p50, p99 = (latencies[math.ceil(share * calls) - 1] for share in (0.5, 0.99))
        return Outcome(calls, seconds, p50, p99, time.process_time() - self._cpu_started, self._answers)


def open_connections(load: Load) -> Sequence[Connection]:
    if load.target.startswith("grpc://"):
        return [GrpcConnection(load.target) for _ in range(load.connections)]
    return [HttpConnection(load.target) for _ in range(load.callers)]


async def drive(load: Load) -> Outcome:
    """Put the load on from this process."""
    meter = Meter(load)
    order = itertools.cycle(range(len(load.payloads)))
    kind, count = (
        (GrpcConnection, load.connections) if load.target.startswith("grpc:") else (HttpConnection, load.callers)
    )
    connections: list[Connection] = [kind(load.target) for _ in range(count)]

    async def caller(connection: Connection) -> None:
        while True:
            index = next(order)
            started = time.perf_counter()
            answer = await connection.call(load.payloads[index])
            meter.note(index, time.perf_counter() - started, answer)

    callers = [asyncio.create_task(caller(connections[index % len(connections)])) for index in range(load.callers)]
    ending: list[asyncio.Future[Any]] = [meter.outcome, *callers]
    await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
    for task in callers:
        if task.done():
            task.result()
        task.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    return await meter.outcome


def main() -> None:
    import uvloop

    given = json.loads(Path(sys.argv[1]).read_text())
    load = Load(**given | {"payloads": [base64.b64decode(payload) for payload in given["payloads"]]})
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(drive(load))
    found = asdict(outcome) | {"answers": [_text(answer) for answer in outcome.answers]}
    Path(sys.argv[2]).write_text(json.dumps(found))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    main()
