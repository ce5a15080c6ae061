"""What a generation has written so far, put together from its events. It does not know where they come from."""

from loquor import _replies as replies
from loquor._errors import Internal, Unavailable
from loquor._generation import Choice, FinishReason, Generation, GenerationDelta, TokenLogprob
from loquor.v1 import generation_pb2 as generation
from loquor.v1.language_service_pb2 import GenerateResponse


class Transcript:
    """Of one prompt; `choices` is how many texts were asked for. Reading it is allowed at any time."""

    def __init__(self, model: str, choices: int, request_id: str) -> None:
        self._model = model
        self._request_id = request_id
        self._asked = choices
        self._started: generation.GenerationStarted | None = None
        self._choices = [_ChoiceSoFar()]

    def take(self, event: GenerateResponse) -> GenerationDelta | None:
        """Notes an event, and gives what it adds to the text. Raises `Internal` where it fits no choice."""
        match event.WhichOneof("event"):
            case "delta":
                delta = replies.generation_delta(event.delta)
                self._choice(delta.choice).add(delta)
                return delta
            case "finished":
                self._choice(event.finished.choice).finished = event.finished
            case "started":
                self._started = event.started
                # Not before the server has agreed to so many.
                self._choices = [_ChoiceSoFar() for _ in range(self._asked)]
        return None

    @property
    def has_begun(self) -> bool:
        return self._started is not None

    def check_whole(self) -> None:
        """Raises `Unavailable` unless every text has ended."""
        if any(choice.finished is None for choice in self._choices):
            raise Unavailable("the stream ended before its last event", request_id=self._request_id)

    def cancel(self) -> None:
        """What has not ended now ends as that."""
        for choice in self._choices:
            choice.cancel()

    def generation(self) -> Generation:
        """All of it up to now."""
        started = self._started or generation.GenerationStarted(model=self._model)
        choices = tuple(choice.so_far(started.prompt_tokens) for choice in self._choices)
        return Generation(started.model, started.version, started.seed, choices, self._request_id)

    def _choice(self, index: int) -> "_ChoiceSoFar":
        if index >= len(self._choices):
            raise Internal(f"the server wrote choice {index}, which was not asked", request_id=self._request_id)
        return self._choices[index]


class _ChoiceSoFar:
    def __init__(self) -> None:
        self.finished: generation.GenerationFinished | None = None
        self._texts: list[str] = []
        self._tokens: list[TokenLogprob] = []
        self._reason = FinishReason.UNSPECIFIED

    def add(self, delta: GenerationDelta) -> None:
        self._texts.append(delta.text)
        self._tokens.extend(delta.tokens)

    def cancel(self) -> None:
        if self.finished is None:
            self._reason = FinishReason.CANCELLED

    def so_far(self, prompt_tokens: int) -> Choice:
        text, tokens, end = "".join(self._texts), tuple(self._tokens), self.finished
        if end is None:
            return replies.unfinished_choice(text, tokens, self._reason, prompt_tokens)
        return replies.finished_choice(text, tokens, end)
