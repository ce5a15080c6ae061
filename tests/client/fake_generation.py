"""The fake server's language model: it repeats the words of its prompt, or follows a script."""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import grpc

from loquor.v1 import generation_pb2 as generation
from loquor.v1 import language_service_pb2 as language
from loquor.v1 import usage_pb2

Step: TypeAlias = language.GenerateResponse | language.GenerateBatchResponse | float | grpc.StatusCode
"""An event to send, seconds to wait, or the status to fail with."""
FOREVER = 30.0
SEED = 7


class FakeGeneration:
    """`script` makes the steps of each request. `waits` and `cancelled` say what the last request is at."""

    def __init__(self) -> None:
        self.script: Callable[[Any], Iterable[Step]] = repeat
        self.batch_script: Callable[[Any], Iterable[Step]] = repeat_batch
        self.waits = threading.Event()
        self.cancelled = threading.Event()

    def generate(self, request: language.GenerateRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        return self._play(self.script(request), context)

    def generate_batch(self, request: language.GenerateBatchRequest, context: grpc.ServicerContext) -> Iterator[Any]:
        return self._play(self.batch_script(request), context)

    def _play(self, steps: Iterable[Step], context: grpc.ServicerContext) -> Iterator[Any]:
        gone, ended = threading.Event(), threading.Event()

        def leave() -> None:
            gone.set()
            if not ended.is_set():
                self.cancelled.set()

        context.add_callback(leave)
        for step in steps:
            if isinstance(step, grpc.StatusCode):
                ended.set()
                context.abort(step, "told to fail")
            elif isinstance(step, float):
                self.waits.set()
                if gone.wait(step):
                    return
            else:
                yield step
        ended.set()


def repeat(request: language.GenerateRequest) -> Iterator[language.GenerateResponse]:
    """Each word a token and a delta, of all choices in turn; at most `max_tokens` of them."""
    return _repeated(request.input, request.sampling, request.model, request.version)


def repeat_batch(request: language.GenerateBatchRequest) -> Iterator[language.GenerateBatchResponse]:
    """The last prompt first, so that order is the client's work."""
    for index in reversed(range(len(request.inputs))):
        for event in _repeated(request.inputs[index], request.sampling, request.model, request.version):
            yield language.GenerateBatchResponse(index=index, event=event)


def started(model: str = "m", version: int = 1, prompt_tokens: int = 3) -> language.GenerateResponse:
    event = generation.GenerationStarted(model=model, version=version, seed=SEED, prompt_tokens=prompt_tokens)
    return language.GenerateResponse(started=event)


def delta(text: str, choice: int = 0, tokens: Iterable[generation.TokenLogprob] = ()) -> language.GenerateResponse:
    event = generation.GenerationDelta(choice=choice, text=text, tokens=tokens)
    return language.GenerateResponse(delta=event)


def finished(choice: int = 0, completion_tokens: int = 1, **fields: Any) -> language.GenerateResponse:
    event = generation.GenerationFinished(
        choice=choice,
        reason=fields.pop("reason", generation.FINISH_REASON_STOP),
        usage=usage_pb2.Usage(prompt_tokens=3, completion_tokens=completion_tokens, cached_prompt_tokens=2),
        timings=generation.GenerationTimings(queue_seconds=0.25, time_to_first_token_seconds=0.5, total_seconds=2.0),
        **fields,
    )
    return language.GenerateResponse(finished=event)


def words_of(asked: generation.GenerationInput) -> list[str]:
    """What the model reads: a text, the last message, or each id as a word."""
    if asked.HasField("chat"):
        return asked.chat.messages[-1].content.split()
    return asked.prompt.split() or [str(one) for one in asked.prompt_tokens.ids]


def _repeated(
    asked: generation.GenerationInput, sampling: generation.SamplingParams, model: str, version: int
) -> Iterator[language.GenerateResponse]:
    words = words_of(asked)
    written = words[: sampling.max_tokens] if sampling.HasField("max_tokens") else words
    yield started(model, version or 1, len(words))
    for place, word in enumerate(written):
        text = word if place == 0 else f" {word}"
        tokens = [_token(text, sampling.logprobs)] if sampling.HasField("logprobs") else []
        for choice in range(sampling.n or 1):
            yield delta(text, choice, tokens)
    reason = generation.FINISH_REASON_LENGTH if len(written) < len(words) else generation.FINISH_REASON_STOP
    for choice in range(sampling.n or 1):
        yield finished(choice, len(written), reason=reason)


def _token(text: str, alternatives: int) -> generation.TokenLogprob:
    others = [generation.TokenAlternative(id=n, text=f"<{n}>", logprob=-2.0 - n) for n in range(alternatives)]
    return generation.TokenLogprob(id=len(text), text=text, logprob=-0.5, alternatives=others)
