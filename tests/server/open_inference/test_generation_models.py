"""Generating over a real socket: one answer, many answers, and every way a stream of them ends."""

import asyncio
import json
import struct
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.tensors import join_bytes, split_bytes

CODES = grpc.StatusCode
TRUE, FALSE = b"\1", b"\0"


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def asked(*texts: str, id: str = "", sampling: dict[str, Any] | None = None, **flags: bytes) -> oip.ModelInferRequest:
    request = oip.ModelInferRequest(model_name="writer", id=id)
    request.inputs.add(name="text_input", datatype="BYTES", shape=[len(texts)])
    request.raw_input_contents.append(join_bytes(text.encode() for text in texts))
    for name, data in flags.items():
        request.inputs.add(name=name, datatype="BOOL", shape=[1])
        request.raw_input_contents.append(data)
    if sampling is not None:
        request.inputs.add(name="sampling_parameters", datatype="BYTES", shape=[1])
        request.raw_input_contents.append(join_bytes([json.dumps(sampling).encode()]))
    return request


def streamed(*texts: str, **options: Any) -> oip.ModelInferRequest:
    return asked(*texts, stream=TRUE, **options)


def strings(response: oip.ModelInferResponse, name: str = "text_output") -> list[str]:
    return [element.decode() for element in split_bytes(raw(response, name), name)]


def raw(response: oip.ModelInferResponse, name: str) -> bytes:
    return response.raw_output_contents[[output.name for output in response.outputs].index(name)]


def final(response: oip.ModelStreamInferResponse) -> bool:
    return response.infer_response.parameters["triton_final_response"].bool_param


async def _all_of(service: Any, *requests: oip.ModelInferRequest) -> list[oip.ModelStreamInferResponse]:
    call = service.stream()
    for request in requests:
        await call.write(request)
    await call.done_writing()
    return await _rest_of(call)


async def _rest_of(call: Any) -> list[oip.ModelStreamInferResponse]:
    responses = []
    while (response := await call.read()) is not grpc.aio.EOF:
        responses.append(response)
    return responses


# --- one answer ---


async def test_the_unary_call_answers_with_the_generated_text_alone(service: Any) -> None:
    response = await service.call("ModelInfer", asked("alpha beta", id="7"))
    assert (response.id, response.model_name, response.model_version) == ("7", "writer", "1")
    (output,) = response.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("text_output", "BYTES", [1])
    assert strings(response) == ["ALPHA BETA"]
    (request,) = service.generation.requests
    assert (request.model, request.version, request.input.prompt) == ("writer", 1, "alpha beta")


async def test_many_texts_and_many_choices(service: Any) -> None:
    response = await service.call("ModelInfer", asked("alpha beta", "gamma"))
    assert strings(response) == ["ALPHA BETA", "GAMMA"]
    response = await service.call("ModelInfer", asked("alpha beta", sampling={"n": 2}))
    assert strings(response) == ["ALPHA BETA", "ALPHA1 BETA1"]
    response = await service.call("ModelInfer", asked("alpha", "beta", sampling={"n": 2}))
    assert strings(response) == ["ALPHA", "ALPHA1", "BETA", "BETA1"]
    assert list(response.outputs[0].shape) == [4]


async def test_the_prompt_stands_before_the_text_if_asked(service: Any) -> None:
    response = await service.call("ModelInfer", asked("a ", "b ", exclude_input_in_output=FALSE))
    assert strings(response) == ["a A", "b B"]


