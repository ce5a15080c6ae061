"""Workers killed, ended, frozen, and callers that all go away: what was asked is answered, and all is whole again."""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from loquor.v1 import language_service_pb2 as api
from loquor.v1 import model_service_pb2, model_service_pb2_grpc
from tests.conftest import RunningServer, Serve
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.load import TEXTS, Load, embedding_stub

Embedded = api.EmbedResponse


@pytest.fixture(scope="module")
def pair(fake_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with two workers, which the tests of this module may hurt: it must be whole again after each."""
    log = tmp_path_factory.mktemp("pair") / "log"
    running = start_fake(fake_repository, log, "--replicas", "2", "--silence-seconds", "1")
    yield running
    assert running.stop() == 0


async def until(reached: Callable[[], bool], seconds: float = 30.0) -> None:
    async with asyncio.timeout(seconds):
        while not reached():
            await asyncio.sleep(0.02)


async def whole_again(server: RunningServer, lost: set[int], model: str = "fake") -> None:
    """The processes that were lost are gone, and as many workers as before are ready."""
    replicas = server.metric("loquor_replicas", model=model)
    await until(lambda: not lost & set(server.workers()) and len(server.workers()) == replicas)
    await until(lambda: server.metric("loquor_replicas", model=model, state="ready") == replicas)


async def test_a_killed_worker_of_a_real_model_costs_no_request(serve: Serve, models: Path) -> None:
    server = serve("--models", "minilm", repository=models)
    async with Load(server.address, callers=20) as load:
        await load.until_answers(50)
        (victim,) = server.workers()
        os.kill(victim, signal.SIGKILL)
        await whole_again(server, {victim}, "minilm")
        await load.until_answers(50)
    assert +load.failures == {}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
async def test_a_lost_worker_of_two_costs_no_request(pair: RunningServer, number: signal.Signals) -> None:
    restarts = pair.metric("loquor_worker_restarts_total")
    async with Load(pair.address, model="fake") as load:
        await load.until_answers(50)
        victim = pair.workers()[0]
        os.kill(victim, number)
        await load.until_answers(50)
        await whole_again(pair, {victim})
        await load.until_answers(20)
    assert +load.failures == {}
    assert pair.metric("loquor_worker_restarts_total") == restarts + 1


async def test_both_workers_lost_at_once_cost_no_request(pair: RunningServer) -> None:
    async with Load(pair.address, model="fake") as load:
        await load.until_answers(20)
        victims = set(pair.workers())
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        await whole_again(pair, victims)
        await load.until_answers(20)
    assert +load.failures == {}


async def test_workers_killed_at_any_moment_cost_no_request(serve_fake: Callable[..., RunningServer]) -> None:
    """Fifty requests at a time, and a worker killed at a random moment of each round."""
    server = serve_fake("--replicas", "2", "--models", "fake:1")
    dice = random.Random(2)
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        for _ in range(4):
            requests = [api.EmbedRequest(model="fake", texts=[f"{n} {text}" for text in TEXTS[:8]]) for n in range(50)]
            answers = asyncio.gather(*(stub.Embed(request, timeout=60) for request in requests))
            await asyncio.sleep(dice.uniform(0.0, 0.15))
            victim = dice.choice(server.workers())
            os.kill(victim, signal.SIGKILL)
            assert [len(answer.embeddings) for answer in await answers] == [8] * 50
            await whole_again(server, {victim})


async def test_a_worker_lost_while_it_loads_is_replaced(pair: RunningServer) -> None:
    (victim, other) = pair.workers()
    os.kill(victim, signal.SIGKILL)
    await until(lambda: victim not in pair.workers() and len(pair.workers()) == 2)
    (loading,) = set(pair.workers()) - {other}
    os.kill(loading, signal.SIGKILL)
    await whole_again(pair, {victim, loading})


async def test_a_thousand_callers_that_go_at_once_leave_nothing_behind(pair: RunningServer) -> None:
    async with contextlib.AsyncExitStack() as stack:
        channels = [
            await stack.enter_async_context(grpc.aio.insecure_channel(pair.address, options=[("own", number)]))
            for number in range(4)
        ]
        stubs = [embedding_stub(channel) for channel in channels]
        request = api.EmbedRequest(model="fake", texts=["seven old wizards mix strange potions " * 10] * 3)
        calls = [stubs[number % 4].Embed(request, timeout=60) for number in range(1000)]
        waiting = [asyncio.ensure_future(call) for call in calls]
        await asyncio.to_thread(wait_for_work, pair)
        for call in calls:
            call.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await until(lambda: pair.metric("loquor_running_requests") == 0)
        assert pair.metric("loquor_queue_requests") == 0
        assert pair.metric("loquor_queue_tokens") == 0
        answer = await stubs[0].Embed(api.EmbedRequest(model="fake", texts=["still there"]), timeout=30)
        assert len(answer.embeddings) == 1
        get_model = model_service_pb2_grpc.ModelServiceStub(channels[0]).GetModel
        described = (await get_model(model_service_pb2.GetModelRequest(name="fake"))).model
        assert [replica.running_requests for replica in described.replicas] == [0, 0]


def wait_for_work(server: RunningServer) -> None:
    while not server.metric("loquor_running_requests"):
        time.sleep(0.01)


async def test_workers_die_with_the_front(serve_fake: Callable[..., RunningServer]) -> None:
    server = serve_fake("--replicas", "2")
    workers = server.workers()
    assert len(workers) == 2
    server.process.kill()
    server.process.wait()
    await until(lambda: not any(is_alive(pid) for pid in workers), 5)


@pytest.mark.parametrize("seconds", [0.2, 0.4, 0.6, 0.8, 1.0])
async def test_workers_die_with_a_front_that_dies_young(fake_repository: Path, seconds: float) -> None:
    """Before a worker has been able to ask the system for that, too."""
    mark = f"{os.getpid()}-{seconds}"
    front = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.end_to_end.fake_serve", "--address", "127.0.0.1:0", "--metrics-address", ""),
        *("--repository", str(fake_repository)),
        env={**os.environ, "LOQUOR_TEST_MARK": mark},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    await asyncio.sleep(seconds)
    front.kill()
    await front.wait()
    await until(lambda: not marked(mark), 10)


def is_alive(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return b"\nState:\tZ" not in Path(f"/proc/{pid}/status").read_bytes()
    return False


def marked(mark: str) -> list[int]:
    """Processes whose environment has the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and f"LOQUOR_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
