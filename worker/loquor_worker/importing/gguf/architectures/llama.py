"""Llama, and what is one to llama.cpp: Mistral, SmolLM and many others."""

from loquor_worker.importing.gguf.architectures import LLAMA_STEMS, Architecture, Configuration
from loquor_worker.importing.gguf.architectures.decoder import Settings, configure, demand_whole_rotation
from loquor_worker.importing.gguf.architectures.rotary import LLAMA3_FACTORS, llama3_scaling, scaling
from loquor_worker.importing.gguf.header import Header


def _configure(header: Header) -> Configuration:
    settings = Settings(header)
    config = configure(settings, "llama", "LlamaForCausalLM")
    demand_whole_rotation(settings)
    if LLAMA3_FACTORS in header.tensors:
        config["rope_scaling"] = llama3_scaling(settings, config["rope_theta"])
    elif stretch := scaling(settings):
        config["rope_scaling"] = stretch
    return config | {
        "head_dim": settings.head_size,
        "attention_bias": settings.any_tensor(".attn_q.bias"),
        "mlp_bias": settings.any_tensor(".ffn_up.bias"),
    }


LLAMA = Architecture(
    name="llama",
    configure=_configure,
    stems=LLAMA_STEMS,
    rotary_rows={"blk.{layer}.attn_q": "num_attention_heads", "blk.{layer}.attn_k": "num_key_value_heads"},
    settings=frozenset({LLAMA3_FACTORS}),
)
