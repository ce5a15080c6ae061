"""What waits too long, and what finds no room: the right status, at the right time, and nothing computed for nobody."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.conftest import start_fake
from tests.end_to_end.load import embedding_stub

SLOW = api.EmbedRequest(model="fake", texts=["slow " * 198])  # 200 tokens: a step of half a second to itself
QUICK = api.EmbedRequest(model="fake", texts=["quick"])


@pytest.fixture(scope="module")
def narrow(fake_repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server whose queue takes ten texts, and which sets a deadline of its own."""
    folder = tmp_path_factory.mktemp("narrow")
    config = folder / "loquor.toml"
    config.write_text(
        "default_deadline_seconds = 5.0\n[models.fake]\nmax_queue_requests = 10\nmax_queue_tokens = 1500\n"
    )
    running = start_fake(fake_repository, folder / "log", "--config", str(config))
    yield running
    assert running.stop() == 0


async def failure_of(call: grpc.aio.UnaryUnaryCall[object, object]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value


async def test_a_request_that_waits_too_long_ends_at_its_deadline_and_is_never_run(narrow: RunningServer) -> None:
    async with grpc.aio.insecure_channel(narrow.address) as channel:
        stub = embedding_stub(channel)
        await stub.Embed(QUICK)
        computed = narrow.metric("loquor_prompt_tokens_total")
        busy = [asyncio.ensure_future(stub.Embed(SLOW)) for _ in range(3)]  # two in the worker, one in the queue
        await asyncio.sleep(0.2)
        started = time.monotonic()
        failure = await failure_of(stub.Embed(QUICK, timeout=0.3))
        waited = time.monotonic() - started
        await asyncio.gather(*busy)
        await stub.Embed(QUICK)
    assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert 0.28 < waited < 0.8  # its turn would come after more than a second
    assert narrow.metric("loquor_prompt_tokens_total") - computed == 3 * 200 + 3


async def test_the_servers_own_deadline_holds_for_calls_that_set_none(fake_repository: Path, tmp_path: Path) -> None:
    server = start_fake(fake_repository, tmp_path / "log", "--default-deadline-seconds", "0.3")
    try:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = embedding_stub(channel)
            busy = [stub.Embed(SLOW, timeout=10) for _ in range(3)]
            await asyncio.sleep(0.1)
            started = time.monotonic()
            failure = await failure_of(stub.Embed(QUICK))
            waited = time.monotonic() - started
            await asyncio.gather(*busy)
        assert failure.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.29 < waited < 0.8  # its turn would come after more than a second
        assert server.metric("loquor_requests_total", code="DEADLINE_EXCEEDED") == 1
    finally:
        server.stop()


async def test_a_full_queue_says_when_to_come_back(narrow: RunningServer) -> None:
    async with grpc.aio.insecure_channel(narrow.address) as channel:
        stub = embedding_stub(channel)
        busy = [stub.Embed(SLOW, timeout=20) for _ in range(3)]
        await asyncio.sleep(0.2)
        calls = [stub.Embed(QUICK, timeout=20) for _ in range(40)]
        codes = [(await call.code()).name for call in calls]
        refused = [call for call, code in zip(calls, codes, strict=True) if code != "OK"]
        await asyncio.gather(*busy)
        assert codes.count("OK") == 7
        assert codes.count("RESOURCE_EXHAUSTED") == 33
        for call in refused:
            trailer = dict(await call.trailing_metadata())
            status = status_pb2.Status.FromString(trailer["grpc-status-details-bin"])
            retry = error_details_pb2.RetryInfo()
            assert status.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
            assert any(detail.Unpack(retry) for detail in status.details)
            assert retry.retry_delay.ToTimedelta().total_seconds() > 0
            assert int(trailer["grpc-retry-pushback-ms"]) == round(
                retry.retry_delay.ToTimedelta().total_seconds() * 1000
            )
            assert trailer["x-request-id"]


async def test_a_queue_full_of_tokens_refuses_too(narrow: RunningServer) -> None:
    async with grpc.aio.insecure_channel(narrow.address) as channel:
        stub = embedding_stub(channel)
        calls = [stub.Embed(SLOW, timeout=20) for _ in range(9)]
        codes = [(await call.code()).name for call in calls]
    assert codes.count("OK") == 7
    assert codes.count("RESOURCE_EXHAUSTED") == 2


async def test_what_no_queue_could_take_is_the_callers_fault(narrow: RunningServer) -> None:
    async with grpc.aio.insecure_channel(narrow.address) as channel:
        request = api.EmbedRequest(model="fake", texts=["quick"] * 11)
        failure = await failure_of(embedding_stub(channel).Embed(request, timeout=5))
    assert failure.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_urgent_requests_go_first(narrow: RunningServer) -> None:
    order = []

    async def ask(channel: grpc.aio.Channel, name: str, priority: str) -> None:
        await embedding_stub(channel).Embed(SLOW, timeout=20, metadata=[("loquor-priority", priority)])
        order.append(name)

    async with grpc.aio.insecure_channel(narrow.address) as channel:
        asked = [asyncio.create_task(ask(channel, f"first {number}", "5")) for number in range(2)]
        await asyncio.sleep(0.1)
        for name, priority in (("late", "9"), ("normal", "5"), ("urgent", "1")):
            asked.append(asyncio.create_task(ask(channel, name, priority)))
            await asyncio.sleep(0.02)
        await asyncio.gather(*asked)
    assert order[2:] == ["urgent", "normal", "late"]
