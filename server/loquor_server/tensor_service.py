"""`loquor.v1.TensorService`, and the checks that every tensor request passes, by whatever protocol it came."""

import math
from collections.abc import Iterable, Sequence

import grpc

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import model_service_pb2 as models
from loquor.v1 import tensor_service_pb2 as api
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.catalog import Catalog
from loquor_server.pending_request import Answer
from loquor_server.rpc import Rpc
from loquor_server.served_model import Part, ServedModel
from loquor_server.text_inference import check_task, timings_of

NAME = "loquor.v1.TensorService"

ELEMENT_BYTES = {
    api.DATA_TYPE_BOOL: 1,
    api.DATA_TYPE_UINT8: 1,
    api.DATA_TYPE_INT8: 1,
    api.DATA_TYPE_INT16: 2,
    api.DATA_TYPE_INT32: 4,
    api.DATA_TYPE_INT64: 8,
    api.DATA_TYPE_FLOAT16: 2,
    api.DATA_TYPE_BFLOAT16: 2,
    api.DATA_TYPE_FLOAT32: 4,
    api.DATA_TYPE_FLOAT64: 8,
}


class TensorService:
    """The behaviours of the service."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def handler(self, rpc: Rpc) -> grpc.GenericRpcHandler:
        return grpc.method_handlers_generic_handler(NAME, {"Infer": rpc.unary("Infer", api.InferRequest, self.infer)})

    async def infer(self, request: api.InferRequest, caller: Caller) -> api.InferResponse:
        if not request.model:
            raise errors.InvalidArgument("model", "must name a model")
        model = self._catalog.find(request.model, request.version if request.HasField("version") else None)
        check_task(model, models.TASK_INFER)
        check_output_names(model, request.output_names, "output_names")
        answer = await run_tensors(model, request.inputs, caller)
        outputs = {tensor.name: tensor for tensor in answer.tensors}
        wanted = request.output_names or list(outputs)
        return api.InferResponse(
            model=model.name,
            version=model.version,
            outputs=[outputs[name] for name in wanted],
            timings=timings_of([answer]),
        )


async def run_tensors(model: ServedModel, inputs: Iterable[api.Tensor], caller: Caller) -> Answer:
    """Check one request's tensors against the model's signature and run them. Raises `RequestError`."""
    inputs = list(inputs)
    rows = check_inputs(model, inputs)
    part = Part(wire.Submission(tensors=wire.TensorInput(inputs=inputs)), rows, rows)
    return (await model.run([part], caller))[0]


def check_inputs(model: ServedModel, inputs: Sequence[api.Tensor]) -> int:
    """The number of rows. Raises `InvalidArgument` that names the input, what it should be and what it is."""
    given = {tensor.name: tensor for tensor in inputs}
    if len(given) != len(inputs):
        raise errors.InvalidArgument("inputs", "name one input twice")
    signatures = model.hello.inputs
    for name in given.keys() - {signature.name for signature in signatures}:
        raise errors.InvalidArgument(
            f"inputs[{name[:64]!r}]", f"is not an input of the model; it takes {_names(signatures)}"
        )
    rows = -1
    for signature in signatures:
        tensor = given.get(signature.name)
        if tensor is None:
            raise errors.InvalidArgument("inputs", f"lack {signature.name!r}")
        _check_tensor(tensor, signature)
        if rows not in (-1, tensor.shape[0]):
            raise errors.InvalidArgument(f"inputs[{tensor.name!r}]", f"has {tensor.shape[0]} rows, others have {rows}")
        rows = tensor.shape[0]
    most = model.settings.max_texts_per_request
    if not 1 <= rows <= most:
        raise errors.InvalidArgument("inputs", f"have {rows} rows; from 1 to {most} are allowed")
    return rows


def check_output_names(model: ServedModel, names: Sequence[str], field: str) -> None:
    known = {signature.name for signature in model.hello.outputs}
    for name in names:
        if name not in known:
            reason = f"{name[:64]!r} is not an output of the model; it gives {_names(model.hello.outputs)}"
            raise errors.InvalidArgument(field, reason)
    if len(set(names)) != len(names):
        raise errors.InvalidArgument(field, "name one output twice")


def _check_tensor(tensor: api.Tensor, signature: api.TensorSignature) -> None:
    field = f"inputs[{tensor.name!r}]"
    if tensor.data_type != signature.data_type:
        wanted, found = (_type_name(t) for t in (signature.data_type, tensor.data_type))
        raise errors.InvalidArgument(field, f"is of type {found}, the model takes {wanted}")
    shape, wanted_shape = list(tensor.shape), list(signature.shape)
    fits = len(shape) == len(wanted_shape) and all(
        size == wanted or (wanted == -1 and size >= 0) for size, wanted in zip(shape, wanted_shape, strict=True)
    )
    if not fits:
        raise errors.InvalidArgument(field, f"has shape {shape[:16]}, the model takes {wanted_shape}")
    size = math.prod(shape) * ELEMENT_BYTES[tensor.data_type]
    if len(tensor.data) != size:
        raise errors.InvalidArgument(field, f"has {len(tensor.data)} bytes of data, its shape and type need {size}")


def _type_name(data_type: api.DataType) -> str:
    known = data_type in api.DataType.values()
    return api.DataType.Name(data_type).removeprefix("DATA_TYPE_") if known else str(data_type)


def _names(signatures: Iterable[api.TensorSignature]) -> str:
    return ", ".join(repr(signature.name) for signature in signatures)
