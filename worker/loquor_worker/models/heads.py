"""What stands on the transformer: pooled embeddings, one label for a sequence or for each token, the next token.

A head makes tensors of the hidden states of the rows of a step. It knows no wire format and no label's name.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from loquor_worker.models.config import ModelConfig
from loquor_worker.models.packing import Packing
from loquor_worker.models.parts import Linear, Norm, RootMeanSquareNorm
from loquor_worker.models.pooling import Pooling, pool


class EmbeddingHead(nn.Module):
    """Pooling, and where the model has them projections."""

    def __init__(self, pooling: Pooling, projections: list[Linear]) -> None:
        super().__init__()
        self._pooling = pooling
        self.projections = nn.Sequential(*projections)

    def forward(self, hidden: Tensor, packing: Packing, normalize: Tensor) -> Tensor:
        """[sequences, dimensions] in float32; `normalize`, [sequences], says which get the length 1."""
        rows: Tensor = self.projections(pool(hidden, packing, self._pooling)).float()
        return torch.where(normalize.unsqueeze(1), functional.normalize(rows), rows)


class LabelHead(nn.Module):
    """Logits of rows, behind a projection and a norm where the family has them."""

    def __init__(
        self, output: Linear, dense: Linear | None = None, norm: Norm | RootMeanSquareNorm | None = None
    ) -> None:
        super().__init__()
        self.dense = dense
        self.norm = norm
        self.output = output

    def forward(self, rows: Tensor) -> Tensor:
        """Of [rows, hidden size] make [rows, labels] in float32."""
        for part in (self.dense, self.norm, self.output):
            rows = rows if part is None else part(rows)
        return rows.float()


class SequenceHead(nn.Module):
    """One row of logits a sequence."""

    def __init__(self, pooling: Pooling, labels: LabelHead) -> None:
        super().__init__()
        self._pooling = pooling
        self.labels = labels

    def forward(self, hidden: Tensor, packing: Packing) -> Tensor:
        """[sequences, labels] in float32."""
        return self.labels(pool(hidden, packing, self._pooling))  # type: ignore[no-any-return]


class TokenHead(nn.Module):
    """The likeliest label of each token."""

    def __init__(self, labels: LabelHead) -> None:
        super().__init__()
        self.labels = labels

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Label ids in int32 and their probabilities in float32, each [rows]."""
        scores, ids = self.labels(hidden).softmax(dim=-1).max(dim=-1)
        return ids.to(torch.int32), scores


class LanguageHead(nn.Module):
    """How likely each token of the vocabulary is to come next."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self._cap = config.logit_cap
        self.output = Linear(config.hidden_size, config.vocabulary_size, bias=config.head_bias)

    def forward(self, rows: Tensor) -> Tensor:
        """Of [rows, hidden size] make logits, [rows, vocabulary size] in float32."""
        logits: Tensor = self.output(rows).float()
        return logits if self._cap is None else torch.tanh(logits / self._cap) * self._cap
