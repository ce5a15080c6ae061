"""What the language calls give back: frozen values, which know no wire.

A result is a sequence of its answers, one for each text of the request and in the same order. Texts, vectors and labels
stay out of every `repr`, so that a logged result says nothing of its content.
"""

import sys
from abc import abstractmethod
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, overload

T = TypeVar("T")

_NATIVE_FLOAT = "<f4" if sys.byteorder == "little" else ">f4"


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the model saw them: special tokens included, after truncation."""

    prompt_tokens: int
    completion_tokens: int = 0
    """Written; the one that ended the text is not among them."""
    cached_prompt_tokens: int = 0
    """Of `prompt_tokens`, those that the model did not have to read again."""


@dataclass(frozen=True, slots=True)
class Timings:
    """Where the time went, on the server's clock; of several texts, the largest figure of each kind."""

    tokenization_seconds: float
    queue_seconds: float
    compute_seconds: float
    batch_size: int
    """Texts (or rows) in the largest batch that served this request, those of other callers included."""
    batch_tokens: int


class Answers(Sequence[T]):
    """A result read as the sequence of its answers."""

    __slots__ = ()

    @abstractmethod
    def _answers(self) -> tuple[T, ...]: ...

    def __len__(self) -> int:
        return len(self._answers())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._answers()[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._answers())


@dataclass(frozen=True, slots=True)
class Embedding(Sequence[float]):
    """The vector of one text. `numpy.asarray(embedding)` shares its memory."""

    values: "array[float]" = field(repr=False)
    tokens: int
    truncated: bool

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> float: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[float]: ...
    def __getitem__(self, index: int | slice) -> float | Sequence[float]:
        return self.values[index]

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return {"version": 3, "shape": (len(self.values),), "typestr": _NATIVE_FLOAT, "data": self.values}


@dataclass(frozen=True, slots=True)
class EmbedResult(Answers[Embedding]):
    """One vector a text. `numpy.array(result.embeddings)` has the shape [texts, dimensions]."""

    model: str
    version: int
    embeddings: tuple[Embedding, ...] = field(repr=False)
    usage: Usage
    timings: Timings
    request_id: str

    def _answers(self) -> tuple[Embedding, ...]:
        return self.embeddings


@dataclass(frozen=True, slots=True)
class LabelScore:
    """A label, and its probability, or its logit where raw scores were asked for."""

    label: str = field(repr=False)
    score: float = field(repr=False)


@dataclass(frozen=True, slots=True)
class Classification(Answers[LabelScore]):
    """The labels of one text or pair, best score first."""

    labels: tuple[LabelScore, ...]
    tokens: int
    truncated: bool

    @property
    def best(self) -> LabelScore:
        return self.labels[0]

    def _answers(self) -> tuple[LabelScore, ...]:
        return self.labels


@dataclass(frozen=True, slots=True)
class ClassifyResult(Answers[Classification]):
    """One classification for each text or pair."""

    model: str
    version: int
    classifications: tuple[Classification, ...] = field(repr=False)
    usage: Usage
    timings: Timings
    request_id: str

    def _answers(self) -> tuple[Classification, ...]:
        return self.classifications


@dataclass(frozen=True, slots=True)
class Span:
    """A labelled part of a text: the characters from `start` to `end`, so that `text[start:end]` is `text`."""

    label: str = field(repr=False)
    score: float = field(repr=False)
    start: int
    end: int
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class TaggedText(Answers[Span]):
    """The spans of one text, in order, never overlapping."""

    spans: tuple[Span, ...]
    tokens: int
    truncated: bool

    def _answers(self) -> tuple[Span, ...]:
        return self.spans


@dataclass(frozen=True, slots=True)
class TagTokensResult(Answers[TaggedText]):
    """The labelled spans of each text."""

    model: str
    version: int
    tagged_texts: tuple[TaggedText, ...] = field(repr=False)
    usage: Usage
    timings: Timings
    request_id: str

    def _answers(self) -> tuple[TaggedText, ...]:
        return self.tagged_texts


@dataclass(frozen=True, slots=True)
class Token:
    """A token and the characters that it stands for; `start` and `end` are both 0 for a special token."""

    id: int = field(repr=False)
    text: str = field(repr=False)
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tokenization(Answers[Token]):
    """The tokens of one text."""

    tokens: tuple[Token, ...]

    @property
    def ids(self) -> tuple[int, ...]:
        return tuple(token.id for token in self.tokens)

    def _answers(self) -> tuple[Token, ...]:
        return self.tokens


@dataclass(frozen=True, slots=True)
class TokenizeResult(Answers[Tokenization]):
    """The tokens of each text, never truncated."""

    model: str
    version: int
    tokenizations: tuple[Tokenization, ...] = field(repr=False)
    request_id: str

    def _answers(self) -> tuple[Tokenization, ...]:
        return self.tokenizations


@dataclass(frozen=True, slots=True)
class DetokenizeResult(Answers[str]):
    """One text for each sequence of ids."""

    model: str
    version: int
    texts: tuple[str, ...] = field(repr=False)
    request_id: str

    def _answers(self) -> tuple[str, ...]:
        return self.texts
