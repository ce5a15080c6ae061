"""What a transformer is made of, whatever the checkpoint it came from calls it.

It knows no file format and no family; the tables in `families` make it.
"""

from dataclasses import dataclass
from enum import Enum


class NormPlace(Enum):
    """Where a layer normalises: the sum of branch and residual, or the branch's input."""

    AFTER = "after"
    BEFORE = "before"


@dataclass(frozen=True, slots=True)
class RelativeBias:
    """A learned bias on the attention scores, one number a head and a bucket of distances."""

    buckets: int
    max_distance: int


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One transformer. Sizes are in elements, positions in tokens."""

    vocabulary_size: int
    hidden_size: int
    layers: int
    heads: int
    intermediate_size: int
    activation: str
    gated: bool
    norm_epsilon: float
    norm_place: NormPlace
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    # The longest sequence that the positions allow.
    max_positions: int
    # Rows of the table of learned positions, 0 where there is none, and the row of the first token.
    position_rows: int = 0
    first_position: int = 0
    token_types: int = 0
    relative_bias: RelativeBias | None = None
    # For each layer the base of its rotary frequencies; empty where positions are not rotary.
    rotary_bases: tuple[float, ...] = ()
    # For each layer how many tokens it sees to either side; None is all of them; empty where all layers see all.
    windows: tuple[int | None, ...] = ()
    # The embeddings' own norm stands in for the first layer's first norm, and one more follows the last layer.
    norm_before_first_layer: bool = True

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.heads

    def window(self, layer: int) -> int | None:
        return self.windows[layer] if self.windows else None
