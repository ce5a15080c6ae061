"""How the tokens of one sequence are picked, and when it ends. Checked by whoever makes one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class StructureKind(Enum):
    JSON_SCHEMA = "json_schema"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class Structure:
    """What the whole output must be. `text` is the schema or the expression."""

    kind: StructureKind
    text: str


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """As `loquor.v1.SamplingParams` says of each; `logprobs` None asks for none. Greedy at a `temperature` of 0."""

    max_tokens: int
    min_tokens: int = 0
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int = 0
    stop_token_ids: frozenset[int] = frozenset()
    ignore_eos: bool = False
    logprobs: int | None = None
    structure: Structure | None = None

    @property
    def is_greedy(self) -> bool:
        return self.temperature == 0.0

    @property
    def has_penalties(self) -> bool:
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1.0, 0.0, 0.0)
