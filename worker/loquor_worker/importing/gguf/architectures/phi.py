"""Phi 3 and Phi 4 mini: joined matrices, perhaps with factors for short and for long texts (LongRoPE)."""

import math
from typing import Any

from loquor_worker.importing.gguf.architectures import Architecture, Configuration
from loquor_worker.importing.gguf.architectures.decoder import Settings, configure
from loquor_worker.importing.gguf.header import Header
from loquor_worker.importing.gguf.refusal import refused
from loquor_worker.importing.gguf.values import read_floats

_LONG, _SHORT = "rope_factors_long.weight", "rope_factors_short.weight"


def _configure(header: Header) -> Configuration:
    settings = Settings(header)
    settings.demand("attention.key_length", settings.hidden // settings.heads)
    config = configure(settings, "phi3", "Phi3ForCausalLM")
    rotated = settings.integer("rope.dimension_count", settings.head_size)
    context = settings.integer("rope.scaling.original_context_length", config["max_position_embeddings"])
    return config | {
        "partial_rotary_factor": rotated / settings.head_size,
        "original_max_position_embeddings": context,
        "rope_scaling": _long_rope(settings, rotated, config["max_position_embeddings"] / context, context),
        "sliding_window": settings.integer("attention.sliding_window", 0, least=0) or None,
        "attention_bias": False,
    }


def _long_rope(settings: Settings, rotated: int, stretch: float, context: int) -> dict[str, Any] | None:
    tensors, factor_key = settings.header.tensors, "rope.scaling.attn_factor"
    if _LONG not in tensors and _SHORT not in tensors:
        return None
    expected = math.sqrt(1 + math.log(stretch) / math.log(context)) if stretch > 1 else 1.0
    attention_factor = settings.number(factor_key, expected)
    return {
        "rope_type": "longrope",
        "type": "longrope",
        "short_factor": _factors(settings, _SHORT, rotated),
        "long_factor": _factors(settings, _LONG, rotated),
        **({} if math.isclose(attention_factor, expected, rel_tol=1e-5) else {"attention_factor": attention_factor}),
    }


def _factors(settings: Settings, name: str, rotated: int) -> list[float]:
    info = settings.header.tensors.get(name)
    if info is None or info.elements != rotated // 2:
        raise refused(settings.header.file, f"tensor {name!r}", "missing, or not one factor for each rotated pair")
    return read_floats(settings.header.file, info)


PHI3 = Architecture(
    name="phi3",
    configure=_configure,
    stems={
        "token_embd": "model.embed_tokens",
        "blk.{layer}.attn_norm": "model.layers.{layer}.input_layernorm",
        "blk.{layer}.attn_qkv": "model.layers.{layer}.self_attn.qkv_proj",
        "blk.{layer}.attn_output": "model.layers.{layer}.self_attn.o_proj",
        "blk.{layer}.ffn_norm": "model.layers.{layer}.post_attention_layernorm",
        "blk.{layer}.ffn_up": "model.layers.{layer}.mlp.gate_up_proj",
        "blk.{layer}.ffn_down": "model.layers.{layer}.mlp.down_proj",
        "output_norm": "model.norm",
        "output": "lm_head",
    },
    settings=frozenset({_LONG, _SHORT}),
)
