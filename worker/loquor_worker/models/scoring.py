"""How queries meet keys: scores, softmax, weighted sum. Dense calls only; what a row sees comes as a mask."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, slots=True)
class Scoring:
    """Scores are multiplied by `scale`. A `soft_cap` c bends them to c * tanh(score / c) (Gemma 2, Team Gemma 2024)."""

    scale: float
    soft_cap: float | None = None

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Of query [count, heads, rows, size], key and value [count, kv heads, tokens, size] make the query's shape.

        Each head of key and value serves as many heads of the query, in order, as there are to one of it. `mask` is
        added to the scores; None: every row sees every token.
        """
        if self.soft_cap is not None:
            return self._capped(query, key, value, mask, self.soft_cap)
        grouped = query.shape[1] != key.shape[1]
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, scale=self.scale, enable_gqa=grouped
        )

    def attend_causally(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """As `attend`, with as many tokens as rows, each of which sees those up to its own. Knows no cap."""
        grouped = query.shape[1] != key.shape[1]
        return functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=self.scale, enable_gqa=grouped
        )

    def _capped(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, cap: float) -> Tensor:
        count, heads, rows, size = query.shape
        grouped = query.view(count, key.shape[1], -1, rows, size)
        scores = torch.matmul(grouped, key.unsqueeze(2).transpose(-1, -2)).float() * self.scale
        scores = torch.tanh(scores / cap) * cap
        if mask is not None:
            scores += mask.unsqueeze(1) if mask.dim() == 4 else mask
        weights = torch.softmax(scores, dim=-1).to(value.dtype)
        return torch.matmul(weights, value.unsqueeze(2)).view(count, heads, rows, size)
