"""A generation as it is written: what it tells on the way, and every way in which it ends."""

import _thread
import asyncio
import gc
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import loquor
from tests.client.fake_generation import FOREVER, Step, delta, finished, started

QUICK = loquor.Retry(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)
WAIT = 5.0
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def generation(server: Any) -> Any:
    return server.generation


@pytest.fixture
def endless(generation: Any) -> Any:
    """A server that writes two words and then nothing, until it is cancelled."""
    generation.script = lambda request: [started(), delta("one"), delta(" two"), FOREVER, finished()]
    return generation


def test_a_stream_tells_what_came_so_far(client: loquor.Client) -> None:
    stream = client.stream("smollm2", "a b", request_id="my-id")
    seen = [stream.state]
    texts = []
    for part in stream:
        texts.append((part.text, stream.text, stream.finish_reason))
        seen.append(stream.state)
    unspecified = loquor.FinishReason.UNSPECIFIED
    assert texts == [("a", "a", unspecified), (" b", "a b", unspecified)]
    assert [*seen, stream.state] == [
        loquor.StreamState.UNOPENED,
        loquor.StreamState.OPENED,
        loquor.StreamState.OPENED,
        loquor.StreamState.ENDED,
    ]
    assert (stream.finish_reason, stream.usage.completion_tokens) == (loquor.FinishReason.STOP, 2)
    assert (stream.timings.total_seconds, stream.request_id, stream.stop) == (2.0, "my-id", None)
    assert stream.generation == stream.result()
    assert list(stream) == []


def test_nothing_is_sent_before_the_first_delta_is_wanted(client: loquor.Client, server: Any) -> None:
    stream = client.stream("smollm2", "a")
    assert (client.state, server.calls) == (loquor.ClientState.UNOPENED, [])
    stream.cancel()
    assert (list(stream), server.calls) == ([], [])
    assert stream.finish_reason is loquor.FinishReason.CANCELLED


def test_choices_come_interleaved(client: loquor.Client) -> None:
    stream = client.stream("smollm2", "a b", n=2, logprobs=0)
    assert [(part.choice, part.text) for part in stream] == [(0, "a"), (1, "a"), (0, " b"), (1, " b")]
    assert [choice.text for choice in stream.generation] == ["a b", "a b"]
    assert [token.text for token in stream.generation[1].tokens] == ["a", " b"]


def test_result_gives_the_rest(client: loquor.Client) -> None:
    stream = client.stream("smollm2", "a b c")
    assert next(stream).text == "a"
    assert stream.result().text == "a b c"


def test_leaving_the_block_cancels(client: loquor.Client, endless: Any) -> None:
    with client.stream("smollm2", "a") as stream:
        assert next(stream).text == "one"
    assert endless.cancelled.wait(WAIT)
    assert (stream.state, stream.finish_reason) == (loquor.StreamState.CANCELLED, loquor.FinishReason.CANCELLED)
    assert list(stream) == []


def test_so_does_forgetting_it(client: loquor.Client, endless: Any) -> None:
    for _ in client.stream("smollm2", "a"):
        break
    gc.collect()
    assert endless.cancelled.wait(WAIT)


def test_another_thread_may_cancel(client: loquor.Client, endless: Any) -> None:
    stream = client.stream("smollm2", "a")

    def cancel() -> None:
        while stream.text != "one two":
            time.sleep(0.01)
        stream.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    assert [part.text for part in stream] == ["one", " two"]
    thread.join()
    assert endless.cancelled.wait(WAIT)
    assert stream.finish_reason is loquor.FinishReason.CANCELLED


def test_ctrl_c_cancels(client: loquor.Client, endless: Any) -> None:
    stream = client.stream("smollm2", "a")

    def interrupt() -> None:
        while stream.text != "one two":
            time.sleep(0.01)
        _thread.interrupt_main()

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        list(stream)
    thread.join()
    assert endless.cancelled.wait(WAIT)
    assert (stream.text, stream.state) == ("one two", loquor.StreamState.CANCELLED)


async def test_a_cancelled_task_cancels(server: Any, endless: Any) -> None:
    async with loquor.AsyncClient(server.address) as client:
        stream = client.stream("smollm2", "a")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await stream.result()
        assert await asyncio.to_thread(endless.cancelled.wait, WAIT)
        assert stream.text == "one two"


