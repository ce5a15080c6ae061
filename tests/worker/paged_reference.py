"""What a flash kernel with block tables gives, written out: the contract of PyTorch's `varlen_attn`, on any device."""

from typing import Any

import torch
from torch import Tensor


def varlen(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    cu_seq_q: Tensor,
    cu_seq_k: Tensor | None,
    max_q: int,
    max_k: int,
    **options: Any,
) -> Tensor:
    """Sequences one by one. Whatever is behind a sequence's last token, in its pages or its table, is not read."""
    group = query.shape[1] // key.shape[2]
    assert options["enable_gqa"] == (group > 1)
    window, after = options["window_size"]
    assert after == 0
    out = torch.empty_like(query)
    for place, total in enumerate(options["seqused_k"].tolist()):
        first, last = cu_seq_q[place : place + 2].tolist()
        assert last - first <= max_q
        assert total <= max_k
        pages = options["block_table"][place, : -(-total // key.shape[1])].long()
        k, v = (x[pages].flatten(0, 1)[:total].repeat_interleave(group, 1).float() for x in (key, value))
        scores = torch.einsum("nhd,shd->hns", query[first:last].float(), k) * options["scale"]
        rows = torch.arange(total - (last - first), total).unsqueeze(1)
        columns = torch.arange(total)
        seen = (columns <= rows) & (columns >= rows - (total if window == -1 else window))
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        out[first:last] = torch.einsum("hns,shd->nhd", weights, v).to(out.dtype)
    return out
