"""Several front processes on one port: all of them serve, switch versions together, and are started again."""

import asyncio
import os
import shutil
import signal
import time
import urllib.request
from pathlib import Path

import grpc
import pytest

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import language_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc
from tests.conftest import RunningServer, Serve

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)


@pytest.fixture
def repository(models: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "models"
    shutil.copytree(models / "minilm" / "1", copy / "minilm" / "1")
    return copy


@pytest.fixture
def fronts(serve: Serve, repository: Path) -> RunningServer:
    return serve("--models", "minilm", "--fronts", "2", repository=repository)


def served_by_front(server: RunningServer) -> dict[str, float]:
    """Embed calls that ended well, by front."""
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    counts = {}
    for line in lines:
        if line.startswith("loquor_requests_total{") and 'method="Embed"' in line and 'code="OK"' in line:
            counts[line.split('front="')[1][0]] = float(line.rpartition(" ")[2])
    return counts


async def embed(channel: grpc.aio.Channel) -> int:
    """The version that answered one text."""
    stub = language_service_pb2_grpc.LanguageServiceStub(channel)
    response = await stub.Embed(api.EmbedRequest(model="minilm", texts=["A sentence."]), timeout=30)
    return int(response.version)


async def on_many_connections(address: str, connections: int) -> list[int]:
    channels = [grpc.aio.insecure_channel(address, options=OWN_CONNECTION) for _ in range(connections)]
    try:
        return await asyncio.gather(*(embed(channel) for channel in channels))
    finally:
        await asyncio.gather(*(channel.close() for channel in channels))


def further_front(server: RunningServer) -> int:
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    (pid,) = [int(pid) for pid in children if b"further_front" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return pid


async def test_all_fronts_serve_and_a_lost_one_comes_back(fronts: RunningServer) -> None:
    assert await on_many_connections(fronts.address, 24) == [1] * 24
    await asyncio.sleep(1.5)  # followers report once a second
    served = served_by_front(fronts)
    assert set(served) == {"0", "1"}
    assert sum(served.values()) == 24

    lost = further_front(fronts)
    os.kill(lost, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        await on_many_connections(fronts.address, 4)
        if "1" in served_by_front(fronts) and further_front(fronts) != lost:
            break
    assert further_front(fronts) != lost
    assert "1" in served_by_front(fronts)
    assert fronts.stop() == 0


async def test_a_version_switches_on_all_fronts_with_no_failed_request(fronts: RunningServer, repository: Path) -> None:
    shutil.copytree(repository / "minilm" / "1", repository / "minilm" / "2")
    versions: list[int] = []
    loaded = asyncio.Event()

    async def call_until_loaded() -> None:
        async with grpc.aio.insecure_channel(fronts.address, options=OWN_CONNECTION) as channel:
            while not loaded.is_set():
                versions.append(await embed(channel))
            versions.append(await embed(channel))

    callers = [asyncio.create_task(call_until_loaded()) for _ in range(6)]
    async with grpc.aio.insecure_channel(fronts.address, options=OWN_CONNECTION) as channel:
        stub = model_service_pb2_grpc.ModelServiceStub(channel)
        reply = await stub.LoadModel(model_service_pb2.LoadModelRequest(name="minilm"), timeout=60)
        loaded.set()
        await asyncio.gather(*callers)  # raises if any request failed
        listed = (await stub.ListModels(model_service_pb2.ListModelsRequest(), timeout=10)).models
    assert reply.model.version == 2
    assert versions[-6:] == [2] * 6
    assert 1 in versions
    states = {model.version: model.state for model in listed}
    assert states == {1: model_service_pb2.MODEL_STATE_UNLOADED, 2: model_service_pb2.MODEL_STATE_READY}
    assert await on_many_connections(fronts.address, 12) == [2] * 12
    assert len(fronts.workers()) == 1
