"""Whoever else is in a batch and whoever leaves it: every answer is for the text that was sent."""

import asyncio
from collections.abc import Sequence

import grpc
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loquor.v1 import language_service_pb2 as api
from tests.conftest import RunningServer
from tests.end_to_end.load import TEXTS, distance, embedding_stub

# The texts of each caller's request, and after how many milliseconds the caller goes away, if at all.
CALLS = st.lists(
    st.tuples(
        st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=6),
        st.none() | st.integers(0, 60),
    ),
    min_size=1,
    max_size=16,
)


@pytest.fixture(scope="module")
def alone(server: RunningServer) -> list[Sequence[float]]:
    """The vector of every text, each computed by itself."""

    async def embed_all() -> list[Sequence[float]]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            stub = embedding_stub(channel)
            answers = [await stub.Embed(api.EmbedRequest(model="minilm", texts=[text])) for text in TEXTS]
        return [list(answer.embeddings[0].values) for answer in answers]

    return asyncio.run(embed_all())


async def ask(channel: grpc.aio.Channel, indices: list[int], leaves_after: int | None) -> api.EmbedResponse | None:
    request = api.EmbedRequest(model="minilm", texts=[TEXTS[index] for index in indices])
    call = embedding_stub(channel).Embed(request, timeout=60)
    if leaves_after is None:
        answer: api.EmbedResponse = await call
        return answer
    await asyncio.sleep(leaves_after / 1000)
    call.cancel()
    await asyncio.gather(asyncio.ensure_future(call), return_exceptions=True)
    return None


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_every_answer_is_for_its_own_text_in_order(
    server: RunningServer, alone: list[Sequence[float]], calls: list[tuple[list[int], int | None]]
) -> None:
    async def ask_all() -> list[api.EmbedResponse | None]:
        async with grpc.aio.insecure_channel(server.address) as channel:
            return await asyncio.gather(*(ask(channel, indices, leaves_after) for indices, leaves_after in calls))

    for (indices, leaves_after), answer in zip(calls, asyncio.run(ask_all()), strict=True):
        if leaves_after is None:
            assert answer is not None
            assert len(answer.embeddings) == len(indices)
            for index, embedding in zip(indices, answer.embeddings, strict=True):
                assert distance(embedding.values, alone[index]) < 1e-5


async def test_a_streams_answers_are_for_their_own_ids(server: RunningServer, alone: list[Sequence[float]]) -> None:
    async with grpc.aio.insecure_channel(server.address) as channel:
        call = embedding_stub(channel).EmbedStream()

        async def write() -> None:
            for index, text in enumerate(TEXTS):
                request = api.EmbedRequest(model="minilm", texts=[text])
                await call.write(api.EmbedStreamRequest(id=str(index), request=request))
            await call.done_writing()

        writing = asyncio.create_task(write())
        seen = set()
        async for answer in call:
            index = int(answer.id)
            assert distance(answer.response.embeddings[0].values, alone[index]) < 1e-5
            seen.add(index)
        await writing
    assert seen == set(range(len(TEXTS)))
