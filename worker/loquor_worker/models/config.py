"""What a transformer is made of, whatever the checkpoint it came from calls it.

It knows no file format and no family; the tables in `families` make it.
"""

from dataclasses import dataclass
from enum import Enum

from loquor_worker.models.rope import Rope


class NormPlace(Enum):
    """Where a layer normalises."""

    # The sum of branch and residual.
    AFTER = "after"
    # The branch's input.
    BEFORE = "before"
    # The branch's input and its output.
    AROUND = "around"
    # One input of both branches, which run side by side.
    SHARED = "shared"


class NormKind(Enum):
    """What a norm does to a row."""

    LAYER = "layer"
    ROOT_MEAN_SQUARE = "root_mean_square"
    # The same, with one less in the file than what it multiplies by.
    ROOT_MEAN_SQUARE_PLUS_ONE = "root_mean_square_plus_one"


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
    # Of query, key and value; the output has one, too, unless `output_bias` says otherwise.
    attention_bias: bool
    mlp_bias: bool
    # The longest sequence that the positions allow.
    max_positions: int
    # Rows of the table of learned positions, 0 where there is none, and the row of the first token.
    position_rows: int = 0
    first_position: int = 0
    token_types: int = 0
    relative_bias: RelativeBias | None = None
    # For each layer how its queries and keys turn, None where they do not; empty where no layer's do.
    ropes: tuple[Rope | None, ...] = ()
    # For each layer how many tokens it sees to either side; None is all of them; empty where all layers see all.
    windows: tuple[int | None, ...] = ()
    # The embeddings' own norm stands in for the first layer's first norm, and one more follows the last layer.
    norm_before_first_layer: bool = True
    # A token sees itself and those before it: the model can be asked for the next one.
    causal: bool = False
    # Heads of key and value, each for as many heads of the query in order; None: as many as those.
    key_value_heads: int | None = None
    # None: the hidden size, shared between the heads.
    head_width: int | None = None
    norm_kind: NormKind = NormKind.LAYER
    output_bias: bool | None = None
    # Each head of query and key has a norm before it turns.
    query_key_norm: bool = False
    # What scores are multiplied by, None: one over the root of the head size; and what bounds them then.
    score_factor: float | None = None
    score_cap: float | None = None
    embedding_norm: bool = True
    embedding_factor: float | None = None
    # The language head has the weights of the token embeddings.
    tied_head: bool = False
    head_bias: bool = False
    logit_cap: float | None = None

    @property
    def head_size(self) -> int:
        return self.hidden_size // self.heads if self.head_width is None else self.head_width

    @property
    def kv_heads(self) -> int:
        return self.heads if self.key_value_heads is None else self.key_value_heads

    @property
    def score_scale(self) -> float:
        return float(self.head_size**-0.5) if self.score_factor is None else self.score_factor

    @property
    def has_output_bias(self) -> bool:
        return self.attention_bias if self.output_bias is None else self.output_bias

    def window(self, layer: int) -> int | None:
        return self.windows[layer] if self.windows else None

    def rope(self, layer: int) -> Rope | None:
        return self.ropes[layer] if self.ropes else None
