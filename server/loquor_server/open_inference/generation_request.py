"""What a request asks of a model that generates: its tensors and parameters, read once.

It checks names, types and shapes. What the values may be is decided by the inner call, which both protocols share.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from loquor.v1.generation_pb2 import Chat, GenerationInput, SamplingParams
from loquor_server.errors import InvalidArgument
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.open_inference.generation_signature import (
    BEAM_WIDTH,
    CUMULATIVE_LOGPROB,
    EXCLUDE_INPUT,
    GENERATION,
    LISTS,
    LOGPROBS,
    MESSAGES,
    SAMPLING_PARAMETERS,
    STOP_WORDS,
    STREAM,
    TEXT_INPUT,
    TEXT_OUTPUT,
)
from loquor_server.open_inference.inputs import contents_of, field_of, texts_in
from loquor_server.open_inference.outputs import wanted_outputs
from loquor_server.open_inference.sampling_values import SAMPLING_NAMES, SamplingValues, read_json
from loquor_server.open_inference.tensors import BOOL, BYTES, FP32, only_element

_MOST_MESSAGES_BYTES = 2_097_152
_MOST_ELEMENTS = 1024

_ALIASES = {"streaming": STREAM, "random_seed": "seed", "return_log_probs": "return_logprobs", STOP_WORDS: "stop"}
_DATATYPES = {kind.name: kind.datatype for kind in GENERATION.inputs}
_WHOLE = {"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"}
_CHAT_FIELDS = {"role", "content"}

_Tensor = oip.ModelInferRequest.InferInputTensor


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """`prompts` is one text an input, to stand before what is written; `wanted` are the outputs to give, in order."""

    inputs: list[GenerationInput]
    sampling: SamplingParams
    prompts: list[str]
    wanted: tuple[str, ...]
    streams: bool


def read_generation(request: oip.ModelInferRequest) -> GenerationRequest:
    """Raises `InvalidArgument` with the name of the input, the output or the parameter at fault."""
    values = _values_of(request)
    if values.pop(BEAM_WIDTH, 1) != 1:
        raise InvalidArgument(field_of(BEAM_WIDTH), "must be 1: texts are sampled, beams are not searched")
    inputs = _inputs_of(values)
    sampling = _sampling_of(values, request.parameters)
    wanted = _wanted(request, values)
    if {LOGPROBS, CUMULATIVE_LOGPROB} & set(wanted) and not sampling.HasField("logprobs"):
        sampling.logprobs = 0
    return GenerationRequest(inputs, sampling, _prompts(values, len(inputs)), wanted, values.get(STREAM, False))


def _values_of(request: oip.ModelInferRequest) -> dict[str, Any]:
    """The values of all inputs, under the first of each one's names."""
    values: dict[str, Any] = {}
    for tensor, data in contents_of(request):
        if tensor.name not in _DATATYPES:
            reason = f"is not an input of the model; it takes {', '.join(_DATATYPES)}"
            raise InvalidArgument(field_of(tensor.name), reason)
        name = _ALIASES.get(tensor.name, tensor.name)
        if name in values:
            raise InvalidArgument(field_of(tensor.name), "is there twice")
        values[name] = _value(tensor, data)
    return values


def _value(tensor: _Tensor, data: bytes) -> Any:
    field, wanted = field_of(tensor.name), _DATATYPES[tensor.name]
    if not _fits(tensor.datatype, wanted):
        raise InvalidArgument(field, f"is of type {tensor.datatype[:16]!r}, the model takes {wanted}")
    if tensor.name in LISTS:
        return _texts(tensor, data)
    if list(tensor.shape) not in ([1], [1, 1]):
        raise InvalidArgument(field, f"has shape {list(tensor.shape)[:16]}, the model takes [1] or [1, 1]")
    return only_element(tensor.datatype, data, field)


def _fits(datatype: str, wanted: str) -> bool:
    """A whole number may have any width, and stand where a fraction may."""
    if wanted in (BYTES, BOOL):
        return datatype == wanted
    return datatype in _WHOLE or (wanted == FP32 and datatype in (FP32, "FP64"))


def _texts(tensor: _Tensor, data: bytes) -> list[str]:
    if tensor.shape and tensor.shape[0] > _MOST_ELEMENTS:
        raise InvalidArgument(field_of(tensor.name), f"has more than {_MOST_ELEMENTS} elements")
    return texts_in(tensor, data)


def _inputs_of(values: Mapping[str, Any]) -> list[GenerationInput]:
    if (TEXT_INPUT in values) == (MESSAGES in values):
        raise InvalidArgument("inputs", f"must have either {TEXT_INPUT!r} or {MESSAGES!r}")
    if MESSAGES in values:
        return [GenerationInput(chat=_chat(values[MESSAGES]))]
    if not values[TEXT_INPUT]:
        raise InvalidArgument(field_of(TEXT_INPUT), "must not be empty")
    return [GenerationInput(prompt=text) for text in values[TEXT_INPUT]]


def _chat(data: bytes) -> Chat:
    field = field_of(MESSAGES)
    messages = read_json(data, field, _MOST_MESSAGES_BYTES)
    if not isinstance(messages, list):
        raise InvalidArgument(field, "takes a JSON list of messages")
    if len(messages) > _MOST_ELEMENTS:
        raise InvalidArgument(field, f"has more than {_MOST_ELEMENTS} messages")
    chat = Chat()
    for index, message in enumerate(messages):
        try:
            if message.keys() != _CHAT_FIELDS:
                raise ValueError
            chat.messages.add(role=message["role"], content=message["content"])
        except (AttributeError, TypeError, ValueError):  # their texts would tell of the message
            raise InvalidArgument(f"{field}[{index}]", 'takes {"role": text, "content": text}') from None
    return chat


def _sampling_of(values: Mapping[str, Any], parameters: Mapping[str, oip.InferParameter]) -> SamplingParams:
    sampling = SamplingValues()
    if SAMPLING_PARAMETERS in values:
        sampling.add_object(values[SAMPLING_PARAMETERS], SAMPLING_PARAMETERS)
    for name in SAMPLING_NAMES & values.keys():
        sampling.add(name, values[name], field_of(name))
    for name in SAMPLING_NAMES & parameters.keys():
        kind = parameters[name].WhichOneof("parameter_choice")
        sampling.add(name, getattr(parameters[name], kind) if kind else None, f"parameters[{name!r}]")
    return sampling.params


def _wanted(request: oip.ModelInferRequest, values: Mapping[str, Any]) -> tuple[str, ...]:
    """What the request names, or the text and what its inputs ask to have returned."""
    if not request.outputs:
        return (TEXT_OUTPUT, *_returned(values))
    wanted = wanted_outputs(request.outputs, GENERATION)
    for name, best in wanted:
        if best:
            raise InvalidArgument(f"outputs[{name!r}].parameters['classification']", "is not for models that generate")
    return tuple(output.name for output in wanted)


def _returned(values: Mapping[str, Any]) -> Iterable[str]:
    return (kind.name for kind in GENERATION.outputs if values.get(f"return_{kind.name}"))


def _prompts(values: Mapping[str, Any], count: int) -> list[str]:
    """Nothing, unless asked: it is the caller who has them."""
    if values.get(EXCLUDE_INPUT, True):
        return [""] * count
    if MESSAGES in values:
        raise InvalidArgument(field_of(EXCLUDE_INPUT), f"must be true with {MESSAGES!r}")
    texts: list[str] = values[TEXT_INPUT]
    return texts
