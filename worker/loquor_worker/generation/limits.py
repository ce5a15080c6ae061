"""How much one engine takes on at a time."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """`step_tokens` in one step, of `running_sequences` at the most, each of `sequence_tokens`, its output included."""

    step_tokens: int
    running_sequences: int
    sequence_tokens: int

    def __post_init__(self) -> None:
        if min(self.step_tokens, self.running_sequences, self.sequence_tokens) < 1:
            raise ValueError("every limit is at least 1")
