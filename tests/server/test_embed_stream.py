"""The bulk stream: answers by id in any order, a bounded number under way, and never a refusal for load."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from loquor.v1 import language_service_pb2 as api
from loquor_server.caller import Caller
from loquor_server.embed_stream import EmbedStream
from loquor_server.errors import InvalidArgument, ModelNotFound, Overloaded, Unavailable

ANYBODY = Caller("anybody")


class Embedder:
    """Answers with the model's name as it was asked for, once `open` is set."""

    def __init__(self, fails: Callable[[str], None] = lambda _: None) -> None:
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self.cancelled = 0
        self._fails = fails

    async def embed(self, request: api.EmbedRequest, caller: Caller) -> api.EmbedResponse:
        self.asked += 1
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self._fails(request.model)
        return api.EmbedResponse(model=request.model)


def request(id: str) -> api.EmbedStreamRequest:
    return api.EmbedStreamRequest(id=id, request=api.EmbedRequest(model=f"model {id}"))


async def requests(*ids: str, error: Exception | None = None) -> AsyncIterator[api.EmbedStreamRequest]:
    for id in ids:
        yield request(id)
    if error is not None:
        raise error


async def test_every_request_is_answered_under_its_id() -> None:
    ids = [str(number) for number in range(200)]
    stream = EmbedStream(Embedder(), requests(*ids), ANYBODY)
    answers = {response.id: response.response.model async for response in stream.responses()}
    assert answers == {id: f"model {id}" for id in ids}


async def test_no_more_are_read_than_may_be_under_way() -> None:
    embedder = Embedder()
    embedder.open.clear()
    stream = EmbedStream(embedder, requests(*(str(number) for number in range(200))), ANYBODY)
    reading = asyncio.create_task(_all(stream))
    await asyncio.sleep(0.05)
    assert embedder.asked == 64
    embedder.open.set()
    assert len(await reading) == 200


async def test_a_request_that_fails_leaves_the_stream_open() -> None:
    def fails(model: str) -> None:
        if model == "model 1":
            raise ModelNotFound(model)

    stream = EmbedStream(Embedder(fails), requests("0", "1", "2"), ANYBODY)
    answers = {response.id: response async for response in stream.responses()}
    assert answers["1"].error.code == 5
    assert answers["0"].HasField("response")
    assert answers["2"].HasField("response")


async def test_load_holds_it_back_and_never_refuses_it() -> None:
    refusals = 3

    def fails(_: str) -> None:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise Overloaded("full", 0.01)

    stream = EmbedStream(Embedder(fails), requests("0"), ANYBODY)
    (answer,) = [response async for response in stream.responses()]
    assert answer.HasField("response")


@pytest.mark.parametrize("error", [InvalidArgument("request", "is no message"), Unavailable("stopping")])
async def test_what_was_read_before_the_end_is_answered_first(error: Exception) -> None:
    embedder = Embedder()
    embedder.open.clear()
    stream = EmbedStream(embedder, requests("0", "1", error=error), ANYBODY)
    answers: list[str] = []

    async def read() -> None:
        async for response in stream.responses():
            answers.append(response.id)  # noqa: PERF401 - what came before the failure is kept

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.01)
    embedder.open.set()
    with pytest.raises(type(error)):
        await reading
    assert sorted(answers) == ["0", "1"]


async def test_an_id_twice_at_a_time_is_refused_and_one_after_the_other_is_not() -> None:
    embedder = Embedder()
    embedder.open.clear()
    stream = EmbedStream(embedder, requests("same", "same"), ANYBODY)
    reading = asyncio.create_task(_all(stream))
    await asyncio.sleep(0.01)
    embedder.open.set()
    with pytest.raises(InvalidArgument, match="id"):
        await reading

    async def one_by_one() -> AsyncIterator[api.EmbedStreamRequest]:
        yield request("same")
        await asyncio.sleep(0.02)
        yield request("same")

    assert len(await _all(EmbedStream(Embedder(), one_by_one(), ANYBODY))) == 2


async def test_an_id_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="128"):
        await _all(EmbedStream(Embedder(), requests("é" * 65), ANYBODY))


async def test_a_caller_who_leaves_cancels_what_is_under_way() -> None:
    embedder = Embedder()
    embedder.open.clear()
    stream = EmbedStream(embedder, requests("0", "1", "2"), ANYBODY)
    reading = asyncio.create_task(_all(stream))
    await asyncio.sleep(0.01)
    stream.cancel()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await asyncio.sleep(0.01)
    assert embedder.cancelled == 3


async def _all(stream: EmbedStream) -> list[api.EmbedStreamResponse]:
    return [response async for response in stream.responses()]
