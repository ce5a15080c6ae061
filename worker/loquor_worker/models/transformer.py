"""The one transformer: a `ModelConfig` in, hidden states of packed sequences out.

It knows no family, no file and no task. Parameters are made without storage; `weights` puts the checkpoint's own
tensors in their place.
"""

import torch
from torch import Tensor, nn

from loquor_worker.models.attention import Attend, Attention
from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.packing import Packing
from loquor_worker.models.parts import ACTIVATIONS, Linear, Norm, Table
from loquor_worker.models.positions import RelativeBiasTable, Rotary, rotate


class Embeddings(nn.Module):
    """Tokens, and where the family has them positions and token types, summed and normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._first_position = config.first_position
        self.tokens = Table(config.vocabulary_size, config.hidden_size)
        self.positions = Table(config.position_rows, config.hidden_size) if config.position_rows else None
        self.types = Table(config.token_types, config.hidden_size) if config.token_types else None
        self.norm = make_norm(config)

    def forward(self, ids: Tensor, positions: Tensor, types: Tensor | None) -> Tensor:
        hidden: Tensor = self.tokens(ids)
        if self.types is not None:
            hidden = hidden + (self.types.weight[0] if types is None else self.types(types))
        if self.positions is not None:
            hidden = hidden + self.positions(positions + self._first_position)
        return self.norm(hidden)  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Query, key and value by one projection."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self._shape = (3, config.heads, config.head_size)
        self._window = config.window(layer)
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=config.attention_bias)
        self.output = Linear(config.hidden_size, config.hidden_size, bias=config.attention_bias)

    def forward(self, hidden: Tensor, attend: Attend, rotary: Rotary | None, bias: Tensor | None) -> Tensor:
        query, key, value = self.qkv(hidden).view(-1, *self._shape).unbind(1)
        if rotary is not None:
            query, key = rotate(query, rotary), rotate(key, rotary)
        return self.output(attend(query, key, value, window=self._window, bias=bias).flatten(1))  # type: ignore[no-any-return]


class FeedForward(nn.Module):
    """Two projections around an activation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(
            config.hidden_size, config.intermediate_size, bias=config.mlp_bias, activation=config.activation
        )
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.up(hidden))  # type: ignore[no-any-return]


class GatedFeedForward(nn.Module):
    """One projection makes the inner values and their gate side by side (GLU variants, Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.activation]
        self.up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        inner, gate = self.up(hidden).chunk(2, dim=-1)
        return self.down(self._activation(inner) * gate)  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Attention and feed-forward, each with its residual and its norm."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self._after = config.norm_place is NormPlace.AFTER
        self.attention = SelfAttention(config, layer)
        self.attention_norm = make_norm(config) if layer or config.norm_before_first_layer else nn.Identity()
        self.mlp = GatedFeedForward(config) if config.gated else FeedForward(config)
        self.mlp_norm = make_norm(config)

    def forward(self, hidden: Tensor, attend: Attend, rotary: Rotary | None, bias: Tensor | None) -> Tensor:
        if self._after:
            hidden = self.attention_norm(hidden + self.attention(hidden, attend, rotary, bias))
            return self.mlp_norm(hidden + self.mlp(hidden))  # type: ignore[no-any-return]
        hidden = hidden + self.attention(self.attention_norm(hidden), attend, rotary, bias)
        return hidden + self.mlp(self.mlp_norm(hidden))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Embeddings and layers over packed sequences."""

    def __init__(self, config: ModelConfig, attention: Attention) -> None:
        super().__init__()
        self.config = config
        self._attention = attention
        self.embeddings = Embeddings(config)
        self.relative_bias = RelativeBiasTable(config.relative_bias, config.heads) if config.relative_bias else None
        self.layers = nn.ModuleList(Layer(config, layer) for layer in range(config.layers))
        self.final_norm = make_norm(config) if config.norm_place is NormPlace.BEFORE else nn.Identity()

    def forward(self, ids: Tensor, positions: Tensor, types: Tensor | None, packing: Packing) -> Tensor:
        """Of token ids, their places in their sequences and their types, each [rows], make [rows, hidden size]."""
        hidden = self.embeddings(ids, positions, types)
        attend = self._attention(packing, ids.device)
        bias = self.relative_bias(packing.longest) if self.relative_bias is not None else None
        rotaries = self._rotaries(positions, hidden.dtype)
        for layer, rotary in zip(self.layers, rotaries, strict=True):
            hidden = layer(hidden, attend, rotary, bias)
        return self.final_norm(hidden)  # type: ignore[no-any-return]

    def _rotaries(self, positions: Tensor, dtype: torch.dtype) -> list[Rotary | None]:
        """The rotation of each layer; layers of one base share it."""
        bases = self.config.rotary_bases
        made = {base: Rotary.of(positions, base, self.config.head_size, dtype) for base in set(bases)}
        return [made[base] for base in bases] if bases else [None] * self.config.layers


def make_norm(config: ModelConfig) -> Norm:
    return Norm(config.hidden_size, config.norm_epsilon, bias=config.norm_bias)
