"""ModelInfer and ModelStreamInfer: a request through the model that it names, whatever kind of model that is."""

import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager

from loquor.v1.model_service_pb2 import TASK_GENERATE, TASK_INFER
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.generation_models import Generation, generated_outputs, streamed_outputs
from loquor_server.open_inference.generation_request import read_generation
from loquor_server.open_inference.model_names import find_model
from loquor_server.open_inference.outputs import response_of, wanted_outputs
from loquor_server.open_inference.request_parameters import read_parameters
from loquor_server.open_inference.signature import signature_of
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.open_inference.tensor_models import infer_tensors
from loquor_server.open_inference.text_models import infer_texts
from loquor_server.served_model import ServedModel

_FINAL = "triton_final_response"


class Inference:
    """The behaviour of ModelInfer, and of each request on a stream."""

    def __init__(self, catalog: Catalog, statistics: InferenceStatistics, generation: Generation) -> None:
        self._catalog = catalog
        self._statistics = statistics
        self._generation = generation

    async def infer(self, request: oip.ModelInferRequest, caller: Caller) -> oip.ModelInferResponse:
        """One answer, of a model that generates, too: all that it wrote. Raises `RequestError`."""
        model = find_model(self._catalog, request.model_name, request.model_version)
        with self._used(model):
            return await self._answer(model, request, caller)

    async def responses(
        self, request: oip.ModelInferRequest, caller: Caller
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        """The answers on a stream, the last of which is marked as the final one. Raises `RequestError`."""
        model = find_model(self._catalog, request.model_name, request.model_version)
        with self._used(model):
            if model.hello.task != TASK_GENERATE:
                yield _marked(await self._answer(model, request, caller), final=True)
                return
            async with aclosing(self._streamed(model, request, caller)) as responses:
                async for response in responses:
                    yield response

    @contextmanager
    def _used(self, model: ServedModel) -> Iterator[None]:
        started = time.monotonic()
        try:
            with model.in_use():
                yield
        except errors.RequestError:
            self._statistics.failed(model.name, model.version, time.monotonic() - started)
            raise

    async def _answer(
        self, model: ServedModel, request: oip.ModelInferRequest, caller: Caller
    ) -> oip.ModelInferResponse:
        parameters = read_parameters(request.parameters)
        caller = parameters.applied_to(caller)
        task = model.hello.task
        if task == TASK_GENERATE:
            asked = read_generation(request)
            return response_of(request, model, await generated_outputs(self._generation, model, asked, caller), ())
        if task == TASK_INFER and not request.outputs:
            return response_of(request, model, await infer_tensors(model, request, caller), ())
        signature = signature_of(model)
        wanted = wanted_outputs(request.outputs, signature)
        if task == TASK_INFER:
            outputs = await infer_tensors(model, request, caller)
        else:
            outputs = await infer_texts(model, signature, request, parameters, caller)
        return response_of(request, model, outputs, wanted)

    async def _streamed(
        self, model: ServedModel, request: oip.ModelInferRequest, caller: Caller
    ) -> AsyncGenerator[oip.ModelInferResponse, None]:
        """What a model generates: as it comes, or at once if the request does not ask for a stream."""
        parameters = read_parameters(request.parameters)
        caller = parameters.applied_to(caller)
        asked = read_generation(request)
        if asked.streams:
            async with aclosing(streamed_outputs(self._generation, model, asked, caller)) as streamed:
                async for outputs, last in streamed:
                    yield _marked(response_of(request, model, outputs, ()), final=last and not parameters.empty_final)
        else:
            outputs = await generated_outputs(self._generation, model, asked, caller)
            yield _marked(response_of(request, model, outputs, ()), final=not parameters.empty_final)
        if parameters.empty_final:
            yield _marked(response_of(request, model, (), ()), final=True)


def _marked(response: oip.ModelInferResponse, *, final: bool) -> oip.ModelInferResponse:
    response.parameters[_FINAL].bool_param = final
    return response
