"""Text models over the protocol: BYTES in, and vectors, labels or entities out."""

import json
from array import array

from loquor.v1.model_service_pb2 import TASK_CLASSIFY, TASK_EMBED
from loquor_server import errors, labels
from loquor_server.caller import Caller
from loquor_server.inference import open_inference_pb2 as oip
from loquor_server.language_service import spans_at
from loquor_server.open_inference.inputs import contents_of, field_of, texts_in
from loquor_server.open_inference.request_parameters import RequestParameters
from loquor_server.open_inference.signature import EMBEDDING, ENTITIES, LABEL, SCORE, TEXT, TEXT_PAIR
from loquor_server.open_inference.tensor_kinds import Signature
from loquor_server.open_inference.tensors import BYTES, FP32, OutputTensor, join_bytes
from loquor_server.served_model import ServedModel
from loquor_server.text_inference import TextAnswers, TextOptions, run_texts
from loquor_server.tokenization import TextInput


async def infer_texts(
    model: ServedModel,
    signature: Signature,
    request: oip.ModelInferRequest,
    parameters: RequestParameters,
    caller: Caller,
) -> list[OutputTensor]:
    """Every output of the model for the request's texts. Raises `RequestError`."""
    task = model.hello.task
    texts = _texts_of(request, signature)
    offsets = task not in (TASK_EMBED, TASK_CLASSIFY)
    options = TextOptions(parameters.truncate, parameters.normalize, offsets=offsets, field=TEXT)
    ran = await run_texts(model, texts, caller, options)
    if task == TASK_EMBED:
        return [_embedding(ran)]
    if task == TASK_CLASSIFY:
        return _label_and_score(model, ran)
    return [_entities(model, ran, texts)]


def _texts_of(request: oip.ModelInferRequest, signature: Signature) -> list[TextInput]:
    names = [kind.name for kind in signature.inputs]
    columns: dict[str, list[str]] = {}
    for tensor, data in contents_of(request):
        field = field_of(tensor.name)
        if tensor.name not in names:
            raise errors.InvalidArgument(field, f"is not an input of the model; it takes {', '.join(names)}")
        if tensor.name in columns:
            raise errors.InvalidArgument(field, "is there twice")
        columns[tensor.name] = texts_in(tensor, data)
    if TEXT not in columns:
        raise errors.InvalidArgument("inputs", f"lack {TEXT!r}")
    texts, pairs = columns[TEXT], columns.get(TEXT_PAIR)
    if pairs is None:
        return list(texts)
    if len(pairs) != len(texts):
        raise errors.InvalidArgument(field_of(TEXT_PAIR), f"has {len(pairs)} texts, {TEXT!r} has {len(texts)}")
    return list(zip(texts, pairs, strict=True))


def _embedding(ran: TextAnswers) -> OutputTensor:
    vectors = [answer.tensors[0].data for answer in ran.answers]
    return OutputTensor(EMBEDDING, FP32, (len(vectors), len(vectors[0]) // 4), b"".join(vectors))


def _label_and_score(model: ServedModel, ran: TextAnswers) -> list[OutputTensor]:
    hello = model.hello
    names = list(hello.labels)
    scores = array("f")
    best = []
    for answer in ran.answers:
        row = labels.scores_of(labels.floats_of(answer.tensors[0].data), hello.label_scoring)
        scores.extend(row)
        best.append(names[row.index(max(row))].encode())
    rows = len(best)
    return [
        OutputTensor(LABEL, BYTES, (rows,), join_bytes(best)),
        OutputTensor(SCORE, FP32, (rows, len(names)), scores.tobytes()),
    ]


def _entities(model: ServedModel, ran: TextAnswers, texts: list[TextInput]) -> OutputTensor:
    rows = []
    for index, text in enumerate(texts):
        assert isinstance(text, str)  # noqa: S101 - the signature of a tagger has no pair
        found = [
            {
                "label": span.label,
                "score": round(span.score, 6),
                "start": span.start,
                "end": span.end,
                "text": text[span.start : span.end],
            }
            for span in spans_at(model, ran, index, text)
        ]
        rows.append(json.dumps(found, ensure_ascii=False).encode())
    return OutputTensor(ENTITIES, BYTES, (len(rows),), join_bytes(rows))
