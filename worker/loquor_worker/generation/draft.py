"""Guesses of what comes next, looked up in what was there before (prompt lookup, Saxena 2023).

Where the last few tokens have occurred earlier, what followed them then is likely to follow again: in summaries,
corrections, answers that quote. A guess costs no model; whether it is right is for the engine to find out.
"""

from array import array
from dataclasses import dataclass
from typing import Protocol

_MOST_CANDIDATES = 64


class Guesser(Protocol):
    """Follows one list of tokens, which is only ever appended to."""

    def propose(self, room: int) -> list[int]:
        """At most `room` tokens that may come after the present last one; empty if nothing is likely."""
        ...


class Drafter(Protocol):
    """Makes guessers, one a sequence."""

    def follow(self, tokens: list[int]) -> Guesser: ...


@dataclass(frozen=True, slots=True)
class PromptLookup:
    """Looks for the last `longest_ngram` tokens, and down to `shortest_ngram`; guesses `most_drafts` at the most."""

    longest_ngram: int = 3
    shortest_ngram: int = 2
    most_drafts: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.shortest_ngram <= self.longest_ngram or self.most_drafts < 1:
            raise ValueError("1 <= shortest_ngram <= longest_ngram and 1 <= most_drafts are required")

    def follow(self, tokens: list[int]) -> "NgramIndex":
        return NgramIndex(tokens, self)


class NgramIndex:
    """Where each token of one list occurred before, so that a look-up visits the places of one token and no others.

    A look-up costs what was appended since the last one, and at most 64 places. Memory: 4 bytes a token, and an entry
    of a dict for each that differs.
    """

    def __init__(self, tokens: list[int], lookup: PromptLookup) -> None:
        self._tokens = tokens
        self._lookup = lookup
        self._latest: dict[int, int] = {}
        self._previous = array("i")  # of each position, the one before it with the same token; -1 if there is none

    def propose(self, room: int) -> list[int]:
        count = min(room, self._lookup.most_drafts)
        if count < 1:
            return []
        self._catch_up()
        place = self._find()
        return [] if place is None else self._continue(place, count)

    def _catch_up(self) -> None:
        latest, previous = self._latest, self._previous
        for position in range(len(previous), len(self._tokens)):
            token = self._tokens[position]
            previous.append(latest.get(token, -1))
            latest[token] = position

    def _find(self) -> int | None:
        """The latest earlier position that ends the longest of the n-grams looked for."""
        place, length = None, self._lookup.shortest_ngram - 1
        candidate = self._previous[-1]
        for _ in range(_MOST_CANDIDATES):
            if candidate < 0 or length == self._lookup.longest_ngram:
                break
            if (common := self._common(candidate)) > length:
                place, length = candidate, common
            candidate = self._previous[candidate]
        return place

    def _common(self, position: int) -> int:
        """How many tokens up to this position are those at the end, `longest_ngram` at the most."""
        tokens, last = self._tokens, len(self._tokens) - 1
        most = min(self._lookup.longest_ngram, position + 1)
        length = 1
        while length < most and tokens[position - length] == tokens[last - length]:
            length += 1
        return length

    def _continue(self, place: int, count: int) -> list[int]:
        """What followed, and where that reaches the end, the same again: it may be a loop."""
        followed = self._tokens[place + 1 : place + 1 + count]
        while len(followed) < count:
            followed += followed[: count - len(followed)]
        return followed
