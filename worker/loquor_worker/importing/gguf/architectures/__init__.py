"""Architectures: each a table that maps a GGUF file's settings and tensors onto Hugging Face's `config.json` and names.

A stem is a tensor's name without `.weight` and `.bias`; `{layer}` stands for the number of the layer.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from loquor_worker.importing.gguf.header import Header
from loquor_worker.importing.gguf.metadata import Metadata

Stems = Mapping[str, str]
Configuration = dict[str, Any]

# What is said of most decoders in the same way. The second names are Hugging Face's.
LLAMA_STEMS: Stems = {
    "token_embd": "model.embed_tokens",
    "blk.{layer}.attn_norm": "model.layers.{layer}.input_layernorm",
    "blk.{layer}.attn_q": "model.layers.{layer}.self_attn.q_proj",
    "blk.{layer}.attn_k": "model.layers.{layer}.self_attn.k_proj",
    "blk.{layer}.attn_v": "model.layers.{layer}.self_attn.v_proj",
    "blk.{layer}.attn_output": "model.layers.{layer}.self_attn.o_proj",
    "blk.{layer}.ffn_norm": "model.layers.{layer}.post_attention_layernorm",
    "blk.{layer}.ffn_gate": "model.layers.{layer}.mlp.gate_proj",
    "blk.{layer}.ffn_up": "model.layers.{layer}.mlp.up_proj",
    "blk.{layer}.ffn_down": "model.layers.{layer}.mlp.down_proj",
    "output_norm": "model.norm",
    "output": "lm_head",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """One table. `name` is the value of `general.architecture` and the beginning of the keys of its settings."""

    name: str
    configure: Callable[[Header], Configuration]
    stems: Stems
    # Matrices whose rows llama.cpp puts into another order for its rotary positions, and the key of their heads.
    rotary_rows: Mapping[str, str] = field(default_factory=dict)
    # Matrices that Hugging Face keeps as inputs x outputs.
    transposed: frozenset[str] = frozenset()
    # llama.cpp multiplies by the weight of a norm, Hugging Face's model by one more than it.
    norms_from_one: bool = False
    # Tensors that became part of the configuration.
    settings: frozenset[str] = frozenset()


def key_of(metadata: Metadata, name: str) -> str:
    """The key of one of the architecture's own settings."""
    return f"{metadata.text('general.architecture')}.{name}"
