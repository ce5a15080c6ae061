"""What a model writes for a request, gathered from the events of the inner call, as the outputs of this protocol.

`outputs` gives what is new since it was read last, so read once at the end it gives everything.
"""

import functools
import json
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from loquor.v1 import generation_pb2 as generation
from loquor.v1.language_service_pb2 import GenerateResponse
from loquor_server.open_inference.generation_request import GenerationRequest
from loquor_server.open_inference.generation_signature import (
    CUMULATIVE_LOGPROB,
    FINISH_REASON,
    INPUT_TOKENS,
    LOGPROBS,
    OUTPUT_TOKENS,
    TEXT_OUTPUT,
)
from loquor_server.open_inference.tensors import BYTES, FP32, UINT32, OutputTensor, join_bytes

_UNFINISHED = "None"  # so spells vLLM's backend what has not ended
_REASONS = {
    generation.FINISH_REASON_STOP: "stop",
    generation.FINISH_REASON_LENGTH: "length",
    generation.FINISH_REASON_CANCELLED: "cancelled",
}


@dataclass(slots=True)
class _Text:
    """One text in the making. `pieces`, `tokens` and `output_tokens` are what is new."""

    pieces: list[str]
    tokens: list[generation.TokenLogprob] = field(default_factory=list)
    output_tokens: int = 0
    finish_reason: str = _UNFINISHED
    logprob: float = 0.0

    def go_on(self, delta: generation.GenerationDelta) -> None:
        self.pieces.append(delta.text)
        self.tokens.extend(delta.tokens)
        self.logprob += sum(token.logprob for token in delta.tokens)

    def finish(self, finished: generation.GenerationFinished) -> None:
        self.finish_reason = _REASONS[finished.reason]
        self.output_tokens = finished.usage.completion_tokens

    def forget_told(self) -> None:
        self.pieces.clear()
        self.tokens.clear()
        self.output_tokens = 0


class GeneratedTexts:
    """The texts of one request: `n` choices of each input, side by side."""

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._choices = request.sampling.n if request.sampling.HasField("n") else 1
        self._unfinished = self._choices * len(request.inputs)
        self._input_tokens = [0] * len(request.inputs)

    @property
    def finished(self) -> bool:
        return not self._unfinished

    @functools.cached_property
    def _texts(self) -> list[_Text]:
        """Made with the first event, since nobody has looked at `n` before."""
        return [_Text([prompt]) for prompt in self._request.prompts for _ in range(self._choices)]

    def take(self, index: int, event: GenerateResponse) -> None:
        """An event of the input `index`."""
        first = index * self._choices
        kind = event.WhichOneof("event")
        if kind == "delta":
            self._texts[first + event.delta.choice].go_on(event.delta)
        elif kind == "finished":
            self._texts[first + event.finished.choice].finish(event.finished)
            self._unfinished -= 1
        elif kind == "started":
            self._input_tokens[index] = event.started.prompt_tokens

    def outputs(self) -> list[OutputTensor]:
        """Those that are wanted, with what is new since the last time."""
        outputs = [_OUTPUTS[name](self) for name in self._request.wanted]
        for text in self._texts:
            text.forget_told()
        return outputs

    def text_output(self) -> OutputTensor:
        return _strings(TEXT_OUTPUT, ("".join(text.pieces) for text in self._texts))

    def finish_reason(self) -> OutputTensor:
        return _strings(FINISH_REASON, (text.finish_reason for text in self._texts))

    def logprobs(self) -> OutputTensor:
        return _strings(LOGPROBS, (_json_of(text.tokens) for text in self._texts))

    def cumulative_logprob(self) -> OutputTensor:
        """Of all that has been written so far."""
        values = array("f", (text.logprob for text in self._texts))
        return OutputTensor(CUMULATIVE_LOGPROB, FP32, (len(values),), values.tobytes())

    def input_tokens(self) -> OutputTensor:
        return _counts(INPUT_TOKENS, self._input_tokens)

    def output_tokens(self) -> OutputTensor:
        return _counts(OUTPUT_TOKENS, (text.output_tokens for text in self._texts))


_OUTPUTS: dict[str, Callable[[GeneratedTexts], OutputTensor]] = {
    TEXT_OUTPUT: GeneratedTexts.text_output,
    FINISH_REASON: GeneratedTexts.finish_reason,
    CUMULATIVE_LOGPROB: GeneratedTexts.cumulative_logprob,
    LOGPROBS: GeneratedTexts.logprobs,
    INPUT_TOKENS: GeneratedTexts.input_tokens,
    OUTPUT_TOKENS: GeneratedTexts.output_tokens,
}


def _strings(name: str, texts: Iterable[str]) -> OutputTensor:
    elements = [text.encode() for text in texts]
    return OutputTensor(name, BYTES, (len(elements),), join_bytes(elements))


def _counts(name: str, counts: Iterable[int]) -> OutputTensor:
    values = array("I", counts)
    return OutputTensor(name, UINT32, (len(values),), values.tobytes())


def _json_of(tokens: Iterable[generation.TokenLogprob]) -> str:
    """As vLLM's backend writes it: for each token, the likeliest ones in its place and itself, by their ids."""
    return json.dumps([_places(token) for token in tokens], ensure_ascii=False)


def _places(token: generation.TokenLogprob) -> dict[int, dict[str, object]]:
    """The rank of a token that is not among the likeliest is not known."""
    places = {token.id: _place(token.logprob, None, token.text)}
    for rank, likely in enumerate(token.alternatives, 1):
        places[likely.id] = _place(likely.logprob, rank, likely.text)
    return places


def _place(logprob: float, rank: int | None, text: str) -> dict[str, object]:
    return {"logprob": logprob, "rank": rank, "decoded_token": text}
