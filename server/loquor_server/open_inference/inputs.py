"""The inputs of an inference request: where the data of each is, and that there is exactly one of it.

It knows nothing of what the model takes.
"""

from collections.abc import Iterator, Mapping

from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference import shared_memory
from loquor_server.open_inference.tensors import raw_data


def contents_of(request: oip.ModelInferRequest) -> "Iterator[tuple[oip.ModelInferRequest.InferInputTensor, bytes]]":
    """Each input with its data in raw form. Raises `InvalidArgument` or, for shared memory, `Unimplemented`."""
    raw = request.raw_input_contents
    if not raw:
        yield from _typed(request)
        return
    for tensor in request.inputs:
        _check_parameters(tensor.parameters, tensor.name)
        if tensor.HasField("contents"):
            raise errors.InvalidArgument(field_of(tensor.name), "has typed contents in a request with raw ones")
    if len(raw) != len(request.inputs):
        reason = f"has {len(raw)} entries for {len(request.inputs)} inputs"
        raise errors.InvalidArgument("raw_input_contents", reason)
    yield from zip(request.inputs, raw, strict=True)


def field_of(name: str) -> str:
    """How errors name an input."""
    return f"inputs[{name[:64]!r}]"


def _typed(request: oip.ModelInferRequest) -> "Iterator[tuple[oip.ModelInferRequest.InferInputTensor, bytes]]":
    for tensor in request.inputs:
        _check_parameters(tensor.parameters, tensor.name)
        yield tensor, raw_data(tensor, field_of(tensor.name))


def _check_parameters(parameters: Mapping[str, oip.InferParameter], name: str) -> None:
    if parameters:
        shared_memory.refuse_parameters(parameters, field_of(name))