async def test_an_async_stream_ends_with_its_block_or_with_cancel(server: Any, endless: Any) -> None:
    async with loquor.AsyncClient(server.address) as client:
        async with client.stream("smollm2", "a") as stream:
            assert (await anext(stream)).text == "one"
        assert await asyncio.to_thread(endless.cancelled.wait, WAIT)
        endless.cancelled.clear()
        second = client.stream("smollm2", "a")
        asyncio.get_running_loop().call_later(0.3, second.cancel)
        assert [part.text async for part in second] == ["one", " two"]
        assert second.finish_reason is loquor.FinishReason.CANCELLED
        assert await asyncio.to_thread(endless.cancelled.wait, WAIT)


async def test_so_does_forgetting_an_async_one(server: Any, endless: Any) -> None:
    async with loquor.AsyncClient(server.address) as client:
        async for _ in client.stream("smollm2", "a"):
            break
        gc.collect()
        assert await asyncio.to_thread(endless.cancelled.wait, WAIT)


def test_closing_the_client_ends_a_stream_with_cancelled(server: Any, endless: Any) -> None:
    client = loquor.Client(server.address)
    stream = client.stream("smollm2", "a")
    next(stream)
    client.close()
    with pytest.raises(loquor.Cancelled) as caught:
        list(stream)
    assert caught.value.partial[0].text.startswith("one")
    with pytest.raises(RuntimeError, match="this client is closed"):
        next(client.stream("smollm2", "a"))


def test_a_stream_that_has_not_begun_is_tried_again(server: Any) -> None:
    server.failures.extend([(UNAVAILABLE, ()), (grpc.StatusCode.RESOURCE_EXHAUSTED, ())])
    with loquor.Client(server.address, retry=QUICK) as client:
        assert client.generate("smollm2", "a").text == "a"
    assert len(server.calls) == 3
    assert len({metadata["x-request-id"] for _, metadata in server.calls}) == 1


async def test_so_is_an_async_one(server: Any) -> None:
    server.failures.append((UNAVAILABLE, ()))
    async with loquor.AsyncClient(server.address, retry=QUICK) as client:
        assert (await client.generate("smollm2", "a")).text == "a"
    assert len(server.calls) == 2


def test_without_retry_the_first_failure_is_final(server: Any) -> None:
    server.failures.append((UNAVAILABLE, ()))
    with loquor.Client(server.address, retry=None) as client, pytest.raises(loquor.Unavailable) as caught:
        client.generate("smollm2", "a")
    assert (len(server.calls), caught.value.partial) == (1, ())


def test_one_that_has_begun_raises_with_what_came(server: Any, generation: Any) -> None:
    generation.script = lambda request: [started(), delta("half"), 0.05, UNAVAILABLE]
    with loquor.Client(server.address, retry=QUICK) as client:
        stream = client.stream("smollm2", "a")
        with pytest.raises(loquor.Unavailable, match="told to fail") as caught:
            list(stream)
    (partial,) = caught.value.partial
    assert (partial.text, partial.finish_reason) == ("half", loquor.FinishReason.UNSPECIFIED)
    assert (partial.usage.prompt_tokens, stream.text, len(server.calls)) == (3, "half", 1)
    assert list(stream) == []


def test_the_deadline_is_for_all_of_it(client: loquor.Client, endless: Any) -> None:
    with pytest.raises(loquor.DeadlineExceeded) as caught:
        client.generate("smollm2", "a", deadline_seconds=0.3)
    assert caught.value.partial[0].text == "one two"


@pytest.mark.parametrize(
    ("steps", "error", "sentence"),
    [
        ([started(), delta("a")], loquor.Unavailable, "ended before its last event"),
        ([], loquor.Unavailable, "ended before its last event"),
        ([started(), delta("a", choice=4), FOREVER], loquor.Internal, "choice 4, which was not asked"),
    ],
)
def test_a_server_that_breaks_the_rules(
    client: loquor.Client, generation: Any, steps: list[Step], error: type[Exception], sentence: str
) -> None:
    generation.script = lambda request: steps
    with pytest.raises(error, match=sentence):
        client.generate("smollm2", "a")


def test_a_reason_of_a_newer_server_is_unspecified(client: loquor.Client, generation: Any) -> None:
    generation.script = lambda request: [started(), finished(reason=77)]
    assert client.generate("smollm2", "a").finish_reason is loquor.FinishReason.UNSPECIFIED


def test_a_long_stream_is_read_as_it_is_wanted(client: loquor.Client, generation: Any) -> None:
    """gRPC's flow control holds the server back: it has not written all while the client reads none."""
    written = 0

    def script(request: Any) -> Iterator[Any]:
        nonlocal written
        yield started()
        while written < 2000:
            written += 1
            yield delta("x" * 10_000)
        yield finished()

    generation.script = script
    stream = client.stream("smollm2", "a")
    next(stream)
    time.sleep(0.3)
    assert written < 2000
    assert len(stream.result().text) == 20_000_000
