"""The load of streams: callers in a closed loop, in a process of their own, that note when each message comes.

Each caller has one stream open and opens the next when it has ended. Payloads and messages stay bytes. It knows gRPC,
and no model.
"""

import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.service import ROOT

_CALL_SECONDS = 600.0

_Method = Callable[..., AsyncIterable[bytes]]


@dataclass(frozen=True)
class StreamLoad:
    """`target` is `host:port/service/Method`. The warm payloads are sent first; each payload once."""

    target: str
    payloads: Sequence[bytes]
    warm_payloads: Sequence[bytes]
    callers: int


@dataclass(frozen=True)
class Stream:
    """Seconds from the start of the first: when it was opened, when each message came; and what the last one was."""

    started: float
    messages: list[float]
    last: bytes


def run(load: StreamLoad) -> list[Stream]:
    """Put the load on from another process. The streams are in the order of the payloads."""
    given = asdict(load) | {
        name: [base64.b64encode(payload).decode() for payload in payloads]
        for name, payloads in (("payloads", load.payloads), ("warm_payloads", load.warm_payloads))
    }
    with tempfile.TemporaryDirectory() as folder:
        load_file, streams_file = Path(folder, "load.json"), Path(folder, "streams.json")
        load_file.write_text(json.dumps(given))
        command = [sys.executable, "-m", "benchmarks.streams", str(load_file), str(streams_file)]
        subprocess.run(command, cwd=ROOT, check=True)
        found = json.loads(streams_file.read_text())
    return [Stream(**one | {"last": base64.b64decode(one["last"])}) for one in found]


async def drive(load: StreamLoad) -> list[Stream]:
    """Put the load on from this process."""
    import grpc

    address, _, method = load.target.partition("/")
    async with grpc.aio.insecure_channel(address) as channel:
        stream_of: _Method = channel.unary_stream(f"/{method}")
        await _drive(stream_of, load.warm_payloads, load.callers)
        return await _drive(stream_of, load.payloads, load.callers)


async def _drive(stream_of: _Method, payloads: Sequence[bytes], callers: int) -> list[Stream]:
    started = time.perf_counter()
    streams: dict[int, Stream] = {}
    waiting = iter(enumerate(payloads))

    async def caller() -> None:
        for index, payload in waiting:
            opened, last = time.perf_counter() - started, b""
            messages = []
            async for message in stream_of(payload, timeout=_CALL_SECONDS):
                messages.append(time.perf_counter() - started)
                last = message
            streams[index] = Stream(opened, messages, last)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return [streams[index] for index in range(len(payloads))]


def main() -> None:
    import uvloop

    given = json.loads(Path(sys.argv[1]).read_text())
    decoded = {name: [base64.b64decode(text) for text in given[name]] for name in ("payloads", "warm_payloads")}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        streams = runner.run(drive(StreamLoad(**given | decoded)))
    found = [asdict(stream) | {"last": base64.b64encode(stream.last).decode()} for stream in streams]
    Path(sys.argv[2]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
