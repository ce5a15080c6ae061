"""What the scheduler gives the engine to run in one step, and what the engine gives back."""

from dataclasses import dataclass
from enum import Enum

from loquor_worker.generation.sequence import GenerationSequence


@dataclass(frozen=True, slots=True)
class Chunk:
    """What one sequence runs in a step: `tokens`, of which the first has the position `start`.

    The keys and values of all positions before `start` are in the sequence's blocks, which have room for these tokens,
    too. The last `drafts` of the tokens are guesses. With `samples`, the engine picks a token after the last known one
    and after each guess that proves right; without it, the chunk is a part of a prompt and nothing is picked.
    """

    sequence: GenerationSequence
    start: int
    tokens: list[int]
    drafts: int = 0
    samples: bool = True


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """Natural logarithm of a token's probability, and the likeliest tokens in its place, the likeliest first."""

    logprob: float
    ids: list[int]
    logprobs: list[float]


@dataclass(frozen=True, slots=True)
class Produced:
    """What a chunk gave: the guesses that proved right and one token more; nothing where it did not sample.

    `logprobs` has one entry an id if the sequence asked for them. `complete` says that the structure of the output is
    complete with the last id.
    """

    ids: list[int]
    logprobs: list[TokenLogprob]
    complete: bool = False


class FailureKind(Enum):
    """ENGINE: it could not run this chunk. OUT_OF_MEMORY: the device has no memory for it, even by itself.

    INVALID: what was asked for cannot be had; the message says why, and goes to the caller.
    """

    ENGINE = "engine"
    INVALID = "invalid"
    OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True, slots=True)
class Failed:
    """In place of `Produced`: the sequence ends with it."""

    kind: FailureKind
    message: str = ""


Outcome = Produced | Failed
