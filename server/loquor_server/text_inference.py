"""The inner call for texts: tokenize, run, and say what it cost. Both public protocols end here.

It knows the tasks' answers as tensors only; what a label or a span is, is its callers' business.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import model_service_pb2, usage_pb2
from loquor_server import errors
from loquor_server.caller import Caller
from loquor_server.pending_request import Answer
from loquor_server.served_model import Part, ServedModel
from loquor_server.tokenization import TextInput, TextTokenizer

_MOST_CHARACTERS = 1_048_576


@dataclass(frozen=True, slots=True)
class TextOptions:
    """What a request says beside its texts. `field` names its repeated field of texts, for errors."""

    truncate: bool = False
    normalize: bool | None = None
    offsets: bool = False
    field: str = "texts"


@dataclass(frozen=True, slots=True)
class TextAnswers:
    """Answers and encodings, one a text, in order, and what they cost."""

    answers: list[Answer]
    encodings: list[Encoding]
    usage: usage_pb2.Usage
    timings: usage_pb2.Timings


async def run_texts(
    model: ServedModel, texts: Sequence[TextInput], caller: Caller, options: TextOptions
) -> TextAnswers:
    """Run every text through the model. Raises `RequestError` with the name of the field at fault."""
    with model.in_use():
        return await _run_texts(model, texts, caller, options)


async def _run_texts(
    model: ServedModel, texts: Sequence[TextInput], caller: Caller, options: TextOptions
) -> TextAnswers:
    hello = model.hello
    check_count(len(texts), model, options.field)
    _check_characters(texts, options.field)
    started = time.monotonic()
    limit = hello.sequence_tokens
    cut_to = limit if options.truncate else None
    encodings = await tokenizer_of(model).encode(texts, cut_to=cut_to, offsets=options.offsets)
    _check_lengths(encodings, limit, options.field)
    tokenization_seconds = time.monotonic() - started
    parts = [_part(e, isinstance(t, tuple), options.normalize) for e, t in zip(encodings, texts, strict=True)]
    answers = await model.run(parts, caller)
    usage = usage_pb2.Usage(prompt_tokens=sum(part.tokens for part in parts))
    return TextAnswers(answers, encodings, usage, timings_of(answers, tokenization_seconds))


def tokenizer_of(model: ServedModel) -> TextTokenizer:
    if model.tokenizer is None:
        raise errors.FailedPrecondition(f"model {model.name!r} has no tokenizer")
    return model.tokenizer


def check_task(model: ServedModel, task: model_service_pb2.Task) -> None:
    """Raises `FailedPrecondition` if the model is not one for this task."""
    if model.hello.task != task:
        has, asked = (model_service_pb2.Task.Name(t).removeprefix("TASK_") for t in (model.hello.task, task))
        raise errors.FailedPrecondition(f"model {model.name!r} is for task {has}, not {asked}")


def check_count(count: int, model: ServedModel, field: str) -> None:
    most = model.settings.max_texts_per_request
    if not count:
        raise errors.InvalidArgument(field, "must not be empty")
    if count > most:
        raise errors.InvalidArgument(field, f"holds {count} entries, at most {most} are allowed")


def timings_of(answers: Sequence[Answer], tokenization_seconds: float = 0.0) -> usage_pb2.Timings:
    return usage_pb2.Timings(
        tokenization_seconds=tokenization_seconds,
        queue_seconds=max(answer.queue_seconds for answer in answers),
        compute_seconds=max(answer.compute_seconds for answer in answers),
        batch_size=max(answer.batch_size for answer in answers),
        batch_tokens=max(answer.batch_tokens for answer in answers),
    )


def _check_characters(texts: Sequence[TextInput], field: str) -> None:
    for index, text in enumerate(texts):
        characters = len(text) if isinstance(text, str) else max(map(len, text))
        if characters > _MOST_CHARACTERS:
            reason = f"has {characters} characters, at most {_MOST_CHARACTERS} are allowed"
            raise errors.InvalidArgument(f"{field}[{index}]", reason)


def _check_lengths(encodings: Sequence[Encoding], limit: int, field: str) -> None:
    for index, encoding in enumerate(encodings):
        tokens = len(encoding)  # the ids of a long text are not to be listed for this
        if tokens > limit:
            reason = f"has {tokens} tokens, the model takes {limit}; set `truncate` to cut it"
            raise errors.InvalidArgument(f"{field}[{index}]", reason)
        if not tokens:
            raise errors.InvalidArgument(f"{field}[{index}]", "has no tokens")


def _part(encoding: Encoding, pair: bool, normalize: bool | None) -> Part:
    ids = encoding.ids
    tokens = wire.TokenInput(ids=ids)
    if normalize is not None:
        tokens.normalize = normalize
    if pair and 1 in (types := encoding.type_ids):
        tokens.pair_start = types.index(1)
    return Part(wire.Submission(tokens=tokens), 1, len(ids))
