"""Gemma, Gemma 2 and the text model of Gemma 3: Llama's names, scaled embeddings, norms whose weights start at one.

Gemma 2 put norms around the branches and bounds on scores and logits; Gemma 3 norms of queries and keys in place of
the bounds.
"""

from dataclasses import replace

from loquor_worker.models.config import ModelConfig, NormKind, NormPlace
from loquor_worker.models.families import Family, Stems, llama
from loquor_worker.models.families.layer_kinds import GLOBAL, LOCAL, layer_kinds, window_tokens, windows
from loquor_worker.models.families.rope_values import read_rope, rope_values
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.rope import Rope

GEMMA2_STEMS: Stems = {
    **llama.STEMS,
    "layers.{layer}.attention_output_norm": "layers.{layer}.post_attention_layernorm",
    "layers.{layer}.mlp_norm": "layers.{layer}.pre_feedforward_layernorm",
    "layers.{layer}.mlp_output_norm": "layers.{layer}.post_feedforward_layernorm",
}
GEMMA3_STEMS: Stems = {
    **GEMMA2_STEMS,
    "layers.{layer}.attention.query_norm": "layers.{layer}.self_attn.q_norm",
    "layers.{layer}.attention.key_norm": "layers.{layer}.self_attn.k_norm",
}
TANH_GELU = "gelu_pytorch_tanh"


def configure(config: JsonFile) -> ModelConfig:
    config.demand("use_bidirectional_attention", False, False)
    model = llama.configure(config)
    activation = config.text("hidden_activation", config.text("hidden_act", TANH_GELU))
    return replace(
        model,
        # The first files say `gelu` and mean its approximation.
        activation=TANH_GELU if activation == "gelu" else activation,
        norm_kind=NormKind.ROOT_MEAN_SQUARE_PLUS_ONE,
        embedding_factor=model.hidden_size**0.5,
        tied_head=config.flag("tie_word_embeddings", True),
    )


def configure_gemma2(config: JsonFile) -> ModelConfig:
    """Every second layer has a window, from the first on."""
    model = configure(config)
    return replace(
        model,
        norm_place=NormPlace.AROUND,
        score_factor=config.number("query_pre_attn_scalar", 256) ** -0.5,
        score_cap=_bound(config, "attn_logit_softcapping"),
        logit_cap=_bound(config, "final_logit_softcapping"),
        windows=windows(_kinds(config, model.layers, every=2), window_tokens(config, 4096)),
    )


def configure_gemma3(config: JsonFile) -> ModelConfig:
    """All layers but every sixth have a window, and a rope of their own."""
    model = configure_gemma2(config)
    kinds = _kinds(config, model.layers, every=config.integer("sliding_window_pattern", 6))
    ropes = {
        GLOBAL: read_rope(config, model.head_size, base=1_000_000.0, kind=GLOBAL),
        LOCAL: _local_rope(config, model.head_size),
    }
    return replace(
        model,
        query_key_norm=True,
        score_cap=None,
        windows=windows(kinds, window_tokens(config, 4096)),
        ropes=tuple(ropes[kind] for kind in kinds),
    )


def _kinds(config: JsonFile, layers: int, *, every: int) -> list[str]:
    return layer_kinds(config, layers, lambda layer: (layer + 1) % every != 0)


def _bound(config: JsonFile, key: str) -> float | None:
    return config.number(key) if config.has(key) else None


def _local_rope(config: JsonFile, head_size: int) -> Rope:
    """Older files name its base only: what stretches the other rope does not stretch this one."""
    if rope_values(config).has(LOCAL):
        return read_rope(config, head_size, kind=LOCAL)
    return Rope(config.number("rope_local_base_freq", 10_000.0), head_size)


GEMMA = Family(model_types=("gemma",), prefix="model.", configure=configure, stems=llama.STEMS)
GEMMA2 = Family(model_types=("gemma2",), prefix="model.", configure=configure_gemma2, stems=GEMMA2_STEMS)
GEMMA3 = Family(model_types=("gemma3_text",), prefix="model.", configure=configure_gemma3, stems=GEMMA3_STEMS)
