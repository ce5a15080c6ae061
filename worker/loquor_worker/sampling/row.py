"""A place where a token is to be picked, and what was picked there."""

from collections.abc import Sequence
from dataclasses import dataclass

from loquor_worker.generation.sequence import GenerationSequence
from loquor_worker.generation.step import TokenLogprob


@dataclass(frozen=True, slots=True)
class Row:
    """The place after a sequence's tokens and these guesses.

    The rows of one sequence stand together, each with one guess more than the one before it.
    """

    sequence: GenerationSequence
    guesses: Sequence[int] = ()

    @property
    def position(self) -> int:
        """How many tokens have been written before it, the guesses counted."""
        return self.sequence.output_tokens + len(self.guesses)


@dataclass(frozen=True, slots=True)
class Pick:
    """`logprob` where the sequence asks for it.

    `complete`: with this token the output's structure can only be complete; what was picked behind it does not count.
    `failure`: the structure cannot be followed any further, for this reason, and `id` means nothing.
    """

    id: int
    logprob: TokenLogprob | None = None
    complete: bool = False
    failure: str | None = None
