"""GPT-2, whose matrices Hugging Face keeps as inputs x outputs."""

from loquor_worker.importing.gguf.architectures import Architecture, Configuration
from loquor_worker.importing.gguf.architectures.decoder import OUTPUT, Settings
from loquor_worker.importing.gguf.header import Header


def _configure(header: Header) -> Configuration:
    settings = Settings(header)
    settings.demand("attention.head_count_kv", settings.heads)
    positions = settings.integer("context_length")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "n_embd": settings.hidden,
        "n_inner": settings.intermediate,
        "n_layer": settings.layers,
        "n_head": settings.heads,
        "n_positions": positions,
        "n_ctx": positions,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": settings.number("attention.layer_norm_epsilon"),
        "vocab_size": settings.vocabulary_size,
        "tie_word_embeddings": OUTPUT not in header.tensors,
        "use_cache": True,
    }


GPT2 = Architecture(
    name="gpt2",
    configure=_configure,
    stems={
        "token_embd": "transformer.wte",
        "position_embd": "transformer.wpe",
        "blk.{layer}.attn_norm": "transformer.h.{layer}.ln_1",
        "blk.{layer}.attn_qkv": "transformer.h.{layer}.attn.c_attn",
        "blk.{layer}.attn_output": "transformer.h.{layer}.attn.c_proj",
        "blk.{layer}.ffn_norm": "transformer.h.{layer}.ln_2",
        "blk.{layer}.ffn_up": "transformer.h.{layer}.mlp.c_fc",
        "blk.{layer}.ffn_down": "transformer.h.{layer}.mlp.c_proj",
        "output_norm": "transformer.ln_f",
        "output": "lm_head",
    },
    transposed=frozenset({f"blk.{{layer}}.{part}" for part in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")}),
)
