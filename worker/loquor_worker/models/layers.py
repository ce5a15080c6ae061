"""One layer of the transformer: attention and feed-forward, each with its residual and its norms.

It knows no embedding and no other layer.
"""

import torch
from torch import Tensor, nn

from loquor_worker.models.attention import Attend
from loquor_worker.models.config import ModelConfig, NormKind, NormPlace
from loquor_worker.models.parts import ACTIVATIONS, Linear, Norm, Part, RootMeanSquareNorm
from loquor_worker.models.positions import Rotation, rotate


def make_norm(config: ModelConfig, width: int | None = None) -> Norm | RootMeanSquareNorm:
    """The norm of that model, of rows of the hidden size or of another width."""
    width = config.hidden_size if width is None else width
    if config.norm_kind is NormKind.LAYER:
        return Norm(width, config.norm_epsilon, bias=config.norm_bias)
    offset = 1.0 if config.norm_kind is NormKind.ROOT_MEAN_SQUARE_PLUS_ONE else 0.0
    return RootMeanSquareNorm(width, config.norm_epsilon, offset=offset)


class SelfAttention(Part):
    """Query, key and value by one projection, in this order; query and key turn together."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self._layer = layer
        self._parts = (config.heads, config.kv_heads)
        self._turning = (config.heads + config.kv_heads, config.kv_heads)
        self._shape = (config.heads + 2 * config.kv_heads, config.head_size)
        self._window = config.window(layer)
        width = config.heads * config.head_size
        self.qkv = Linear(config.hidden_size, self._shape[0] * self._shape[1], bias=config.attention_bias)
        self.query_norm = make_norm(config, config.head_size) if config.query_key_norm else None
        self.key_norm = make_norm(config, config.head_size) if config.query_key_norm else None
        self.output = Linear(width, config.hidden_size, bias=config.has_output_bias)

    def forward(self, hidden: Tensor, attend: Attend, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        heads = self.qkv(hidden).view(-1, *self._shape)
        turning, value = heads.split_with_sizes(self._turning, 1)
        if self.query_norm is not None and self.key_norm is not None:
            query, key = turning.split_with_sizes(self._parts, 1)
            turning = torch.cat((self.query_norm(query), self.key_norm(key)), dim=1)
        if rotation is not None:
            turning = rotate(turning, rotation)
        query, key = turning.split_with_sizes(self._parts, 1)
        seen = attend(query, key, value, layer=self._layer, window=self._window, bias=bias)
        return self.output(seen.flatten(1))  # type: ignore[no-any-return]


class FeedForward(Part):
    """Two projections around an activation."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(
            config.hidden_size, config.intermediate_size, bias=config.mlp_bias, activation=config.activation
        )
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.down(self.up(hidden))  # type: ignore[no-any-return]


class GatedFeedForward(Part):
    """One projection makes the inner values and their gate side by side (GLU variants, Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[config.activation]
        self.up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        inner, gate = self.up(hidden).chunk(2, dim=-1)
        return self.down(self._activation(inner) * gate)  # type: ignore[no-any-return]


class Layer(Part):
    """The parts that all layers have; the classes below say in what order they come."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention = SelfAttention(config, layer)
        self.attention_norm = make_norm(config) if layer or config.norm_before_first_layer else nn.Identity()
        self.mlp = GatedFeedForward(config) if config.gated else FeedForward(config)


class NormAfter(Layer):
    """A norm of each sum."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.mlp_norm = make_norm(config)

    def forward(self, hidden: Tensor, attend: Attend, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        hidden = self.attention_norm(hidden + self.attention(hidden, attend, rotation, bias))
        return self.mlp_norm(hidden + self.mlp(hidden))  # type: ignore[no-any-return]


class NormBefore(Layer):
    """A norm of each branch's input."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.mlp_norm = make_norm(config)

    def forward(self, hidden: Tensor, attend: Attend, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        hidden = hidden + self.attention(self.attention_norm(hidden), attend, rotation, bias)
        return hidden + self.mlp(self.mlp_norm(hidden))  # type: ignore[no-any-return]


class NormAround(Layer):
    """A norm of each branch's input and one of its output."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer)
        self.attention_output_norm = make_norm(config)
        self.mlp_norm = make_norm(config)
        self.mlp_output_norm = make_norm(config)

    def forward(self, hidden: Tensor, attend: Attend, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        seen = self.attention(self.attention_norm(hidden), attend, rotation, bias)
        hidden = hidden + self.attention_output_norm(seen)
        return hidden + self.mlp_output_norm(self.mlp(self.mlp_norm(hidden)))  # type: ignore[no-any-return]


class NormShared(Layer):
    """One norm of the input of both branches."""

    def forward(self, hidden: Tensor, attend: Attend, rotation: Rotation | None, bias: Tensor | None) -> Tensor:
        normed = self.attention_norm(hidden)
        return hidden + self.attention(normed, attend, rotation, bias) + self.mlp(normed)  # type: ignore[no-any-return]


LAYERS: dict[NormPlace, type[Layer]] = {
    NormPlace.AFTER: NormAfter,
    NormPlace.BEFORE: NormBefore,
    NormPlace.AROUND: NormAround,
    NormPlace.SHARED: NormShared,
}
