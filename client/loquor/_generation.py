"""What a generation is asked for and gives back: frozen values, which know no wire.

Prompts, texts and tokens stay out of every `repr`, so that a logged result says nothing of its content.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias, TypedDict

from loquor._types import Answers, Usage


class FinishReason(StrEnum):
    """Why a text ended."""

    UNSPECIFIED = "unspecified"
    """It has not ended, or the server is newer than this client."""
    STOP = "stop"
    """The model's end token, a stop string, a stop token, or a structure that is complete."""
    LENGTH = "length"
    """`max_tokens`."""
    CANCELLED = "cancelled"
    """The caller gave it up."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; most models know the roles "system", "user" and "assistant"."""

    role: str
    content: str = field(repr=False)


Messages: TypeAlias = Iterable[Message | Mapping[str, str]]
"""Each a `Message`, or `{"role": ..., "content": ...}`."""


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation to be put into the model's own template, wherever a prompt is taken.

    `template` names one of the model's templates, where it has several. With `continue_last_message` the model writes
    on at the end of the last message, which must be the assistant's.
    """

    messages: Messages = field(repr=False)
    template: str | None = None
    continue_last_message: bool = False


Prompt: TypeAlias = str | Sequence[int] | Chat
"""A text, token ids to which nothing is added, or a conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is picked, and when to stop. None leaves it to the server, whose defaults are in brackets.

    The order, for each token: penalties and bias, `temperature`, `top_k`, `top_p`, `min_p`, then one draw.
    """

    max_tokens: int | None = None
    """Tokens to write at the most [256, or what the context leaves]."""
    min_tokens: int | None = None
    """No end token and no stop before so many tokens [0]."""
    temperature: float | None = None
    """0 takes the likeliest token every time [1]."""
    top_k: int | None = None
    """Draw from this many of the likeliest tokens [0, no limit]."""
    top_p: float | None = None
    """Draw from the fewest tokens whose probabilities reach this sum [1]."""
    min_p: float | None = None
    """Draw from tokens at least this share as likely as the likeliest [0]."""
    repetition_penalty: float | None = None
    """Makes every token of prompt or text less likely, if above 1 [1]."""
    presence_penalty: float | None = None
    """Off the logit of every token that was written, -2 to 2 [0]."""
    frequency_penalty: float | None = None
    """Off the logit of a token for each time it was written, -2 to 2 [0]."""
    logit_bias: Mapping[int, float] | None = None
    """Added to the logits of these token ids, -100 to 100 [nothing]."""
    seed: int | None = None
    """The same seed, prompt and parameters give the same text [the server's choice, told in the result]."""
    stop: str | Sequence[str] | None = field(default=None, repr=False)
    """Stop at one of these strings, which is left out of the text [none]."""
    stop_token_ids: Sequence[int] | None = None
    """Stop at one of these tokens, which is left out of the text [none]."""
    ignore_eos: bool | None = None
    """Write on after the model's own end tokens [no]."""
    n: int | None = None
    """Texts to write, each with a seed of its own [1]."""
    logprobs: int | None = None
    """Report the log-probability of each token, with this many of the likeliest alternatives [no report]."""
    json_schema: Mapping[str, Any] | str | None = field(default=None, repr=False)
    """The text is a JSON document that this schema allows [any text]."""
    regex: str | None = field(default=None, repr=False)
    """The text is one that this expression matches as a whole (RE2's syntax) [any text]."""

    def __post_init__(self) -> None:
        if self.json_schema is not None and self.regex is not None:
            raise ValueError("json_schema and regex: a text is held to one of them")


class SamplingOptions(TypedDict, total=False):
    """The fields of `SamplingParams`, as keyword arguments."""

    max_tokens: int | None
    min_tokens: int | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: Mapping[int, float] | None
    seed: int | None
    stop: str | Sequence[str] | None
    stop_token_ids: Sequence[int] | None
    ignore_eos: bool | None
    n: int | None
    logprobs: int | None
    json_schema: Mapping[str, Any] | str | None
    regex: str | None


class CallOptions(TypedDict, total=False):
    """What goes with a generation beside its prompt and how to sample."""

    version: int | None
    cache_salt: str | None
    priority: int | None
    request_id: str | None
    deadline_seconds: float | None


class GenerateOptions(SamplingOptions, CallOptions, total=False):
    """Every keyword argument of `generate`, `stream` and `chat`."""

    sampling: SamplingParams | None


@dataclass(frozen=True, slots=True)
class TokenAlternative:
    """A token that could have stood in a place."""

    id: int = field(repr=False)
    text: str = field(repr=False)
    logprob: float = field(repr=False)


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token that was written, and the natural logarithm of its probability; the likeliest alternative first."""

    id: int = field(repr=False)
    text: str = field(repr=False)
    logprob: float = field(repr=False)
    alternatives: tuple[TokenAlternative, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class GenerationDelta:
    """What is new in one of the texts: whole characters, perhaps none. `tokens` only where `logprobs` was asked for."""

    choice: int
    text: str = field(repr=False)
    tokens: tuple[TokenLogprob, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class GenerationTimings:
    """Seconds on the server's clock, from the admission of the request; zeros until the text has ended."""

    tokenization_seconds: float
    queue_seconds: float
    """From the end of tokenization to the first step that read of the prompt."""
    time_to_first_token_seconds: float
    total_seconds: float
    """To the last token."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the `n` texts of a prompt."""

    text: str = field(repr=False)
    finish_reason: FinishReason
    stop: str | None = field(repr=False)
    """The stop string that was met, if it was one."""
    tokens: tuple[TokenLogprob, ...] = field(repr=False)
    usage: Usage
    timings: GenerationTimings


@dataclass(frozen=True, slots=True)
class Generation(Answers[Choice]):
    """What was written for one prompt: the sequence of its `n` choices, and the first of them by its own names."""

    model: str
    version: int
    seed: int
    """Of choice 0; choice i has this plus i."""
    choices: tuple[Choice, ...]
    request_id: str

    @property
    def text(self) -> str:
        return self.choices[0].text

    @property
    def finish_reason(self) -> FinishReason:
        return self.choices[0].finish_reason

    @property
    def stop(self) -> str | None:
        return self.choices[0].stop

    @property
    def tokens(self) -> tuple[TokenLogprob, ...]:
        return self.choices[0].tokens

    @property
    def timings(self) -> GenerationTimings:
        return self.choices[0].timings

    @property
    def usage(self) -> Usage:
        """The prompt once, and what was written for all choices."""
        first = self.choices[0].usage
        written = sum(choice.usage.completion_tokens for choice in self.choices)
        return Usage(first.prompt_tokens, written, first.cached_prompt_tokens)

    @property
    def message(self) -> Message:
        """The text as the assistant's turn, to go on with the conversation."""
        return Message("assistant", self.text)

    def _answers(self) -> tuple[Choice, ...]:
        return self.choices
