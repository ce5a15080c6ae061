"""Qwen 2 and 2.5, and Qwen 3 with its norms of queries and keys."""

from loquor_worker.importing.gguf.architectures import LLAMA_STEMS, Architecture, Configuration
from loquor_worker.importing.gguf.architectures.decoder import Settings, configure, demand_whole_rotation
from loquor_worker.importing.gguf.architectures.rotary import scaling
from loquor_worker.importing.gguf.header import Header


def _configure(settings: Settings, model_type: str, architecture: str) -> Configuration:
    config = configure(settings, model_type, architecture)
    demand_whole_rotation(settings)
    if stretch := scaling(settings):
        config["rope_scaling"] = stretch
    return config | {"use_sliding_window": False}


def _configure_qwen2(header: Header) -> Configuration:
    settings = Settings(header)
    settings.demand("attention.key_length", settings.hidden // settings.heads)
    return _configure(settings, "qwen2", "Qwen2ForCausalLM")


def _configure_qwen3(header: Header) -> Configuration:
    settings = Settings(header)
    config = _configure(settings, "qwen3", "Qwen3ForCausalLM")
    return config | {"head_dim": settings.head_size, "attention_bias": settings.any_tensor(".attn_q.bias")}


QWEN2 = Architecture(name="qwen2", configure=_configure_qwen2, stems=LLAMA_STEMS)

QWEN3 = Architecture(
    name="qwen3",
    configure=_configure_qwen3,
    stems={
        **LLAMA_STEMS,
        "blk.{layer}.attn_q_norm": "model.layers.{layer}.self_attn.q_norm",
        "blk.{layer}.attn_k_norm": "model.layers.{layer}.self_attn.k_norm",
    },
)
