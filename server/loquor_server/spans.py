"""Labels of tokens to labelled spans of text.

Neighbouring tokens of one kind are one span. A B- label starts a new one, unless nothing parts its token from the one
before: the pieces of `alex@example.com` are one address, though a model may begin each anew. Special tokens (`[CLS]`,
`</s>`) carry no characters and no span, whatever the model says of them. Offsets are in code points.
"""

import unicodedata
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Encoding

_OUTSIDE = "O"


@dataclass(slots=True)
class Span:
    """Characters `start` to `end` (excluded) of the text; `score` is the mean of its tokens' probabilities."""

    label: str
    start: int
    end: int
    score: float
    tokens: int = 1

    def extend(self, end: int, score: float) -> None:
        self.score = (self.score * self.tokens + score) / (self.tokens + 1)
        self.tokens += 1
        self.end = end


def spans_of(
    encoding: Encoding, label_ids: "array[int]", scores: "array[float]", labels: Sequence[str], text: str
) -> list[Span]:
    """The spans of one text, in order and never overlapping."""
    spans: list[Span] = []
    open_span = False
    rows = zip(encoding.offsets, encoding.special_tokens_mask, label_ids, scores, strict=True)
    for (start, end), special, label_id, score in rows:
        if special or start == end:
            continue
        prefix, kind = _split(labels[label_id])
        if kind == _OUTSIDE:
            open_span = False
        elif open_span and spans[-1].label == kind and (prefix != "B" or _unparted(text, spans[-1].end, start)):
            spans[-1].extend(end, score)
        else:
            spans.append(Span(kind, start, end, score))
            open_span = True
    for span in spans:
        _trim(span, text)
    return spans


def _split(label: str) -> tuple[str, str]:
    """`B-CITY` to `B` and `CITY`; a label without a prefix is inside by default."""
    prefix, dash, kind = label.partition("-")
    if dash and prefix in ("B", "I", "E", "S", "L", "U"):
        return ("B" if prefix in ("B", "S", "U") else "I"), kind
    return ("O" if label == _OUTSIDE else "I"), label


def _unparted(text: str, end: int, start: int) -> bool:
    """Whether what ends and what starts there are of one word; scripts written without blanks part words by labels."""
    return end == start and not any(unicodedata.east_asian_width(text[at]) in "WF" for at in (end - 1, start))


def _trim(span: Span, text: str) -> None:
    """Leave out blanks at the ends, which some tokenizers count to the token."""
    while span.start < span.end and text[span.start].isspace():
        span.start += 1
    while span.end > span.start and text[span.end - 1].isspace():
        span.end -= 1
