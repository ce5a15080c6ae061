"""The blocking client against a server behind a real socket, and the parity of the two clients."""

import asyncio
import inspect
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from typing import Any, get_args

import numpy
import pytest

import loquor
from loquor._calls import Calls


def test_embed_gives_vectors_in_order_with_usage_and_timings(client: loquor.Client) -> None:
    result = client.embed("minilm", ["a", "bcd"], version=3, request_id="my-id")
    assert [len(result), result[1].values[0], result.version] == [2, 3.0, 3]
    assert isinstance(result[0].values, array)
    assert [result.usage.prompt_tokens, result.timings.queue_seconds, result.request_id] == [4, 0.25, "my-id"]
    assert numpy.asarray(result.embeddings).shape == (2, 3)
    assert numpy.asarray(result[1]).dtype == numpy.float32
    assert numpy.asarray(result[1]).tolist() == list(result[1])


def test_one_text_is_a_request_of_one(client: loquor.Client, server: Any) -> None:
    assert len(client.embed("minilm", "alone")) == 1
    assert not server.requests[0].HasField("normalize")
    assert not server.requests[0].HasField("version")


def test_classify_takes_texts_and_pairs(client: loquor.Client, server: Any) -> None:
    result = client.classify("rampart", ["a text", ("first", "second")], top_k=1)
    assert [answer.tokens for answer in result] == [1, 2]
    assert [label.label for label in result[0]] == ["yes"]
    assert result[1].best.score == 0.75
    client.classify("rampart", ("first", "second"))
    assert len(server.requests[-1].inputs) == 1


def test_tag_tokens_gives_spans(client: loquor.Client) -> None:
    (tagged,) = client.tag_tokens("rampart", "née Curie", min_score=0.5)
    assert (tagged[0].label, tagged[0].start, tagged[0].end, tagged[0].text) == ("ALL", 0, 9, "née Curie")


def test_tokenize_and_detokenize_are_inverse(client: loquor.Client) -> None:
    (tokens,) = client.tokenize("minilm", "né")
    assert tokens.ids == (110, 233)
    assert client.detokenize("minilm", tokens.ids)[0] == "né"
    assert client.detokenize("minilm", [[97], [98, 99]]).texts == ("a", "bc")


def test_infer_takes_arrays_and_gives_tensors(client: loquor.Client) -> None:
    x = numpy.arange(6, dtype=numpy.float32).reshape(2, 3)
    result = client.infer("double", {"x": x, "y": loquor.Tensor(loquor.DataType.INT64, (1,), bytes(8))}, outputs=["x"])
    assert list(result) == ["x"]
    assert numpy.array_equal(numpy.asarray(result["x"]), x)


def test_models(client: loquor.Client) -> None:
    assert [(model.name, model.version) for model in client.list_models()] == [("minilm", 1), ("rampart", 2)]
    model = client.get_model("minilm", version=4)
    assert (model.version, model.state, model.task) == (4, loquor.ModelState.READY, loquor.Task.EMBED)
    assert model.replicas[0].state is loquor.ReplicaState.READY
    assert model.inputs[0].shape == (-1, 4)
    assert client.load_model("minilm").name == "minilm"
    client.unload_model("minilm")


def test_health_and_wait_ready(client: loquor.Client, server: Any) -> None:
    client.wait_ready()
    assert client.health("minilm") is loquor.Health.SERVING
    assert server.requests[-1] == b"\x0a\x06minilm"
    server.serving = False
    with pytest.raises(loquor.DeadlineExceeded, match=r"was not ready in 0\.3 s; last seen: NOT_SERVING"):
        client.wait_ready(deadline_seconds=0.3)


def test_every_call_has_a_deadline_an_id_and_the_metadata(server: Any) -> None:
    with loquor.Client(server.address, key="secret", metadata={"tenant": "a"}, deadline_seconds=7) as client:
        client.embed("minilm", "a", priority=2)
        client.list_models(deadline_seconds=3)
    _, metadata = server.calls[0]
    assert metadata["authorization"] == "Bearer secret"
    assert (metadata["tenant"], metadata["loquor-priority"]) == ("a", "2")
    assert len(metadata["x-request-id"]) == 16
    assert 6 < server.deadlines[0] < 7.5
    assert 2 < server.deadlines[1] < 3.5


