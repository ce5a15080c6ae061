"""The metrics page of a real server: readable by Prometheus, true, and bounded."""

import asyncio
import threading
import urllib.request
from collections.abc import Callable

import grpc
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.load import Load, embedding_stub

ServeFake = Callable[..., RunningServer]
UNITS = (
    *("_seconds", "_total", "_tokens", "_requests", "_bytes", "_info", "_size", "_replicas", "_models", "_steps"),
    *("_sequences", "_blocks", "_blocks_used"),
)


def page(server: RunningServer) -> list[Metric]:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics", timeout=10) as response:
        assert response.headers["Content-Type"].startswith("text/plain")
        return list(text_string_to_metric_families(response.read().decode()))


async def test_what_is_served_is_counted(serve_fake: ServeFake) -> None:
    server = serve_fake()
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)
        for _ in range(3):
            await stub.Embed(api.EmbedRequest(model="fake", texts=["one text", "another text"]), timeout=10)
        await asyncio.gather(stub.Embed(api.EmbedRequest(model="fake"), timeout=10), return_exceptions=True)
    assert server.metric("loquor_requests_total", method="Embed", model="fake", code="OK") == 3
    assert server.metric("loquor_requests_total", method="Embed", model="fake", code="INVALID_ARGUMENT") == 1
    assert server.metric("loquor_request_seconds_count", method="Embed", model="fake") == 4
    assert server.metric("loquor_texts_total", model="fake") == 6
    assert server.metric("loquor_prompt_tokens_total", model="fake") == 24
    assert server.metric("loquor_queue_seconds_count", model="fake") == 6
    assert server.metric("loquor_batch_tokens_sum", model="fake") == 24
    assert server.metric("loquor_replicas", model="fake", state="ready") == 1
    assert server.metric("loquor_models", model="fake", version="2", state="ready") == 1
    assert server.metric("loquor_queue_requests") == server.metric("loquor_running_requests") == 0


async def test_names_are_clean_and_each_has_its_help(serve_fake: ServeFake) -> None:
    server = serve_fake()
    async with Load(server.address, callers=2, model="fake") as load:
        await load.until_answers(5)
    families = page(server)
    names = [family.name for family in families]
    assert len(set(names)) == len(names)
    for family in families:
        assert family.documentation
        assert not family.name.endswith("_created")
        if family.name.startswith("loquor_"):
            assert family.type in ("counter", "gauge", "histogram")
            assert family.type == "counter" or family.name.endswith(UNITS), family.name
            assert not any(
                word.startswith(("milli", "micro")) or word in ("us", "ms") for word in family.name.split("_")
            )


async def test_strangers_words_make_no_series(serve_fake: ServeFake) -> None:
    server = serve_fake()

    def series() -> int:
        return sum(len(family.samples) for family in page(server) if family.name.startswith("loquor_"))

    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = embedding_stub(channel)

        async def ask(number: int) -> None:
            request = api.EmbedRequest(model=f"stranger{number}", texts=[f"text {number}"])
            metadata = [("x-request-id", f"id-{number}"), ("loquor-priority", str(1 + number % 9))]
            await asyncio.gather(stub.Embed(request, timeout=10, metadata=metadata), return_exceptions=True)

        await ask(0)
        before = series()
        await asyncio.gather(*(ask(number) for number in range(300)))
        assert series() == before
    assert server.metric("loquor_requests_total", model="", code="NOT_FOUND") == 301


async def test_scrapes_under_load_never_fail(serve_fake: ServeFake) -> None:
    """The page is made by another thread than the one that changes what it shows."""
    server = serve_fake("--replicas", "2")
    failures: list[Exception] = []
    scraped = 0
    stop = threading.Event()

    def scrape() -> None:
        nonlocal scraped
        while not stop.is_set():
            try:
                page(server)
                scraped += 1
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=scrape) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        async with Load(server.address, callers=32, model="fake") as load:
            await load.until_answers(1500)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert scraped > 10
    assert +load.failures == {}


async def test_a_slow_scraper_holds_up_nobody(serve_fake: ServeFake) -> None:
    server = serve_fake()
    host, port = server.metrics_address.rsplit(":", 1)
    _, idle = await asyncio.open_connection(host, int(port))
    idle.write(b"GET /metrics HTTP/1.1\r\n")
    async with Load(server.address, callers=2, model="fake") as load:
        await load.until_answers(20)
        assert await asyncio.to_thread(server.metric, "loquor_models", state="ready") >= 1
    idle.close()
    await idle.wait_closed()