async def test_all_outputs(service: Any) -> None:
    request = asked(
        "a b c",
        sampling={"max_tokens": 2, "logprobs": 1},
        return_finish_reason=TRUE,
        return_cumulative_logprob=TRUE,
        return_logprobs=TRUE,
        return_num_input_tokens=TRUE,
        return_num_output_tokens=TRUE,
    )
    response = await service.call("ModelInfer", request)
    assert [output.name for output in response.outputs] == [
        "text_output",
        "finish_reason",
        "cumulative_logprob",
        "logprobs",
        "num_input_tokens",
        "num_output_tokens",
    ]
    assert strings(response, "finish_reason") == ["length"]
    assert struct.unpack("<f", raw(response, "cumulative_logprob")) == (-1.0,)
    (logprobs,) = map(json.loads, strings(response, "logprobs"))
    assert logprobs == [
        {
            "0": {"logprob": -0.5, "rank": None, "decoded_token": "A"},
            "100": {"logprob": -1.0, "rank": 1, "decoded_token": "other0"},
        },
        {
            "1": {"logprob": -0.5, "rank": None, "decoded_token": " B"},
            "100": {"logprob": -1.0, "rank": 1, "decoded_token": "other0"},
        },
    ]
    assert struct.unpack("<I", raw(response, "num_input_tokens")) == (3,)
    assert struct.unpack("<I", raw(response, "num_output_tokens")) == (2,)


async def test_outputs_asked_for_by_name_come_in_the_order_asked(service: Any) -> None:
    request = asked("alpha")
    request.outputs.add(name="finish_reason")
    request.outputs.add(name="text_output")
    response = await service.call("ModelInfer", request)
    assert [output.name for output in response.outputs] == ["finish_reason", "text_output"]
    assert strings(response, "finish_reason") == ["stop"]


