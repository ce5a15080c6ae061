"""Tensor models over the protocol: the request's bytes go to the worker, and the worker's to the response, unread."""

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor_server.caller import Caller
from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.inputs import contents_of, field_of
from loquor_server.open_inference.tensors import DATA_TYPES, DATATYPE_NAMES, OutputTensor
from loquor_server.served_model import Part, ServedModel
from loquor_server.tensor_service import check_inputs


async def infer_tensors(model: ServedModel, request: oip.ModelInferRequest, caller: Caller) -> list[OutputTensor]:
    """Every output of the model for the request's tensors. Raises `RequestError`."""
    submission = wire.Submission()
    add = submission.tensors.inputs.add
    for tensor, data in contents_of(request):
        data_type = DATA_TYPES.get(tensor.datatype)
        if data_type is None:
            raise InvalidArgument(field_of(tensor.name), f"has datatype {tensor.datatype[:16]!r}, which no model takes")
        add(name=tensor.name, data_type=data_type, shape=tensor.shape, data=data)
    rows = check_inputs(model, submission.tensors.inputs)
    (answer,) = await model.run((Part(submission, rows, rows),), caller)
    return [OutputTensor(t.name, DATATYPE_NAMES[t.data_type], t.shape, t.data) for t in answer.tensors]
