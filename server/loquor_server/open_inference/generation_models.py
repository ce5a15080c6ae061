"""Models that generate, over the protocol: texts or a chat in, and what is written of each out, at once or as it comes.

It ends in the inner call that `loquor.v1` ends in, too, and knows neither queues nor workers.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from grpc import StatusCode

from loquor.v1 import language_service_pb2 as api
from loquor_server.caller import Caller
from loquor_server.errors import RequestError
from loquor_server.open_inference.generated_texts import GeneratedTexts
from loquor_server.open_inference.generation_request import GenerationRequest
from loquor_server.open_inference.generation_signature import TEXT_INPUT
from loquor_server.open_inference.tensors import OutputTensor
from loquor_server.served_model import ServedModel

_CODES = {code.value[0]: code.name for code in StatusCode}


class Generation(Protocol):
    """The inner call, for one input and for many. Its events are those of `loquor.v1`."""

    def generate(self, request: api.GenerateRequest, caller: Caller) -> AsyncGenerator[api.GenerateResponse, None]: ...

    def generate_batch(
        self, request: api.GenerateBatchRequest, caller: Caller
    ) -> AsyncGenerator[api.GenerateBatchResponse, None]: ...


class InputFailed(RequestError):
    """One of the inputs of a request failed, and the request with it."""

    def __init__(self, index: int, error: api.StreamError) -> None:
        super().__init__(f"{TEXT_INPUT}[{index}]: {error.message}")
        self.status = _CODES.get(error.code, "INTERNAL")


async def generated_outputs(
    generation: Generation, model: ServedModel, request: GenerationRequest, caller: Caller
) -> list[OutputTensor]:
    """Everything that is wanted, once the last text is finished. Raises `RequestError`."""
    texts = GeneratedTexts(request)
    async with aclosing(_events(generation, model, request, caller)) as events:
        async for index, event in events:
            texts.take(index, event)
    return texts.outputs()


async def streamed_outputs(
    generation: Generation, model: ServedModel, request: GenerationRequest, caller: Caller
) -> AsyncGenerator[tuple[list[OutputTensor], bool], None]:
    """What is new with each delta, then what is known once all is finished; each with whether it is the last.

    Raises `RequestError`.
    """
    texts = GeneratedTexts(request)
    async with aclosing(_events(generation, model, request, caller)) as events:
        async for index, event in events:
            texts.take(index, event)
            if event.delta.text or event.delta.tokens or texts.finished:
                yield texts.outputs(), texts.finished


async def _events(
    generation: Generation, model: ServedModel, request: GenerationRequest, caller: Caller
) -> AsyncGenerator[tuple[int, api.GenerateResponse], None]:
    """With the index of the input that each is of."""
    if len(request.inputs) == 1:
        one = api.GenerateRequest(
            model=model.name, version=model.version, input=request.inputs[0], sampling=request.sampling
        )
        async with aclosing(generation.generate(one, caller)) as events:
            async for event in events:
                yield 0, event
        return
    many = api.GenerateBatchRequest(
        model=model.name, version=model.version, inputs=request.inputs, sampling=request.sampling
    )
    async with aclosing(generation.generate_batch(many, caller)) as batch:
        async for response in batch:
            if response.HasField("error"):
                raise InputFailed(response.index, response.error)
            yield response.index, response.event
