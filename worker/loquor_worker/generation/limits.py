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


@dataclass(frozen=True, slots=True)
class GeneratorSettings:
    """Every 0 leaves the choice to the device. `records_steps`: on CUDA, by graphs."""

    max_step_tokens: int = 0
    max_running_sequences: int = 0
    max_sequence_tokens: int = 0
    kv_cache_bytes: int = 0
    kv_block_tokens: int = 0
    prefix_cache: bool = True
    draft_tokens: int = 0
    records_steps: bool = True
