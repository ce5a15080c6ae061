"""The one transformer: a `ModelConfig` in, hidden states of the rows of a step out.

It knows no family, no file and no task, and of a batch only what its attention makes of it. Parameters are made
without storage; `weights` puts the checkpoint's own tensors in their place.
"""

import torch
from torch import Tensor, nn

from loquor_worker.models.attention import Attention, Batch
from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.layers import LAYERS, make_norm
from loquor_worker.models.parts import Table
from loquor_worker.models.positions import RelativeBiasTable, Rotary, Rotation


class Embeddings(nn.Module):
    """Tokens, and where the family has them positions and token types, summed, scaled and normalised."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._first_position = config.first_position
        self._factor = config.embedding_factor
        self.tokens = Table(config.vocabulary_size, config.hidden_size)
        self.positions = Table(config.position_rows, config.hidden_size) if config.position_rows else None
        self.types = Table(config.token_types, config.hidden_size) if config.token_types else None
        self.norm = make_norm(config) if config.embedding_norm else nn.Identity()

    def forward(self, ids: Tensor, positions: Tensor, types: Tensor | None) -> Tensor:
        hidden: Tensor = self.tokens(ids)
        if self._factor is not None:
            # Rounded to the type of the rows, as where the models were trained.
            hidden = hidden * torch.tensor(self._factor, dtype=hidden.dtype)
        if self.types is not None:
            hidden = hidden + (self.types.weight[0] if types is None else self.types(types))
        if self.positions is not None:
            hidden = hidden + self.positions(positions + self._first_position)
        return self.norm(hidden)  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Embeddings and layers over the rows of one step."""

    def __init__(self, config: ModelConfig, attention: Attention) -> None:
        super().__init__()
        self.config = config
        self._attention = attention
        self.embeddings = Embeddings(config)
        self.relative_bias = RelativeBiasTable(config.relative_bias, config.heads) if config.relative_bias else None
        # Layers of one rope share its rotation.
        ropes = list(dict.fromkeys(rope for rope in config.ropes if rope is not None))
        self.rotaries = nn.ModuleList(Rotary(rope, config.max_positions) for rope in ropes)
        self._rotary_of = [ropes.index(rope) if (rope := config.rope(n)) else None for n in range(config.layers)]
        self.layers = nn.ModuleList(LAYERS[config.norm_place](config, layer) for layer in range(config.layers))
        self.final_norm = nn.Identity() if config.norm_place is NormPlace.AFTER else make_norm(config)

    def forward(self, ids: Tensor, positions: Tensor, types: Tensor | None, batch: Batch) -> Tensor:
        """Of token ids, their places in their sequences and their types, each [rows], make [rows, hidden size]."""
        hidden = self.embeddings(ids, positions, types)
        attend = self._attention(batch, ids.device)
        bias = self.relative_bias(batch.longest) if self.relative_bias is not None else None
        for layer, rotation in zip(self.layers, self._rotations(positions), strict=True):
            hidden = layer(hidden, attend, rotation, bias)
        return self.final_norm(hidden)  # type: ignore[no-any-return]

    def _rotations(self, positions: Tensor) -> list[Rotation | None]:
        """The rotation of each layer."""
        made = [rotary(positions) for rotary in self.rotaries]
        return [None if place is None else made[place] for place in self._rotary_of]
