"""The keys and values of all layers, in blocks of a few tokens. Which block belongs to whom, the block pool knows.

It knows no sequence and no attention.
"""

import math

import numpy as np
import torch
from torch import Tensor

from loquor_worker.models.config import ModelConfig


class KvCache:
    """For each layer, keys and values, [slots, kv heads, head size]; block b has the slots from b * `block_tokens` on.

    `blocks` are there to be handed out; one more, `spare_block`, belongs to nobody and takes what nobody reads.
    Zeroed when made, so that no score of a slot that nobody has written is ever out of range.
    """

    def __init__(
        self, config: ModelConfig, blocks: int, block_tokens: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.blocks = blocks
        self.block_tokens = block_tokens
        shape = (config.layers, (blocks + 1) * block_tokens, config.kv_heads, config.head_size)
        self._keys = _zeros(shape, dtype, device)
        self._values = _zeros(shape, dtype, device)
        self._by_layer = list(zip(self._keys.unbind(), self._values.unbind(), strict=True))

    @property
    def spare_block(self) -> int:
        return self.blocks

    def layer(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one layer, each [slots, kv heads, head size]."""
        return self._by_layer[layer]

    def stretch(self, block: int, tokens: int) -> list[tuple[Tensor, Tensor]]:
        """Of every layer, views of the keys and values of so many tokens from a block on: [1, heads, tokens, size]."""
        slots = slice(block * self.block_tokens, block * self.block_tokens + tokens)
        keys, values = (whole[:, slots].transpose(1, 2).unsqueeze(1).unbind() for whole in (self._keys, self._values))
        return list(zip(keys, values, strict=True))

    def store(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Write rows, each [rows, kv heads, head size], into their slots [rows]."""
        cached_keys, cached_values = self._by_layer[layer]
        cached_keys.index_copy_(0, slots, keys)
        cached_values.index_copy_(0, slots, values)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """On the CPU by NumPy, whose zeros take no memory until they are written to."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.from_numpy(np.zeros(math.prod(shape) * dtype.itemsize, dtype=np.uint8)).view(dtype).view(shape)


def bytes_per_block(config: ModelConfig, block_tokens: int, dtype: torch.dtype) -> int:
    """What a block takes in all layers together."""
    return 2 * config.layers * block_tokens * config.kv_heads * config.head_size * dtype.itemsize
