"""When each request was made and its tokens came, and what can be told of it: tokens a second, seconds to the first.

It knows times alone, whoever took them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Timeline:
    """Seconds from a common start: `started` when it was asked, `marks` when something of its `tokens` came."""

    tokens: int
    started: float
    marks: list[float]

    @property
    def finished(self) -> float:
        return self.marks[-1]

    @property
    def first_token_seconds(self) -> float:
        return self.marks[0] - self.started

    def tokens_between(self, start: float, end: float) -> float:
        """Each mark stands for an equal share of the tokens."""
        return self.tokens * sum(start < mark <= end for mark in self.marks) / len(self.marks)


def steady_rate(timelines: Sequence[Timeline], callers: int) -> float:
    """Tokens a second while all callers are busy: from the first whole answer until a caller finds no more work.

    Raises `ValueError` if there are not more requests than callers.
    """
    if len(timelines) <= callers:
        raise ValueError(f"{len(timelines)} requests do not keep {callers} callers busy")
    finishes = sorted(timeline.finished for timeline in timelines)
    start, end = finishes[0], finishes[len(timelines) - callers]
    return sum(timeline.tokens_between(start, end) for timeline in timelines) / (end - start)


def median_first_token(timelines: Sequence[Timeline]) -> float:
    return median(timeline.first_token_seconds for timeline in timelines)


def decode_rate(timeline: Timeline) -> float:
    """Tokens a second of one request alone, from its first mark to its last."""
    steps = timeline.tokens * (len(timeline.marks) - 1) / len(timeline.marks)
    return steps / (timeline.finished - timeline.marks[0])
