"""How a structure meets the tokens that end a text and the guesses of speculation.

- An end or stop token is let through only where the text before it is complete, and not before `min_tokens`.
- With `ignore_eos`, the model's end tokens are never let through: the text goes on until it can only be complete.
- A text that can only be complete ends there, even before `min_tokens`.
- Where this would leave no token at all, what the structure allows stands: a stop token may then cut the text.
"""

from collections.abc import Sequence

from loquor_worker.generation.params import SamplingParams
from loquor_worker.sampling.row import Row
from loquor_worker.sampling.structure import Bits, Matcher, bits_of


class Guide:
    """The matcher of one text. What is tried out for guesses and picks is taken back before a method returns."""

    def __init__(self, matcher: Matcher, params: SamplingParams, end_ids: frozenset[int], vocabulary_size: int) -> None:
        self._matcher = matcher
        self._min_tokens = params.min_tokens
        self._closing = params.stop_token_ids | end_ids
        self._closing_bits = bits_of(self._closing, vocabulary_size)
        let_through = params.stop_token_ids if params.ignore_eos else self._closing
        self._let_through_bits = bits_of(let_through, vocabulary_size)

    @property
    def failure(self) -> str | None:
        return self._matcher.failure

    def accept(self, ids: Sequence[int]) -> None:
        """What has been written."""
        self._matcher.accept(ids)

    def masks(self, rows: Sequence[Row]) -> list[Bits]:
        """The tokens allowed in each row, as far as the guesses before it are allowed and leave the text open."""
        masks = [self._mask(rows[0].position)]
        for row in rows[1:]:
            if not self._matcher.try_accept(row.guesses[-1]):
                break
            masks.append(self._mask(row.position))
        self._matcher.roll_back(len(masks) - 1)
        return masks

    def completing(self, rows: Sequence[Row], picked: Sequence[int]) -> int | None:
        """Which of the rows, as far as the picks before it are as guessed, is picked so that the text is complete."""
        accepted, found = 0, None
        for place, id in enumerate(picked):
            if id in self._closing or not self._matcher.try_accept(id):
                break
            accepted += 1
            if self._matcher.is_complete:
                found = place
                break
            if place + 1 == len(rows) or rows[place + 1].guesses[-1] != id:
                break
        self._matcher.roll_back(accepted)
        return found

    def _mask(self, position: int) -> Bits:
        allowed = self._matcher.allowed()
        chosen = allowed & ~self._closing_bits
        if self._matcher.may_end and position >= self._min_tokens:
            chosen |= self._let_through_bits
        return chosen if chosen.any() else allowed