async def test_a_chat(service: Any) -> None:
    request = oip.ModelInferRequest(model_name="writer")
    messages = [{"role": "user", "content": "alpha"}, {"role": "assistant", "content": "beta"}]
    request.inputs.add(name="messages", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(join_bytes([json.dumps(messages).encode()]))
    assert strings(await service.call("ModelInfer", request)) == ["ALPHA BETA"]


async def test_statuses_of_the_unary_call(service: Any) -> None:
    code, message = await service.refused("ModelInfer", asked("a", sampling={"temperature": -1}))
    assert (code, message) == (CODES.INVALID_ARGUMENT, "sampling.temperature: must be from 0 to 100")
    assert (await service.refused("ModelInfer", asked("a fail")))[0] is CODES.UNAVAILABLE
    code, message = await service.refused("ModelInfer", asked("a", "b fail", "c"))
    assert (code, message) == (CODES.UNAVAILABLE, "text_input[1]: the worker was lost")
    stats = service.statistics.message("writer", 1)
    assert stats.inference_stats.fail.count == 3


async def test_priority_and_timeout_reach_the_inner_call(service: Any) -> None:
    request = asked("a")
    request.parameters["priority"].uint64_param = 2
    request.parameters["timeout"].int64_param = 3_000_000
    await service.call("ModelInfer", request)
    (caller,) = service.generation.callers
    assert caller.priority == 2
    assert caller.seconds_left() <= 3
    request.parameters["timeout"].int64_param = 1
    assert (await service.refused("ModelInfer", request))[0] is CODES.DEADLINE_EXCEEDED


async def test_a_cancelled_call_ends_its_generation(service: Any) -> None:
    service.generation.gate.clear()
    call = asyncio.create_task(service.call("ModelInfer", asked("alpha beta")))
    await _until(lambda: service.generation.running == 1)
    call.cancel()
    await _until(lambda: service.generation.running == 0)


# --- streams ---


async def test_one_response_a_delta_and_the_last_one_final(service: Any) -> None:
    responses = await _all_of(service, streamed("alpha beta", id="1", return_finish_reason=TRUE))
    assert [strings(r.infer_response) for r in responses] == [["ALPHA"], [" BETA"], [""]]
    assert [strings(r.infer_response, "finish_reason") for r in responses] == [["None"], ["None"], ["stop"]]
    assert [final(r) for r in responses] == [False, False, True]
    assert {r.infer_response.id for r in responses} == {"1"}


async def test_an_empty_final_response_if_asked(service: Any) -> None:
    for request in (streamed("alpha beta"), asked("alpha beta")):
        request.parameters["triton_enable_empty_final_response"].bool_param = True
        *with_text, last = await _all_of(service, request)
        assert "".join(strings(r.infer_response)[0] for r in with_text) == "ALPHA BETA"
        assert [final(r) for r in with_text] == [False] * len(with_text)
        assert (final(last), len(last.infer_response.outputs)) == (True, 0)


async def test_without_stream_there_is_one_response(service: Any) -> None:
    (response,) = await _all_of(service, asked("alpha beta"))
    assert (strings(response.infer_response), final(response)) == (["ALPHA BETA"], True)


async def test_what_is_told_once_and_what_adds_up(service: Any) -> None:
    request = streamed(
        "a ",
        sampling={"n": 2, "logprobs": 0},
        exclude_input_in_output=FALSE,
        return_num_output_tokens=TRUE,
        return_num_input_tokens=TRUE,
        return_cumulative_logprob=TRUE,
    )
    first, second, last = [r.infer_response for r in await _all_of(service, request)]
    assert [strings(r) for r in (first, second, last)] == [["a A", "a "], ["", "A1"], ["", ""]]
    counts = [struct.unpack("<2I", raw(r, "num_output_tokens")) for r in (first, second, last)]
    assert counts == [(0, 0), (0, 0), (1, 1)]
    assert struct.unpack("<I", raw(last, "num_input_tokens")) == (1,)
    assert struct.unpack("<2f", raw(second, "cumulative_logprob")) == (-0.5, -0.5)


async def test_requests_interleave_on_one_stream(service: Any) -> None:
    service.generation.gate.clear()
    call = service.stream()
    await call.write(streamed("alpha beta", id="1"))
    await call.write(streamed("gamma delta", id="2"))
    first, second = await call.read(), await call.read()
    assert {first.infer_response.id, second.infer_response.id} == {"1", "2"}
    await call.write(streamed("epsilon zeta", id="3"))
    assert strings((await call.read()).infer_response) == ["EPSILON"]
    service.generation.gate.set()
    await call.done_writing()
    rest: dict[str, str] = {"1": "", "2": "", "3": ""}
    for response in await _rest_of(call):
        rest[response.infer_response.id] += strings(response.infer_response)[0]
    assert rest == {"1": " BETA", "2": " DELTA", "3": " ZETA"}


async def test_a_failure_in_the_middle_leaves_the_stream_open(service: Any) -> None:
    call = service.stream()
    await call.write(streamed("alpha fail", id="bad"))
    assert strings((await call.read()).infer_response) == ["ALPHA"]
    failed = await call.read()
    assert (failed.error_message, failed.infer_response.id, final(failed)) == ("the worker was lost", "bad", True)
    await call.write(streamed("alpha", id="good"))
    assert strings((await call.read()).infer_response) == ["ALPHA"]
    await call.done_writing()
    assert [final(response) for response in await _rest_of(call)] == [True]
    assert await call.code() is CODES.OK


async def test_a_failure_ends_the_stream_with_its_status_if_asked(service: Any) -> None:
    service.generation.failure = errors.Overloaded("the reader is too slow", 0.5)
    call = service.stream(metadata=(("triton_grpc_error", "true"),))
    await call.write(streamed("alpha fail"))
    await call.read()
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is CODES.RESOURCE_EXHAUSTED


async def test_cancelling_the_stream_cancels_all_of_it(service: Any) -> None:
    service.generation.gate.clear()
    call = service.stream()
    for id in range(5):
        await call.write(streamed("alpha beta", id=str(id)))
    await _until(lambda: service.generation.running == 5)
    call.cancel()
    await _until(lambda: service.generation.running == 0)


async def test_a_caller_that_does_not_read_is_not_written_for(service: Any) -> None:
    call = service.stream(timeout=30)
    word = "w" * 10_000
    await call.write(streamed(" ".join([word] * 2000)))
    written = -1
    while written != service.generation.written:
        written = service.generation.written
        await asyncio.sleep(0.2)
    assert written < 1000
    call.cancel()
    await _until(lambda: service.generation.running == 0)
