"""After work of every kind the server is as it was: its threads, descriptors, children and memory."""

import asyncio
import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import grpc

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as model_api
from loquor.v1 import model_service_pb2_grpc
from tests.conftest import RunningServer
from tests.end_to_end.load import Load, embedding_stub
from tests.end_to_end.test_chaos import until, whole_again

REQUEST = api.EmbedRequest(model="fake", texts=["a text", "another"])


@dataclass(frozen=True)
class Holdings:
    """What a process has."""

    descriptors: int
    threads: int
    children: int

    @staticmethod
    def of(pid: int) -> "Holdings":
        process = Path(f"/proc/{pid}")
        children = (process / "task" / str(pid) / "children").read_text().split()
        return Holdings(len(os.listdir(process / "fd")), len(os.listdir(process / "task")), len(children))

    def __le__(self, other: "Holdings") -> bool:
        return (
            self.descriptors <= other.descriptors and self.threads <= other.threads and self.children <= other.children
        )


async def all_kinds_of_work(server: RunningServer) -> None:
    async with Load(server.address, callers=16, model="fake") as load:
        await load.until_answers(200)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        calls = [stub.Embed(REQUEST, timeout=10) for _ in range(200)]
        await asyncio.sleep(0.05)
        for call in calls:
            call.cancel()
        await asyncio.gather(*(asyncio.ensure_future(call) for call in calls), return_exceptions=True)
        bad = [stub.Embed(api.EmbedRequest(model=name), timeout=10) for name in ("fake", "nobody") * 20]
        await asyncio.gather(*(asyncio.ensure_future(call) for call in bad), return_exceptions=True)
        for _ in range(10):
            stream = stub.EmbedStream()
            await stream.write(api.EmbedStreamRequest(id="one", request=REQUEST))
            assert (await stream.read()).id == "one"
            await stream.write(api.EmbedStreamRequest(id="two", request=REQUEST))
            stream.cancel()
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        await models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=20)
        await models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=20)
    (worker,) = server.workers()
    os.kill(worker, 9)
    await whole_again(server, {worker})
    for _ in range(20):
        async with grpc.aio.insecure_channel(server.address) as own:
            await embedding_stub(own).Embed(REQUEST, timeout=10)


async def test_nothing_is_held_after_the_work(serve_fake: Callable[..., RunningServer]) -> None:
    server = serve_fake()
    await all_kinds_of_work(server)  # what is made once is made now: pools, caches
    await asyncio.sleep(1.0)
    before = Holdings.of(server.process.pid)
    for _ in range(3):
        await all_kinds_of_work(server)
    gc.collect()
    await until(lambda: Holdings.of(server.process.pid) <= before, 15)
    assert server.metric("loquor_running_requests") == server.metric("loquor_queue_requests") == 0
    assert "never retrieved" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()
