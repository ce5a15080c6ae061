"""Which outputs a request asks for, and the response that holds them, always raw."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference import shared_memory
from loquor_server.open_inference.classification import classified
from loquor_server.open_inference.signature import SCORE
from loquor_server.open_inference.tensor_kinds import Signature
from loquor_server.open_inference.tensors import OutputTensor
from loquor_server.served_model import ServedModel

Requested = oip.ModelInferRequest.InferRequestedOutputTensor


class WantedOutput(NamedTuple):
    """`best` is how many elements to name in place of the numbers; 0 for the numbers."""

    name: str
    best: int


def wanted_outputs(requested: Iterable[Requested], signature: Signature) -> list[WantedOutput]:
    """What a request asks for, in its order. Raises `InvalidArgument` for a name that the model does not have."""
    known = [kind.name for kind in signature.outputs]
    wanted: list[WantedOutput] = []
    for output in requested:
        field = f"outputs[{output.name[:64]!r}]"
        if output.name not in known:
            raise InvalidArgument(field, f"is not an output of the model; it gives {', '.join(map(repr, known))}")
        if any(output.name == other.name for other in wanted):
            raise InvalidArgument(field, "is named twice")
        shared_memory.refuse_parameters(output.parameters, field)
        wanted.append(WantedOutput(output.name, _best(output, field)))
    return wanted


def response_of(
    request: oip.ModelInferRequest, model: ServedModel, outputs: Sequence[OutputTensor], wanted: Sequence[WantedOutput]
) -> oip.ModelInferResponse:
    """All outputs if none is wanted by name."""
    response = oip.ModelInferResponse(model_name=model.name, model_version=str(model.version), id=request.id)
    for output in _selected(model, outputs, wanted) if wanted else outputs:
        response.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        response.raw_output_contents.append(output.data)
    return response


def _selected(
    model: ServedModel, outputs: Sequence[OutputTensor], wanted: Sequence[WantedOutput]
) -> Iterable[OutputTensor]:
    by_name = {output.name: output for output in outputs}
    for name, best in wanted:
        labels = model.hello.labels if name == SCORE else ()
        yield classified(by_name[name], best, labels) if best else by_name[name]


def _best(output: Requested, field: str) -> int:
    if "classification" not in output.parameters:
        return 0
    parameter = output.parameters["classification"]
    if parameter.WhichOneof("parameter_choice") not in ("int64_param", "uint64_param"):
        raise InvalidArgument(f"{field}.parameters['classification']", "takes int64_param")
    count = parameter.int64_param or parameter.uint64_param
    if count < 1:
        raise InvalidArgument(f"{field}.parameters['classification']", "must be at least 1")
    return count
