"""Messages to values."""

import sys
from array import array
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from loquor._generation import (
    Choice,
    FinishReason,
    GenerationDelta,
    GenerationTimings,
    TokenAlternative,
    TokenLogprob,
)
from loquor._models import Limits, Model, ModelState, Replica, ReplicaState, Task, TensorSignature
from loquor._tensors import DataType, InferResult, Tensor
from loquor._types import (
    Classification,
    ClassifyResult,
    DetokenizeResult,
    Embedding,
    EmbedResult,
    LabelScore,
    Span,
    TaggedText,
    TagTokensResult,
    Timings,
    Token,
    Tokenization,
    TokenizeResult,
    Usage,
)
from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import model_service_pb2 as model
from loquor.v1 import tensor_service_pb2 as tensor
from loquor.v1 import usage_pb2

E = TypeVar("E", bound=StrEnum)

_VALUES_TAG = 0x0A  # field 1 of `Embedding`, length-delimited


def embed_result(response: language.EmbedResponse, request_id: str) -> EmbedResult:
    return EmbedResult(
        response.model,
        response.version,
        tuple(embeddings(response)),
        _usage(response.usage),
        _timings(response.timings),
        request_id,
    )


def embeddings(response: language.EmbedResponse) -> Iterable[Embedding]:
    return (Embedding(_floats(item), item.tokens, item.truncated) for item in response.embeddings)


def classify_result(response: language.ClassifyResponse, request_id: str) -> ClassifyResult:
    return ClassifyResult(
        response.model,
        response.version,
        tuple(_classification(item) for item in response.classifications),
        _usage(response.usage),
        _timings(response.timings),
        request_id,
    )


def tag_tokens_result(response: language.TagTokensResponse, request_id: str) -> TagTokensResult:
    return TagTokensResult(
        response.model,
        response.version,
        tuple(_tagged_text(item) for item in response.tagged_texts),
        _usage(response.usage),
        _timings(response.timings),
        request_id,
    )


def tokenize_result(response: language.TokenizeResponse, request_id: str) -> TokenizeResult:
    tokenizations = (
        Tokenization(tuple(Token(token.id, token.text, token.start, token.end) for token in item.tokens))
        for item in response.tokenizations
    )
    return TokenizeResult(response.model, response.version, tuple(tokenizations), request_id)


def detokenize_result(response: language.DetokenizeResponse, request_id: str) -> DetokenizeResult:
    return DetokenizeResult(response.model, response.version, tuple(response.texts), request_id)


def infer_result(response: tensor.InferResponse, request_id: str) -> InferResult:
    outputs = {item.name: Tensor(_data_type(item.data_type), tuple(item.shape), item.data) for item in response.outputs}
    return InferResult(response.model, response.version, outputs, _timings(response.timings), request_id)


def generation_delta(message: generation.GenerationDelta) -> GenerationDelta:
    return GenerationDelta(message.choice, message.text, tuple(_token_logprob(token) for token in message.tokens))


def finished_choice(text: str, tokens: tuple[TokenLogprob, ...], end: generation.GenerationFinished) -> Choice:
    """The text and the tokens are those of all its deltas."""
    reason = _enum(FinishReason, generation.FinishReason.Name, end.reason, "FINISH_REASON_")
    stop = end.stop if end.HasField("stop") else None
    return Choice(text, reason, stop, tokens, _usage(end.usage), _generation_timings(end.timings))


def unfinished_choice(text: str, tokens: tuple[TokenLogprob, ...], reason: FinishReason, prompt_tokens: int) -> Choice:
    """What is known before the end."""
    return Choice(text, reason, None, tokens, Usage(prompt_tokens), GenerationTimings(0.0, 0.0, 0.0, 0.0))


def model_from(message: model.Model) -> Model:
    return Model(
        message.name,
        message.version,
        _enum(ModelState, model.ModelState.Name, message.state, "MODEL_STATE_"),
        message.reason,
        _enum(Task, model.Task.Name, message.task, "TASK_"),
        _limits(message.limits),
        message.dtype,
        tuple(message.devices),
        tuple(_replica(item) for item in message.replicas),
        message.embedding_dimensions,
        tuple(message.labels),
        tuple(_signature(item) for item in message.inputs),
        tuple(_signature(item) for item in message.outputs),
    )


def _floats(item: language.Embedding) -> "array[float]":
    """The packed floats as they came: 25 times faster than to read them from the message one by one."""
    data = item.SerializeToString()
    size = 4 * len(item.values)
    start = 1 + max(1, (size.bit_length() + 6) // 7)
    if sys.byteorder == "little" and size and data[0] == _VALUES_TAG and _varint(data[1:start]) == size:
        values = array("f")
        values.frombytes(data[start : start + size])
        return values
    return array("f", item.values)


def _varint(data: bytes) -> int:
    return sum((byte & 0x7F) << (7 * place) for place, byte in enumerate(data))


def _classification(item: language.Classification) -> Classification:
    return Classification(
        tuple(LabelScore(label.label, label.score) for label in item.labels), item.tokens, item.truncated
    )


def _tagged_text(item: language.TaggedText) -> TaggedText:
    spans = (Span(span.label, span.score, span.start, span.end, span.text) for span in item.spans)
    return TaggedText(tuple(spans), item.tokens, item.truncated)


def _usage(message: usage_pb2.Usage) -> Usage:
    return Usage(message.prompt_tokens, message.completion_tokens, message.cached_prompt_tokens)


def _timings(message: usage_pb2.Timings) -> Timings:
    return Timings(
        message.tokenization_seconds,
        message.queue_seconds,
        message.compute_seconds,
        message.batch_size,
        message.batch_tokens,
    )


def _generation_timings(message: generation.GenerationTimings) -> GenerationTimings:
    return GenerationTimings(
        message.tokenization_seconds,
        message.queue_seconds,
        message.time_to_first_token_seconds,
        message.total_seconds,
    )


def _token_logprob(message: generation.TokenLogprob) -> TokenLogprob:
    alternatives = (TokenAlternative(one.id, one.text, one.logprob) for one in message.alternatives)
    return TokenLogprob(message.id, message.text, message.logprob, tuple(alternatives))


def _limits(message: model.Limits) -> Limits:
    return Limits(
        message.sequence_tokens,
        message.texts_per_request,
        message.batch_tokens,
        message.queue_requests,
        message.queue_tokens,
    )


def _replica(message: model.Replica) -> Replica:
    state = _enum(ReplicaState, model.ReplicaState.Name, message.state, "REPLICA_STATE_")
    return Replica(message.index, state, message.device, message.restarts, message.running_requests, message.steps)


def _signature(message: tensor.TensorSignature) -> TensorSignature:
    return TensorSignature(message.name, _data_type(message.data_type), tuple(message.shape))


def _data_type(number: int) -> DataType:
    return DataType[tensor.DataType.Name(number).removeprefix("DATA_TYPE_")]


def _enum(kind: type[E], name_of: object, number: int, prefix: str) -> E:
    """A number of a newer server is UNSPECIFIED to this client."""
    try:
        return kind(name_of(number).removeprefix(prefix).lower())  # type: ignore[operator]
    except ValueError:
        return kind("unspecified")
