"""Which attention a model gets on a device, chosen once when it is loaded.

It knows what each kernel can do; it knows no packing.
"""

import inspect
from functools import partial
from typing import cast

import torch

from loquor_worker.models.attention import Attention, GroupedAttention, PaddedAttention, Varlen, VarlenAttention
from loquor_worker.models.causal_attention import CausalAttention
from loquor_worker.models.config import ModelConfig
from loquor_worker.models.scoring import Scoring

# What flash attention takes.
FLASH_DTYPES = (torch.float16, torch.bfloat16)
FLASH_HEAD_SIZES = range(8, 257, 8)


def choose_attention(config: ModelConfig, device: torch.device, dtype: torch.dtype) -> Attention:
    """Runs of one length on the CPU; on CUDA one varlen call where this torch, the type and the model allow it.

    All of them take a `Packing`.
    """
    if config.causal:
        return partial(CausalAttention, scoring=scoring_of(config))
    if device.type != "cuda":
        return GroupedAttention
    varlen = find_varlen()
    if varlen is None or not flash_can(config, dtype, varlen):
        return PaddedAttention
    return partial(VarlenAttention, varlen=varlen)


def scoring_of(config: ModelConfig) -> Scoring:
    return Scoring(config.score_scale, config.score_cap)


def find_varlen() -> Varlen | None:
    """The public function of newer torch (2.10 and up), or None."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return cast(Varlen, varlen_attn)


def flash_can(config: ModelConfig, dtype: torch.dtype, varlen: Varlen) -> bool:
    if dtype not in FLASH_DTYPES or config.head_size not in FLASH_HEAD_SIZES or config.relative_bias is not None:
        return False
    has_window = "window_size" in inspect.signature(varlen).parameters
    return has_window or all(config.window(layer) is None for layer in range(config.layers))
