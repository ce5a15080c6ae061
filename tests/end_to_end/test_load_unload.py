"""Versions that come and go while the server serves: no request fails, and what is unloaded is gone."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

from loquor.internal.manifest import write_manifest
from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2 as model_api
from loquor.v1 import model_service_pb2_grpc
from tests.conftest import RunningServer
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.load import Load, embedding_stub
from tests.end_to_end.test_chaos import is_alive, until

SLOW = api.EmbedRequest(model="fake", texts=["slow " * 198])  # half a second of a worker


@pytest.fixture
def repository(fake_repository: Path, tmp_path: Path) -> Path:
    """Of its own, with a version 1 of `fake`."""
    shutil.copytree(fake_repository / "fake" / "1", tmp_path / "models" / "fake" / "1")
    return tmp_path / "models"


Serve = Callable[..., RunningServer]


@pytest.fixture
def serve_own(repository: Path, tmp_path: Path) -> Any:
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> RunningServer:
            running = start_fake(repository, tmp_path / "log", *arguments)
            stack.callback(running.stop)
            return running

        yield start


@contextlib.asynccontextmanager
async def model_service(server: RunningServer) -> AsyncIterator[Any]:
    async with grpc.aio.insecure_channel(server.address) as channel:
        yield model_service_pb2_grpc.ModelServiceStub(channel)


def publish(repository: Path, version: int, name: str = "fake") -> Path:
    folder = repository / name / str(version)
    shutil.copytree(repository / "fake" / "1", folder)
    write_manifest(folder)
    return folder


async def test_new_versions_take_over_under_load_without_a_failed_request(serve_own: Serve, repository: Path) -> None:
    server = serve_own()
    async with Load(server.address, callers=12, model="fake") as load, model_service(server) as models:
        await load.until_answers(50)
        for version in (2, 3, 4):
            publish(repository, version)
            before = set(server.workers())
            loaded = await models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=30)
            assert (loaded.model.version, loaded.model.state) == (version, model_api.MODEL_STATE_READY)
            load.versions.clear()
            await load.until_answers(50)
            assert set(load.versions) == {version}
            await until(lambda before=before: not any(is_alive(pid) for pid in before))  # type: ignore[misc]
            assert len(server.workers()) == 1
    assert +load.failures == {}


async def test_unloading_frees_the_process_and_loading_brings_it_back(serve_own: Serve) -> None:
    server = serve_own()
    (worker,) = server.workers()
    request = api.EmbedRequest(model="fake", texts=["a text"])
    async with model_service(server) as models, grpc.aio.insecure_channel(server.address) as channel:
        embed = embedding_stub(channel).Embed
        slow = asyncio.ensure_future(embed(api.EmbedRequest(model="fake", texts=["slow"]), timeout=20))
        await asyncio.sleep(0.1)
        await models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=20)
        assert len((await slow).embeddings) == 1
        assert not is_alive(worker)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await embed(request, timeout=5)
        assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        listed = (await models.ListModels(model_api.ListModelsRequest())).models
        assert [(model.name, model.state) for model in listed] == [("fake", model_api.MODEL_STATE_UNLOADED)]
        await models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=20)
        assert len((await embed(request, timeout=5)).embeddings) == 1


async def test_what_is_loaded_can_be_unloaded_though_its_folder_is_gone(serve_own: Serve, repository: Path) -> None:
    server = serve_own()
    (worker,) = server.workers()
    shutil.rmtree(repository / "fake")
    async with model_service(server) as models:
        await models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=20)
        assert not is_alive(worker)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=20)
        assert refusal.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_damaged_version_is_refused_by_its_files_name_and_the_old_one_serves_on(
    serve_own: Serve, repository: Path
) -> None:
    server = serve_own()
    folder = publish(repository, 2)
    (folder / "model.safetensors").write_bytes(b"\x02\x00\x00\x00\x00\x00\x00\x00{ ")
    async with Load(server.address, model="fake") as load, model_service(server) as models:
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=20)
        assert refusal.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert "model.safetensors" in (refusal.value.details() or "")
        await load.until_answers(30)
        assert set(load.versions) == {1}
    assert +load.failures == {}


async def test_a_caller_who_leaves_a_load_leaves_no_half_loaded_model(serve_own: Serve, repository: Path) -> None:
    server = serve_own()
    publish(repository, 2)
    old = server.workers()
    async with Load(server.address, callers=4, model="fake") as load, model_service(server) as models:
        for seconds in (0.05, 0.3, 0.6):
            call = models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=30)
            await asyncio.sleep(seconds)
            call.cancel()
            await load.until_answers(10)
        loaded = await models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=30)
        assert loaded.model.version == 2
        await until(lambda: len(server.workers()) == 1)
        assert server.workers() != old
        load.versions.clear()
        await load.until_answers(10)
        assert set(load.versions) == {2}
    assert +load.failures == {}


async def test_a_switch_is_finished_though_its_caller_leaves(serve_own: Serve, repository: Path) -> None:
    """While the old version still has something to answer."""
    server = serve_own()
    publish(repository, 2)
    (old,) = server.workers()
    async with grpc.aio.insecure_channel(server.address) as channel, model_service(server) as models:
        embed = embedding_stub(channel).Embed
        long = [asyncio.ensure_future(embed(SLOW, timeout=30)) for _ in range(6)]
        loading = models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=30)
        async with asyncio.timeout(20):
            while (await embed(api.EmbedRequest(model="fake", texts=["whose?"]), timeout=30)).version == 1:
                await asyncio.sleep(0.02)
        assert not loading.done()
        loading.cancel()
        assert [answer.version for answer in await asyncio.gather(*long)] == [1] * 6
        await until(lambda: not is_alive(old))
        assert len(server.workers()) == 1


async def test_two_callers_may_load_the_same_version_at_once(serve_own: Serve, repository: Path) -> None:
    server = serve_own()
    publish(repository, 2)
    async with model_service(server) as models:
        request = model_api.LoadModelRequest(name="fake", version=2)
        both = await asyncio.gather(*(models.LoadModel(request, timeout=30) for _ in range(2)))
    assert [answer.model.version for answer in both] == [2, 2]
    await until(lambda: len(server.workers()) == 1)


async def test_model_control_is_off_where_strangers_may_call(serve_own: Serve) -> None:
    server = serve_own("--address", "0.0.0.0:0")
    port = server.address.rpartition(":")[2]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        models: Any = model_service_pb2_grpc.ModelServiceStub(channel)
        for call in (
            models.LoadModel(model_api.LoadModelRequest(name="fake"), timeout=5),
            models.UnloadModel(model_api.UnloadModelRequest(name="fake"), timeout=5),
        ):
            assert await call.code() is grpc.StatusCode.PERMISSION_DENIED
        assert len((await models.ListModels(model_api.ListModelsRequest(), timeout=5)).models) == 1
