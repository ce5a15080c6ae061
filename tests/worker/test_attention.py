"""Every kernel gives what plain attention gives, one sequence at a time."""

from functools import partial

import pytest
import torch
from torch import Tensor

from loquor_worker.models.attention import Attention, GroupedAttention, PaddedAttention, VarlenAttention
from loquor_worker.models.packing import Packing

LENGTHS = (1, 1, 3, 5, 5, 5, 9, 30, 31, 90)
HEADS, HEAD_SIZE = 3, 8


def plain(query: Tensor, key: Tensor, value: Tensor, window: int | None, bias: Tensor | None) -> Tensor:
    """One sequence, [rows, heads, head size], by the definition."""
    scores = torch.einsum("qhd,khd->hqk", query, key) / HEAD_SIZE**0.5
    length = len(query)
    if bias is not None:
        scores = scores + bias[:, :length, :length]
    if window is not None:
        places = torch.arange(length)
        far = (places.unsqueeze(0) - places.unsqueeze(1)).abs() > window
        scores = scores.masked_fill(far, float("-inf"))
    return torch.einsum("hqk,khd->qhd", scores.softmax(dim=-1), value)


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    query_offsets: Tensor,
    key_offsets: Tensor,
    longest_query: int,
    longest_key: int,
    *,
    window_size: tuple[int, int] = (-1, -1),
) -> Tensor:
    """What `varlen_attn` promises, by the definition: it runs on CUDA alone."""
    assert query_offsets.dtype is torch.int32
    assert query_offsets.tolist() == key_offsets.tolist()
    assert longest_query == longest_key == int(query_offsets.diff().max())
    window = None if window_size == (-1, -1) else window_size[0]
    lengths = query_offsets.diff().tolist()
    parts = zip(torch.split(query, lengths), torch.split(key, lengths), torch.split(value, lengths), strict=True)
    return torch.cat([plain(q, k, v, window, None) for q, k, v in parts])


VARLEN = partial(VarlenAttention, varlen=varlen)
# No family has both a window and a bias, and the varlen kernel takes no bias.
CASES = [
    *(
        (attention, window, False)
        for attention in (GroupedAttention, PaddedAttention, VARLEN)
        for window in (None, 2, 40)
    ),
    *((attention, None, True) for attention in (GroupedAttention, PaddedAttention)),
]


@pytest.mark.parametrize("lengths", [LENGTHS, (7,), (1,)])
@pytest.mark.parametrize(("attention", "window", "with_bias"), CASES)
def test_equals_plain_attention(
    attention: Attention, window: int | None, with_bias: bool, lengths: tuple[int, ...]
) -> None:
    torch.manual_seed(2)
    packing = Packing(lengths)
    query, key, value = torch.randn(packing.total, 3, HEADS, HEAD_SIZE).unbind(1)
    bias = torch.randn(HEADS, packing.longest, packing.longest) if with_bias else None
    out = attention(packing, query.device)(query, key, value, layer=0, window=window, bias=bias)
    split = zip(*(torch.split(x, list(lengths)) for x in (query, key, value)), strict=True)
    expected = torch.cat([plain(q, k, v, window, bias) for q, k, v in split])
    assert out.shape == expected.shape
    assert (out - expected).abs().max() < 1e-6


def test_varlen_refuses_a_bias() -> None:
    packing = Packing((2,))
    rows = torch.zeros(2, HEADS, HEAD_SIZE)
    with pytest.raises(ValueError, match="bias"):
        VarlenAttention(packing, rows.device, varlen)(rows, rows, rows, window=None, bias=torch.zeros(HEADS, 2, 2))
