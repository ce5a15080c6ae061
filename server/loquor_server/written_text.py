"""One choice of one input: what comes of its sequence, as the events of `loquor.v1`.

It knows tokens and text, and no queue, no worker and no other choice.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from loquor.internal.v1 import replica_service_pb2 as wire
from loquor.v1 import generation_pb2 as api
from loquor.v1.language_service_pb2 import GenerateResponse
from loquor.v1.usage_pb2 import Usage
from loquor_server.served_model import ServedModel
from loquor_server.text_stream import TextStream, token_text
from loquor_server.writing import Came, WrittenSequence


@dataclass(frozen=True, slots=True)
class Choice:
    """Which text it is: `index` is that of its input, `choice` counts from 0, times are on the monotonic clock."""

    index: int
    choice: int
    seed: int
    prompt: Sequence[int]
    sampling: api.SamplingParams
    admitted_at: float
    tokenized_at: float


class WrittenText:
    """`is_over` once its last event has been given or it has failed."""

    def __init__(self, model: ServedModel, sequence: WrittenSequence, choice: Choice, tokenizer: Tokenizer) -> None:
        self.choice = choice
        self.sequence = sequence
        self.is_over = False
        self._model = model
        self._tokenizer = tokenizer
        self._text = TextStream(tokenizer, choice.prompt, list(choice.sampling.stop), choice.sampling.min_tokens)
        self._wants_logprobs = choice.sampling.HasField("logprobs")
        self._written = self._cached = 0
        self._queue_seconds = self._first_seconds = 0.0
        self._last_at = choice.admitted_at

    @property
    def has_begun(self) -> bool:
        return self._first_seconds > 0

    @property
    def started(self) -> GenerateResponse:
        model, prompt = self._model, len(self.choice.prompt)
        event = api.GenerationStarted(
            model=model.name, version=model.version, seed=self.choice.seed, prompt_tokens=prompt
        )
        return GenerateResponse(started=event)

    def events(self) -> list[GenerateResponse]:
        """What is new: a delta if there is text or a token to report, and the end if it has come."""
        delta = api.GenerationDelta(choice=self.choice.choice)
        finish = api.FINISH_REASON_UNSPECIFIED
        pieces = []
        for came in self.sequence.read():
            pieces.append(self._take(came, delta))
            finish = api.FINISH_REASON_STOP if self._text.stop is not None else came.tokens.finish
            if finish:
                pieces.append(self._text.finish())
                break
        delta.text = "".join(pieces)
        events = [GenerateResponse(delta=delta)] if delta.text or delta.tokens else []
        if finish:
            self.is_over = True
            events.append(GenerateResponse(finished=self._finished(finish)))
        return events

    def _take(self, came: Came, delta: api.GenerationDelta) -> str:
        tokens, first = came.tokens, not self.has_begun
        if first:
            self._queue_seconds = came.queue_seconds
            self._cached = tokens.cached_prompt_tokens
            self._first_seconds = came.at - self.choice.admitted_at
        self._written += len(tokens.ids)
        if tokens.ids:
            self._model.note_tokens(len(tokens.ids), came.at - self._last_at, first=first)
        self._last_at = came.at
        if self._wants_logprobs:
            delta.tokens.extend(map(self._reported, tokens.ids, tokens.logprobs))
        return self._text.push(tokens.ids)

    def _reported(self, id: int, logprob: wire.TokenLogprob) -> api.TokenLogprob:
        reported = api.TokenLogprob(id=id, text=token_text(self._tokenizer, id), logprob=logprob.logprob)
        for other, value in zip(logprob.ids, logprob.logprobs, strict=True):
            reported.alternatives.add(id=other, text=token_text(self._tokenizer, other), logprob=value)
        return reported

    def _finished(self, reason: api.FinishReason) -> api.GenerationFinished:
        choice = self.choice
        finished = api.GenerationFinished(
            choice=choice.choice,
            reason=reason,
            stop=self._text.stop,
            usage=Usage(
                prompt_tokens=len(choice.prompt), completion_tokens=self._written, cached_prompt_tokens=self._cached
            ),
            timings=api.GenerationTimings(
                tokenization_seconds=choice.tokenized_at - choice.admitted_at,
                queue_seconds=self._queue_seconds,
                time_to_first_token_seconds=self._first_seconds,
                total_seconds=time.monotonic() - choice.admitted_at,
            ),
        )
        self._model.note_generated(finished)
        return finished
