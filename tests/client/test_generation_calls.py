"""`generate`, `stream` and `chat` of both clients against a server behind a real socket."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

import loquor
from loquor._generation import SamplingOptions
from tests.client.fake_generation import SEED, delta, finished, started

QUICK = loquor.Retry(initial_backoff_seconds=0.01, max_backoff_seconds=0.02)


def test_one_prompt_gives_one_generation(client: loquor.Client, server: Any) -> None:
    result = client.generate("smollm2", "to be or not", version=3, request_id="my-id", priority=2, cache_salt="mine")
    assert (result.text, result.finish_reason) == ("to be or not", loquor.FinishReason.STOP)
    assert (result.model, result.version, result.seed, result.request_id) == ("smollm2", 3, SEED, "my-id")
    assert result.usage == loquor.Usage(3, 4, 2)
    assert result.timings == loquor.GenerationTimings(0.0, 0.25, 0.5, 2.0)
    assert (result.stop, result.tokens) == (None, ())
    request, (path, metadata) = server.requests[0], server.calls[0]
    assert path == "/loquor.v1.LanguageService/Generate"
    assert (request.version, request.cache_salt, metadata["loquor-priority"]) == (3, "mine", "2")
    assert not request.sampling.ListFields()


def test_n_choices_are_one_generation(client: loquor.Client) -> None:
    result = client.generate("smollm2", "a b c", n=3, max_tokens=2, logprobs=1)
    assert [choice.text for choice in result] == ["a b"] * 3
    assert {choice.finish_reason for choice in result} == {loquor.FinishReason.LENGTH}
    assert result.usage.completion_tokens == 6
    (first, second) = result.tokens
    assert (first.text, second.text, first.logprob) == ("a", " b", -0.5)
    assert first.alternatives == (loquor.TokenAlternative(0, "<0>", -2.0),)


def test_several_prompts_come_back_in_order(client: loquor.Client, server: Any) -> None:
    prompts: list[loquor.Prompt] = ["a", (5, 6), loquor.Chat([loquor.Message("user", "hello there")])]
    results = client.generate("smollm2", iter(prompts), n=2)
    assert [result.text for result in results] == ["a", "5 6", "hello there"]
    assert [len(result) for result in results] == [2, 2, 2]
    assert len({result.request_id for result in results}) == 1
    assert server.calls[0][0].endswith("/GenerateBatch")


@pytest.mark.parametrize("prompt", ["words", [1, 2], (1, 2), range(3), loquor.Chat([])])
def test_what_is_one_prompt(prompt: Any) -> None:
    from loquor._requests import several_prompts

    assert several_prompts(prompt) is None


def test_every_parameter_goes_out(client: loquor.Client, server: Any) -> None:
    params: dict[str, Any] = {
        "max_tokens": 9,
        "min_tokens": 2,
        "temperature": 0.0,
        "top_k": 3,
        "top_p": 0.5,
        "min_p": 0.25,
        "repetition_penalty": 1.5,
        "presence_penalty": -1.0,
        "frequency_penalty": 2.0,
        "logit_bias": {7: -100.0},
        "seed": 2**63,
        "stop": ["one", "two"],
        "stop_token_ids": [4, 5],
        "ignore_eos": True,
        "n": 2,
        "logprobs": 0,
        "regex": "[a-z]+",
    }
    client.generate("smollm2", "a", **params)
    client.generate("smollm2", "a", sampling=loquor.SamplingParams(**params))
    first, second = (request.sampling for request in server.requests)
    assert first == second
    assert {field.name for field, _ in first.ListFields()} == set(params)
    assert (first.temperature, first.logprobs, dict(first.logit_bias)) == (0.0, 0, {7: -100.0})
    assert {*params, "json_schema"} == SamplingOptions.__annotations__.keys()
    assert SamplingOptions.__annotations__ == loquor.SamplingParams.__annotations__


def test_fields_change_the_sampling_that_is_given(client: loquor.Client, server: Any) -> None:
    base = loquor.SamplingParams(max_tokens=5, temperature=0.5)
    client.generate("smollm2", "a", sampling=base, temperature=None, stop="end", json_schema={"type": "object"})
    sampling = server.requests[0].sampling
    assert (sampling.max_tokens, sampling.HasField("temperature"), list(sampling.stop)) == (5, False, ["end"])
    assert json.loads(sampling.json_schema) == {"type": "object"}


def test_a_stop_string_is_told(client: loquor.Client, server: Any) -> None:
    server.generation.script = lambda request: [started(), delta("one"), finished(stop="two")]
    assert client.generate("smollm2", "a", stop="two").stop == "two"


def test_chat_takes_messages_and_dicts(client: loquor.Client, server: Any) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}, loquor.Message("user", "how are you")]
    result = client.chat("smollm2", messages, max_tokens=2)
    assert result.message == loquor.Message("assistant", "how are")
    messages.append(result.message)
    stream = client.chat("smollm2", messages, stream=True, template="tool", continue_last_message=True)
    assert [delta.text for delta in stream] == ["how", " are"]
    chat = server.requests[1].input.chat
    assert [message.role for message in chat.messages] == ["system", "user", "assistant"]
    assert (chat.template, chat.continue_last_message) == ("tool", True)


async def test_the_async_client_does_the_same(server: Any) -> None:
    async with loquor.AsyncClient(server.address, deadline_seconds=5) as client:
        assert (await client.generate("smollm2", "a b")).text == "a b"
        assert [one.text for one in await client.generate("smollm2", ["a", "b"])] == ["a", "b"]
        assert (await client.chat("smollm2", [loquor.Message("user", "hi")])).text == "hi"
        stream = client.chat("smollm2", [loquor.Message("user", "hi you")], stream=True)
        assert [delta.text async for delta in stream] == ["hi", " you"]
        assert stream.usage.completion_tokens == 2
        streams = [client.stream("smollm2", f"number {n}") for n in range(20)]
        results = await asyncio.gather(*(stream.result() for stream in streams))
        assert [result.text for result in results] == [f"number {n}" for n in range(20)]


def test_a_prompt_that_fails_alone_raises_with_all_of_them(client: loquor.Client, server: Any) -> None:
    from loquor.v1.language_service_pb2 import GenerateBatchResponse, StreamError

    def script(request: Any) -> Iterator[Any]:
        yield GenerateBatchResponse(index=1, event=started())
        yield GenerateBatchResponse(index=1, error=StreamError(code=14, message="worker lost"))
        for event in (started(), delta("whole"), finished()):
            yield GenerateBatchResponse(index=0, event=event)

    server.generation.batch_script = script
    with pytest.raises(loquor.Unavailable, match=r"prompts\[1\]: worker lost") as caught:
        client.generate("smollm2", ["a", "b"])
    whole, broken = caught.value.partial
    assert (whole.text, whole.finish_reason) == ("whole", loquor.FinishReason.STOP)
    assert (broken.text, broken.finish_reason) == ("", loquor.FinishReason.UNSPECIFIED)


def test_a_batch_that_breaks_has_what_came(client: loquor.Client, server: Any) -> None:
    from loquor.v1.language_service_pb2 import GenerateBatchResponse

    begun = [GenerateBatchResponse(index=0, event=event) for event in (started(), delta("half"))]
    server.generation.batch_script = lambda request: [*begun, grpc.StatusCode.INTERNAL]
    with pytest.raises(loquor.Internal) as caught:
        client.generate("smollm2", ["a", "b"])
    assert [one.text for one in caught.value.partial] == ["half", ""]
    server.generation.batch_script = lambda request: begun
    with pytest.raises(loquor.Unavailable, match="ended before its last event"):
        client.generate("smollm2", ["a", "b"])
    server.generation.batch_script = lambda request: [GenerateBatchResponse(index=9, event=started())]
    with pytest.raises(loquor.Internal, match="prompt 9, which was not asked") as caught:
        client.generate("smollm2", ["a", "b"])
    assert caught.value.partial == ()


def test_a_batch_is_tried_again_before_it_begins(server: Any) -> None:
    server.failures.extend([(grpc.StatusCode.UNAVAILABLE, ())] * 2)
    with loquor.Client(server.address, retry=QUICK) as client:
        assert [one.text for one in client.generate("smollm2", ["a", "b"])] == ["a", "b"]
    assert len(server.calls) == 3


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda c: c.generate("m", 3), TypeError, "prompt: takes a str, token ids, a Chat"),
        (lambda c: c.generate("m", b"a"), TypeError, "prompt: takes a str, token ids, a Chat"),
        (lambda c: c.generate("m", [1, -1]), TypeError, "prompt: takes a str, a Chat, or token ids"),
        (lambda c: c.generate("m", ["a", None]), TypeError, r"prompts\[1\]: takes a str, a Chat, or token ids"),
        (lambda c: c.generate("m", "\ud800x"), ValueError, "prompt: holds a lone surrogate at 0"),
        (lambda c: c.stream(3, "a"), TypeError, "model: takes no int"),
        (lambda c: c.stream("m", "a", max_tokens=-1), ValueError, "max_tokens: -1 is out of range"),
        (lambda c: c.stream("m", "a", temperature="hot"), TypeError, "temperature: takes no str"),
        (lambda c: c.stream("m", "a", stop=[1]), TypeError, r"stop\[0\]: takes a str, not int"),
        (lambda c: c.stream("m", "a", logit_bias={"a": 1}), TypeError, "logit_bias: takes no dict"),
        (lambda c: c.stream("m", "a", json_schema={"a": {1}}), TypeError, "json_schema: takes a JSON schema"),
        (lambda c: c.stream("m", "a", json_schema="{}", regex="a"), ValueError, "json_schema and regex"),
        (lambda c: c.stream("m", "a", sampling={"n": 1}), TypeError, "sampling: takes a SamplingParams, not dict"),
        (lambda c: c.stream("m", "a", max_token=1), TypeError, "unexpected keyword argument 'max_token'"),
        (lambda c: c.stream("m", "a", deadline_seconds=0), ValueError, "deadline_seconds: takes a finite"),
        (lambda c: c.chat("m", "hello"), TypeError, "messages: takes an iterable of messages, not str"),
        (lambda c: c.chat("m", {"role": "user"}), TypeError, "messages: takes an iterable of messages, not dict"),
        (lambda c: c.chat("m", ["hello"]), TypeError, r"messages\[0\]: takes a Message, or a mapping"),
        (lambda c: c.chat("m", [{"role": "user"}]), TypeError, r"messages\[0\]: takes a Message, or a mapping"),
        (lambda c: c.chat("m", [loquor.Message("user", 3)]), TypeError, r"messages\[0\].content: takes a str"),  # type: ignore[arg-type]
    ],
)
def test_misuse_is_a_plain_error_with_a_sentence(
    client: loquor.Client, call: Any, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence):
        call(client)
    assert client.state is loquor.ClientState.UNOPENED


def test_nothing_shows_its_text(client: loquor.Client) -> None:
    result = client.generate("smollm2", "secret", logprobs=2)
    shown = f"{result} {result!r} {result.tokens} {result.message} {loquor.Chat([loquor.Message('user', 'secret')])}"
    shown += str(loquor.SamplingParams(stop="secret", regex="secret"))
    assert "secret" not in shown
    assert "finish_reason" in shown
