"""The inputs of an inference request: where the data of each is, and that there is exactly one of it.

It knows nothing of what the model takes.
"""

from collections.abc import Iterator, Mapping

from loquor_server import errors
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference import shared_memory
from loquor_server.open_inference.tensors import BYTES, raw_data, split_bytes


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


def texts_in(tensor: oip.ModelInferRequest.InferInputTensor, data: bytes) -> list[str]:
    """The texts of an input of shape [n] or [n, 1]. Raises `InvalidArgument`."""
    field, shape = field_of(tensor.name), list(tensor.shape)
    if tensor.datatype != BYTES:
        raise errors.InvalidArgument(field, f"is of type {tensor.datatype[:16]!r}, the model takes {BYTES}")
    if not 1 <= len(shape) <= 2 or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise errors.InvalidArgument(field, f"has shape {shape[:16]}, the model takes [n] or [n, 1]")
    elements = split_bytes(data, field, most=shape[0])
    if len(elements) != shape[0]:
        raise errors.InvalidArgument(field, f"has {len(elements)} elements, its shape needs {shape[0]}")
    try:
        return [str(element, "utf-8") for element in elements]
    except UnicodeDecodeError:
        raise errors.InvalidArgument(field, "holds an element that is not UTF-8") from None


def _typed(request: oip.ModelInferRequest) -> "Iterator[tuple[oip.ModelInferRequest.InferInputTensor, bytes]]":
    for tensor in request.inputs:
        _check_parameters(tensor.parameters, tensor.name)
        yield tensor, raw_data(tensor, field_of(tensor.name))


def _check_parameters(parameters: Mapping[str, oip.InferParameter], name: str) -> None:
    if parameters:
        shared_memory.refuse_parameters(parameters, field_of(name))
