"""Gemma, Gemma 2 and the text half of Gemma 3.

Which layers see a window only, and by what the scores are scaled, stands in no file: both are llama.cpp's own knowledge
of these models, as it is written down here.
"""

from loquor_worker.importing.gguf.architectures import LLAMA_STEMS, Architecture, Configuration
from loquor_worker.importing.gguf.architectures.decoder import Settings, configure, demand_whole_rotation
from loquor_worker.importing.gguf.architectures.rotary import scaling
from loquor_worker.importing.gguf.header import Header

# Their largest models, known by the number of layers, scale by the width for a head instead of the head's own.
_GEMMA2_27B_LAYERS, _GEMMA3_27B_LAYERS = 46, 62
# One layer of so many sees everything.
_GEMMA2_PATTERN, _GEMMA3_PATTERN = 2, 6
_GEMMA3_LOCAL_BASE = 10_000.0

_STEMS_2 = {
    **LLAMA_STEMS,
    "blk.{layer}.post_attention_norm": "model.layers.{layer}.post_attention_layernorm",
    "blk.{layer}.ffn_norm": "model.layers.{layer}.pre_feedforward_layernorm",
    "blk.{layer}.post_ffw_norm": "model.layers.{layer}.post_feedforward_layernorm",
}


def _configure(settings: Settings, model_type: str, architecture: str) -> Configuration:
    config = configure(settings, model_type, architecture)
    demand_whole_rotation(settings)
    if stretch := scaling(settings):
        config["rope_scaling"] = stretch
    return config | {
        "head_dim": settings.head_size,
        "hidden_act": "gelu_pytorch_tanh",
        "hidden_activation": "gelu_pytorch_tanh",
        "attention_bias": False,
    }


def _configure_gemma(header: Header) -> Configuration:
    return _configure(Settings(header), "gemma", "GemmaForCausalLM")


def _windows(settings: Settings, pattern: int, largest: int) -> Configuration:
    """The window, the layers that have it, and the scale of the scores."""
    layers = settings.layers
    scaled_by = settings.hidden // settings.heads if layers == largest else settings.head_size
    kinds = ["sliding_attention" if (layer + 1) % pattern else "full_attention" for layer in range(layers)]
    settings.demand("attention.sliding_window_pattern", pattern)
    return {
        "sliding_window": settings.integer("attention.sliding_window", 4096 if pattern == _GEMMA2_PATTERN else None),
        "layer_types": kinds,
        "query_pre_attn_scalar": scaled_by,
    }


def _configure_gemma2(header: Header) -> Configuration:
    settings = Settings(header)
    config = _configure(settings, "gemma2", "Gemma2ForCausalLM")
    return config | _windows(settings, _GEMMA2_PATTERN, _GEMMA2_27B_LAYERS) | {
        "attn_logit_softcapping": settings.number("attn_logit_softcapping", 50.0),
        "final_logit_softcapping": settings.number("final_logit_softcapping", 30.0),
    }  # fmt: skip


def _configure_gemma3(header: Header) -> Configuration:
    settings = Settings(header)
    config = _configure(settings, "gemma3_text", "Gemma3ForCausalLM")
    return config | _windows(settings, _GEMMA3_PATTERN, _GEMMA3_27B_LAYERS) | {
        "rope_local_base_freq": settings.number("rope.freq_base_swa", _GEMMA3_LOCAL_BASE),
    }  # fmt: skip


GEMMA = Architecture(name="gemma", configure=_configure_gemma, stems=LLAMA_STEMS, norms_from_one=True)

GEMMA2 = Architecture(name="gemma2", configure=_configure_gemma2, stems=_STEMS_2, norms_from_one=True)

GEMMA3 = Architecture(
    name="gemma3",
    configure=_configure_gemma3,
    stems={
        **_STEMS_2,
        "blk.{layer}.attn_q_norm": "model.layers.{layer}.self_attn.q_norm",
        "blk.{layer}.attn_k_norm": "model.layers.{layer}.self_attn.k_norm",
    },
    norms_from_one=True,
)