def test_state_moves_once_each_way(server: Any) -> None:
    client = loquor.Client(server.address)
    seen = [client.state]
    client.list_models()
    seen.append(client.state)
    client.close()
    client.close()
    seen.append(client.state)
    assert seen == list(loquor.ClientState)
    with pytest.raises(RuntimeError, match="this client is closed"):
        client.list_models()
    with pytest.raises(RuntimeError, match="this client is closed"):
        next(client.embed_many("minilm", ["a"]))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda c: c.embed("m", ["a", 3]), TypeError, r"texts\[1\]: takes a str, not int"),
        (lambda c: c.embed("m", b"a"), TypeError, "texts: takes a str or a sequence of str, not bytes"),
        (lambda c: c.embed("m", ["\ud800secret"]), ValueError, r"texts\[0\]: holds a lone surrogate at 0"),
        (lambda c: c.embed("m", "a", priority=10), ValueError, "priority: takes 1"),
        (lambda c: c.embed("m", "a", request_id="a b"), ValueError, "request_id: takes 1 to 128"),
        (lambda c: c.embed("m", "a", deadline_seconds=0), ValueError, "deadline_seconds: takes a finite number"),
        (lambda c: c.classify("m", [("a", "b", "c")]), TypeError, r"inputs\[0\]: takes a str or a tuple of two"),
        (lambda c: c.detokenize("m", [[-1]]), TypeError, r"sequences\[0\]: takes a sequence of token ids"),
        (lambda c: c.infer("m", {"x": [1.0]}), TypeError, r"inputs\['x'\]: list offers no buffer"),
        (lambda c: c.infer("m", {}, outputs="x"), TypeError, "outputs: takes a sequence of str"),
        (lambda c: next(c.embed_many("m", "text")), TypeError, "texts: takes an iterable of str"),
        (lambda c: next(c.embed_many("m", ["a"], window=0)), ValueError, "window: takes a whole number from 1"),
        (lambda c: next(c.embed_many("m", 3)), TypeError, "texts: takes an iterable of str, not int"),
        (lambda c: c.embed(3, "a"), TypeError, "model: takes no int"),
        (lambda c: c.embed("\ud800", "a"), ValueError, "model: holds a lone surrogate"),
        (lambda c: c.embed("m", "a", version="3"), TypeError, "version: takes no str"),
        (lambda c: c.embed("m", "a", version=2**70), ValueError, r"version: \d+ is out of range"),
        (lambda c: c.classify("m", "a", top_k=-1), ValueError, "top_k: -1 is out of range"),
        (lambda c: c.embed("m", "a", priority="1"), ValueError, "priority: takes 1"),
        (lambda c: c.embed("m", "a", request_id=3), ValueError, "request_id: takes 1 to 128"),
        (lambda c: c.embed("m", "a", deadline_seconds="3"), ValueError, "deadline_seconds: takes a finite"),
        (lambda c: c.detokenize("m", 3), TypeError, "sequences: takes a sequence of token ids"),
        (lambda c: c.get_model(3), TypeError, "name: takes no int"),
        (lambda c: c.health(3), TypeError, "model: takes a str"),
        (lambda c: list(c.embed_many("m", ["a", None])), TypeError, r"texts from 0: texts\[1\]: takes a str"),
    ],
)
def test_misuse_is_a_plain_error_with_a_sentence(
    client: loquor.Client, call: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call(client)


def test_a_result_shows_no_text_and_no_value(client: loquor.Client) -> None:
    shown = repr(client.tag_tokens("m", "secret")) + repr(client.tag_tokens("m", "secret")[0])
    assert "secret" not in shown
    assert "request_id" in shown


def _public(cls: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(cls) if not name.startswith("_")}


def test_both_clients_have_the_same_methods_with_the_same_signatures() -> None:
    blocking, awaiting = _public(loquor.Client), _public(loquor.AsyncClient)
    assert blocking.keys() == awaiting.keys()
    for name, method in awaiting.items():
        if callable(method):
            mine, theirs = inspect.signature(blocking[name]), inspect.signature(method)
            assert mine.parameters == theirs.parameters, name
            assert inspect.getdoc(blocking[name]) == inspect.getdoc(method), name
    assert inspect.signature(loquor.Client) == inspect.signature(loquor.AsyncClient)


def test_an_iterator_is_named_for_what_it_is() -> None:
    of_blocking = inspect.signature(loquor.Client.embed_many).return_annotation
    of_awaiting = inspect.signature(loquor.AsyncClient.embed_many).return_annotation
    assert of_blocking == Iterator[loquor.Embedding]
    assert of_awaiting == AsyncIterator[loquor.Embedding]
    assert get_args(of_blocking) == get_args(of_awaiting)


async def test_the_async_client_does_the_same(server: Any) -> None:
    async with loquor.AsyncClient(server.address, deadline_seconds=5) as client:
        await client.wait_ready()
        results = await asyncio.gather(*(client.embed("minilm", "x" * n) for n in range(1, 20)))
        assert [result[0][0] for result in results] == list(range(1, 20))
        streamed = [e[0] async for e in client.embed_many("minilm", ("x" * n for n in range(1, 50)), batch_size=4)]
        assert streamed == list(range(1, 50))
        assert (await client.classify("rampart", "a"))[0].best.label == "yes"
        with pytest.raises(ValueError, match="priority"):
            await client.embed("minilm", "a", priority=0)


async def test_the_blocking_client_works_inside_an_event_loop(server: Any) -> None:
    with loquor.Client(server.address) as client:
        assert len(client.embed("minilm", "a")) == 1


async def test_an_async_call_can_be_cancelled(server: Any) -> None:
    async with loquor.AsyncClient(server.address) as client:
        await client.list_models()
        server.before_answer = lambda: time.sleep(0.5)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.embed("minilm", "a")


async def test_closing_under_a_call_ends_it_with_cancelled(server: Any) -> None:
    client = loquor.AsyncClient(server.address)
    await client.list_models()
    server.before_answer = lambda: time.sleep(0.5)
    call = asyncio.create_task(client.embed("minilm", "a"))
    await asyncio.sleep(0.1)
    await client.close()
    with pytest.raises(loquor.Cancelled):
        await call


def test_an_async_client_refuses_another_loop(server: Any) -> None:
    client = loquor.AsyncClient(server.address)

    async def first() -> None:
        await client.list_models()

    async def second() -> None:
        with pytest.raises(RuntimeError, match="belongs to the event loop of its first call"):
            await client.list_models()

    asyncio.run(first())
    asyncio.run(second())


def test_calls_is_the_one_place_where_the_api_is_written() -> None:
    assert {name for name in vars(Calls) if not name.startswith("_")} < _public(loquor.AsyncClient).keys()
