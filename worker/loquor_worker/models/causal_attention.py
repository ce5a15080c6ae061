"""Attention of packed sequences that are whole, each row to itself and those before it in its sequence.

It keeps no key and no value: it is for what reads texts, as when a text's probability is asked for.
"""

import torch
from torch import Tensor

from loquor_worker.models.attention import dense
from loquor_worker.models.packing import Packing, Run
from loquor_worker.models.scoring import Scoring


class CausalAttention:
    """One dense call for each run of sequences of one length."""

    def __init__(self, packing: Packing, device: torch.device, scoring: Scoring) -> None:
        self._runs = packing.runs
        self._scoring = scoring

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, layer: int, window: int | None, bias: Tensor | None
    ) -> Tensor:
        if bias is not None:
            raise ValueError("causal attention takes no bias")
        parts = [self._attend(run, query, key, value, window) for run in self._runs]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _attend(self, run: Run, query: Tensor, key: Tensor, value: Tensor, window: int | None) -> Tensor:
        q, k, v = (dense(rows, run) for rows in (query, key, value))
        near = window is None or run.length <= window + 1
        if near and self._scoring.soft_cap is None:
            out = self._scoring.attend_causally(q, k, v)
        else:
            out = self._scoring.attend(q, k, v, causal_mask(run.length, window, q))
        return out.transpose(1, 2).flatten(0, 1)


def causal_mask(length: int, window: int | None, like: Tensor) -> Tensor:
    """What is added to the scores, [length, length]: nothing where a row sees a token, else minus infinity."""
    places = torch.arange(length, device=like.device)
    distance = places.unsqueeze(1) - places
    hidden = (distance < 0) if window is None else (distance < 0) | (distance > window)
    return torch.zeros(length, length, dtype=like.dtype, device=like.device).masked_fill_(hidden, float("-inf"))
