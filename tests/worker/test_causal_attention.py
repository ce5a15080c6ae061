"""Each row sees itself and those before it, as by the definition, one sequence at a time."""

import pytest
import torch
from torch import Tensor

from loquor_worker.models.causal_attention import CausalAttention
from loquor_worker.models.packing import Packing
from loquor_worker.models.scoring import Scoring

LENGTHS = (1, 1, 3, 5, 5, 30)
HEADS, KV_HEADS, SIZE = 4, 2, 8
SCALE = 0.3


def plain(query: Tensor, key: Tensor, value: Tensor, window: int | None, cap: float | None) -> Tensor:
    """One sequence, [rows, heads, size]."""
    key, value = (x.repeat_interleave(HEADS // KV_HEADS, dim=1) for x in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * SCALE
    if cap is not None:
        scores = cap * torch.tanh(scores / cap)
    for row in range(len(query)):
        scores[:, row, row + 1 :] = float("-inf")
        if window is not None:
            scores[:, row, : max(row - window, 0)] = float("-inf")
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)


@pytest.mark.parametrize("lengths", [LENGTHS, (7,), (1,)])
@pytest.mark.parametrize("cap", [None, 0.5])
@pytest.mark.parametrize("window", [None, 1, 4])
def test_equals_the_definition(window: int | None, cap: float | None, lengths: tuple[int, ...]) -> None:
    torch.manual_seed(2)
    packing = Packing(lengths)
    heads = torch.randn(packing.total, HEADS + 2 * KV_HEADS, SIZE)
    query, key, value = heads.split_with_sizes((HEADS, KV_HEADS, KV_HEADS), 1)
    attend = CausalAttention(packing, query.device, Scoring(SCALE, cap))
    out = attend(query, key, value, layer=0, window=window, bias=None)
    split = zip(*(torch.split(x, list(lengths)) for x in (query, key, value)), strict=True)
    expected = torch.cat([plain(q, k, v, window, cap) for q, k, v in split])
    assert out.shape == expected.shape
    assert (out - expected).abs().max() < 1e-6


def test_a_bias_is_refused() -> None:
    rows = torch.zeros(2, HEADS, SIZE)
    attend = CausalAttention(Packing((2,)), rows.device, Scoring(SCALE))
    with pytest.raises(ValueError, match="bias"):
        attend(rows, rows, rows, layer=0, window=None, bias=torch.zeros(HEADS, 2, 2))
