import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip

TextRequest = Callable[..., oip.ModelInferRequest]


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_answers_come_as_they_are_ready_and_each_is_final(service: Any, text_request: TextRequest) -> None:
    service.models["embedder"].gate.clear()
    call = service.stream()
    await call.write(text_request("embedder", "alpha", id="slow"))
    await call.write(text_request("tagger", "alpha", id="fast"))
    first = await call.read()
    service.models["embedder"].gate.set()
    second = await call.read()
    assert [first.infer_response.id, second.infer_response.id] == ["fast", "slow"]
    assert all(r.infer_response.parameters["triton_final_response"].bool_param for r in (first, second))
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_asking_for_empty_final_responses_changes_nothing_for_models_with_one_answer(
    service: Any, text_request: TextRequest
) -> None:
    request = text_request("embedder", "alpha", id="1")
    request.parameters["triton_enable_empty_final_response"].bool_param = True
    call = service.stream()
    await call.write(request)
    await call.done_writing()
    responses = [response async for response in call]
    assert [(r.infer_response.id, len(r.infer_response.outputs)) for r in responses] == [("1", 1)]


async def test_a_failed_request_leaves_the_stream_open(service: Any, text_request: TextRequest) -> None:
    call = service.stream()
    await call.write(text_request("nobody", "alpha", id="bad"))
    failed = await call.read()
    assert "'nobody' is not in the repository" in failed.error_message
    assert (failed.infer_response.id, failed.infer_response.model_name) == ("bad", "nobody")
    await call.write(text_request("embedder", "alpha", id="good"))
    assert (await call.read()).infer_response.id == "good"
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


async def test_a_status_in_place_of_a_message_if_the_metadata_asks(service: Any, text_request: TextRequest) -> None:
    service.models["tagger"].failure = errors.Overloaded("the queue is full", 0.5)
    call = service.stream(metadata=(("triton_grpc_error", "true"),))
    await call.write(text_request("tagger", "alpha"))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert failure.value.details() == "the queue is full"


async def test_a_bug_ends_the_stream_and_tells_nothing_of_itself(service: Any, text_request: TextRequest) -> None:
    service.models["tagger"].failure = ValueError("secret")
    call = service.stream()
    await call.write(text_request("tagger", "alpha"))
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (failure.value.details() or "")


async def test_cancelling_the_call_drops_every_request(service: Any, text_request: TextRequest) -> None:
    model = service.models["embedder"]
    model.gate.clear()
    call = service.stream()
    for id in range(5):
        await call.write(text_request("embedder", "alpha", id=str(id)))
    await _until(lambda: model.running == 5)
    call.cancel()
    await _until(lambda: model.running == 0)
    assert model.cancelled == 5


async def test_reading_stops_while_too_many_are_under_way(service: Any, text_request: TextRequest) -> None:
    model = service.models["embedder"]
    model.gate.clear()
    call = service.stream()
    for id in range(100):
        await call.write(text_request("embedder", "alpha", id=str(id)))
    await _until(lambda: model.running == 64)
    await asyncio.sleep(0.05)
    assert model.running == 64
    model.gate.set()
    await call.done_writing()
    answered = [response.infer_response.id async for response in call]
    assert sorted(answered, key=int) == [str(id) for id in range(100)]


async def test_malformed_bytes_end_the_stream(service: Any) -> None:
    path = "/inference.GRPCInferenceService/ModelStreamInfer"
    call = service.channel.stream_stream(path)(timeout=10)
    await call.write(b"\xff\xff\xff")
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call.read()
    assert failure.value.code() is grpc.StatusCode.INVALID_ARGUMENT
