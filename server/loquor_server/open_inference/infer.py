"""ModelInfer: one request through the model that it names, whatever kind of model that is."""

import time

from loquor.v1.model_service_pb2 import TASK_INFER
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.model_names import find_model
from loquor_server.open_inference.outputs import response_of, wanted_outputs
from loquor_server.open_inference.request_parameters import read_parameters
from loquor_server.open_inference.signature import signature_of
from loquor_server.open_inference.statistics import InferenceStatistics
from loquor_server.open_inference.tensor_models import infer_tensors
from loquor_server.open_inference.text_models import infer_texts
from loquor_server.served_model import ServedModel


class Inference:
    """The behaviour of ModelInfer, and of each request on a stream."""

    def __init__(self, catalog: Catalog, statistics: InferenceStatistics) -> None:
        self._catalog = catalog
        self._statistics = statistics

    async def infer(self, request: oip.ModelInferRequest, caller: Caller) -> oip.ModelInferResponse:
        """Raises `RequestError`."""
        model = find_model(self._catalog, request.model_name, request.model_version)
        started = time.monotonic()
        try:
            with model.in_use():
                return await _infer(model, request, caller)
        except errors.RequestError:
            self._statistics.failed(model.name, model.version, time.monotonic() - started)
            raise


async def _infer(model: ServedModel, request: oip.ModelInferRequest, caller: Caller) -> oip.ModelInferResponse:
    parameters = read_parameters(request.parameters)
    caller = parameters.applied_to(caller)
    if model.hello.task == TASK_INFER and not request.outputs:
        return response_of(request, model, await infer_tensors(model, request, caller), ())
    signature = signature_of(model)
    wanted = wanted_outputs(request.outputs, signature)
    if model.hello.task == TASK_INFER:
        outputs = await infer_tensors(model, request, caller)
    else:
        outputs = await infer_texts(model, signature, request, parameters, caller)
    return response_of(request, model, outputs, wanted)
