"""One sequence: its tokens, how many of them are in the KV cache, and in which blocks."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum

from loquor_worker.generation.draft import Guesser
from loquor_worker.generation.params import SamplingParams


class SequenceState(Enum):
    """WAITING -> RUNNING (given blocks) -> FINISHED; RUNNING -> WAITING (preempted); WAITING -> FINISHED (cancelled).

    Moved by the scheduler alone.
    """

    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


_MOVES = {
    SequenceState.WAITING: {SequenceState.RUNNING, SequenceState.FINISHED},
    SequenceState.RUNNING: {SequenceState.WAITING, SequenceState.FINISHED},
    SequenceState.FINISHED: set(),
}


@dataclass(slots=True, eq=False)
class GenerationSequence:
    """`tokens` is the prompt and what has been written; the keys and values of the first `computed` lie in `blocks`.

    `sender` and `id` name it to whoever asked. `priority` is 1 (first) to 9 (last). `arrived_at` is in seconds on a
    monotonic clock. `cached_prompt_tokens` were found in the cache when it first ran. `preemptions` counts those since
    its last progress. The rest is the scheduler's: `turn` orders sequences, the lowest first; `keys` are those of its
    first full blocks, as far as they have been asked for, of which `published` are in the prefix cache.

    `tokens` is only ever appended to. `blocks` grows while it runs, and is a new list after a preemption.
    """

    sender: Hashable
    id: int
    prompt_tokens: int
    tokens: list[int]
    params: SamplingParams
    priority: int = 5
    cache_salt: bytes = b""
    arrived_at: float = 0.0
    started_at: float | None = None
    state: SequenceState = SequenceState.WAITING
    computed: int = 0
    blocks: list[int] = field(default_factory=list)
    cached_prompt_tokens: int = 0
    preemptions: int = 0
    turn: tuple[float, int] = (0.0, 0)
    keys: list[bytes] = field(default_factory=list)
    published: int = 0
    guesser: Guesser | None = None

    @property
    def key(self) -> tuple[Hashable, int]:
        return self.sender, self.id

    @property
    def output_tokens(self) -> int:
        """How many tokens have been written."""
        return len(self.tokens) - self.prompt_tokens

    @property
    def is_ended_by_length(self) -> bool:
        return self.output_tokens >= self.params.max_tokens

    @property
    def is_decoding(self) -> bool:
        """All but the last token are in the KV cache."""
        return self.computed + 1 == len(self.tokens)

    def move(self, state: SequenceState) -> None:
        if state not in _MOVES[self.state]:
            raise RuntimeError(f"sequence {self.id} cannot move from {self.state.value} to {state.value}")
        self.state = state
