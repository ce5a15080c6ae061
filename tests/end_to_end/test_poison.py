"""Requests that break the worker: they alone fail, and those beside them in a batch get their answers."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.load import embedding_stub
from tests.end_to_end.test_chaos import until, whole_again


@pytest.fixture(scope="module")
def fragile(fake_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fragile")
    config = folder / "loquor.toml"
    config.write_text("[models.fake]\nstep_deadline_seconds = 1.0\n")
    running = start_fake(fake_repository, folder / "log", "--config", str(config), "--silence-seconds", "1")
    yield running
    assert running.stop() == 0


async def ends(server: RunningServer, texts: list[str]) -> list[str]:
    """How the calls end that ask for one text each, all at once."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        calls = [stub.Embed(api.EmbedRequest(model="fake", texts=[text]), timeout=60) for text in texts]
        return [(await call.code()).name for call in calls]


@pytest.mark.parametrize(
    ("word", "code", "workers_lost"),
    [
        ("poison", "ABORTED", 2),
        ("hang", "ABORTED", 2),
        ("spin", "ABORTED", 2),
        ("fail", "INTERNAL", 0),
        ("large", "OK", 0),
    ],
)
async def test_it_alone_fails(fragile: RunningServer, word: str, code: str, workers_lost: int) -> None:
    restarts = fragile.metric("loquor_worker_restarts_total")
    texts = [f"neighbour {number}" for number in range(20)]
    texts.insert(7, f"a {word} among others")
    codes = await ends(fragile, texts)
    assert codes.pop(7) == code
    assert codes == ["OK"] * 20
    await whole_again(fragile, set())
    assert fragile.metric("loquor_worker_restarts_total") - restarts == workers_lost


async def test_of_a_request_with_many_texts_one_is_enough(fragile: RunningServer) -> None:
    async with grpc.aio.insecure_channel(fragile.address) as channel:
        request = api.EmbedRequest(model="fake", texts=["one", "two", "poison", "four"])
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await embedding_stub(channel).Embed(request, timeout=60)
    assert failure.value.code() is grpc.StatusCode.ABORTED
    await until(lambda: fragile.metric("loquor_running_requests") == 0)
    await whole_again(fragile, set())


async def test_many_neighbours_survive_a_killed_worker_at_their_own_pace(fragile: RunningServer) -> None:
    """After a loss each runs alone, once; then batches are as large as ever."""
    asked = asyncio.create_task(ends(fragile, [f"neighbour {number}" for number in range(60)]))
    await until(lambda: fragile.metric("loquor_running_requests") > 0)
    (victim,) = fragile.workers()
    os.kill(victim, signal.SIGKILL)
    assert await asked == ["OK"] * 60
    await whole_again(fragile, {victim})
