"""What health says, by name, as workers are lost, models come and go, and the server starts and drains."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as model_api
from loquor.v1 import model_service_pb2_grpc
from tests.conftest import RunningServer
from tests.end_to_end.load import embedding_stub
from tests.end_to_end.test_chaos import until, whole_again
from tests.end_to_end.test_stop import Start
from tests.end_to_end.test_stop import start as start  # a fixture

ServeFake = Callable[..., RunningServer]
NAMES = ["", "ready", "startup", "live", "fake", "loquor.v1.LanguageService", "inference.GRPCInferenceService"]


def health_stub(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


async def status(channel: grpc.aio.Channel, name: str) -> str:
    try:
        response = await health_stub(channel).Check(health_pb2.HealthCheckRequest(service=name), timeout=5)
    except grpc.aio.AioRpcError as error:
        return str(error.code().name)
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))


class Watched:
    """What `Watch` has said of one name, in order."""

    def __init__(self, channel: grpc.aio.Channel, name: str) -> None:
        self.said: list[str] = []
        self._task = asyncio.create_task(self._follow(health_stub(channel), name))

    async def _follow(self, stub: Any, name: str) -> None:
        async for response in stub.Watch(health_pb2.HealthCheckRequest(service=name)):
            self.said.append(health_pb2.HealthCheckResponse.ServingStatus.Name(response.status))

    async def end(self) -> list[str]:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        return self.said


async def test_every_name_is_serving_and_unknown_ones_are_not_found(serve_fake: ServeFake) -> None:
    server = serve_fake()
    async with grpc.aio.insecure_channel(server.address) as channel:
        assert [await status(channel, name) for name in NAMES] == ["SERVING"] * len(NAMES)
        assert await status(channel, "nobody") == "NOT_FOUND"


async def test_it_follows_the_loss_of_the_only_worker(serve_fake: ServeFake) -> None:
    server = serve_fake()
    (worker,) = server.workers()
    async with grpc.aio.insecure_channel(server.address) as channel:
        watched = [Watched(channel, name) for name in ("", "fake", "live")]
        await until(lambda: all(one.said == ["SERVING"] for one in watched))
        os.kill(worker, signal.SIGKILL)
        await whole_again(server, {worker})
        await until(lambda: len(watched[0].said) == len(watched[1].said) == 3)
        assert await watched[0].end() == ["SERVING", "NOT_SERVING", "SERVING"]
        assert await watched[1].end() == ["SERVING", "NOT_SERVING", "SERVING"]
        assert await watched[2].end() == ["SERVING"]


async def test_one_of_two_workers_is_enough(serve_fake: ServeFake) -> None:
    server = serve_fake("--replicas", "2")
    async with grpc.aio.insecure_channel(server.address) as channel:
        watched = Watched(channel, "")
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        await whole_again(server, {victim})
        assert await watched.end() == ["SERVING"]


async def test_a_model_that_cannot_be_loaded_leaves_the_server_as_ready_as_it_was(
    serve_fake: ServeFake, fake_repository: Path, tmp_path: Path
) -> None:
    repository = tmp_path / "models"
    shutil.copytree(fake_repository, repository)
    server = serve_fake("--models", "fake:1", "--repository", str(repository))
    other = repository / "other" / "1"
    other.mkdir(parents=True)
    (other / "config.json").write_text("{}")
    (other / "tokenizer.json").write_text("no tokenizer")
    (other / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{}")
    async with grpc.aio.insecure_channel(server.address) as channel:
        watched = Watched(channel, "")
        models: Any = model_service_pb2_grpc.ModelServiceStub(channel)
        refused = models.LoadModel(model_api.LoadModelRequest(name="other"), timeout=20)
        assert await refused.code() is grpc.StatusCode.FAILED_PRECONDITION
        await models.LoadModel(model_api.LoadModelRequest(name="fake", version=2), timeout=20)
        await asyncio.sleep(1.2)  # longer than health takes to look again
        assert await watched.end() == ["SERVING"]
        await models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=20)
        await asyncio.sleep(1.2)
        assert await status(channel, "fake") == "NOT_SERVING"


async def test_nothing_is_ready_before_all_is(start: Start, models: Path) -> None:
    server = start("--repository", str(models), "--models", "minilm", program="loquor_server")
    said: list[str] = []
    async with server.channel() as channel:
        while server.process.poll() is None and "SERVING" not in said:
            said.append(await status(channel, ""))
            if said[-1] == "NOT_SERVING":
                assert await status(channel, "live") == "SERVING"
                assert await status(channel, "minilm") in ("NOT_SERVING", "SERVING", "NOT_FOUND")
            await asyncio.sleep(0.02)
        assert await status(channel, "startup") == "SERVING"
    assert "NOT_SERVING" in said
    server.wait_ready()  # the line came no later than that


async def test_it_says_so_before_calls_are_refused(serve_fake: ServeFake) -> None:
    server = serve_fake("--drain-delay-seconds", "0.5")
    async with grpc.aio.insecure_channel(server.address) as channel:
        watched = Watched(channel, "ready")
        await until(lambda: watched.said == ["SERVING"])
        server.process.send_signal(signal.SIGTERM)
        await until(lambda: watched.said == ["SERVING", "NOT_SERVING"], 1)
        answer = await embedding_stub(channel).Embed(api.EmbedRequest(model="fake", texts=["still"]), timeout=5)
        assert len(answer.embeddings) == 1
        assert await status(channel, "live") == "SERVING"
        await watched.end()
    assert server.process.wait(10) == 0
