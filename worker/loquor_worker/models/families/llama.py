"""Llama, and its kin Mistral and SmolLM3: grouped heads, rotary positions, a gated feed-forward."""

from dataclasses import replace

from loquor_worker.models.config import ModelConfig, NormKind, NormPlace
from loquor_worker.models.families import Family, Stems
from loquor_worker.models.families.layer_kinds import layer_kinds, window_tokens, windows
from loquor_worker.models.families.rope_values import read_rope, served_positions
from loquor_worker.models.json_file import JsonFile

STEMS: Stems = {
    "embeddings.tokens": "embed_tokens",
    "layers.{layer}.attention.qkv": (
        "layers.{layer}.self_attn.q_proj",
        "layers.{layer}.self_attn.k_proj",
        "layers.{layer}.self_attn.v_proj",
    ),
    "layers.{layer}.attention.output": "layers.{layer}.self_attn.o_proj",
    "layers.{layer}.attention_norm": "layers.{layer}.input_layernorm",
    "layers.{layer}.mlp.up": ("layers.{layer}.mlp.gate_proj", "layers.{layer}.mlp.up_proj"),
    "layers.{layer}.mlp.down": "layers.{layer}.mlp.down_proj",
    "layers.{layer}.mlp_norm": "layers.{layer}.post_attention_layernorm",
    "final_norm": "norm",
}


def configure(config: JsonFile) -> ModelConfig:
    config.demand("rope_interleaved", False, False)
    refuse_quantised(config)
    heads, head_size = config.integer("num_attention_heads"), head_width(config)
    layers = config.integer("num_hidden_layers")
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        layers=layers,
        heads=heads,
        key_value_heads=key_value_heads(config, heads),
        head_width=head_size,
        intermediate_size=config.integer("intermediate_size"),
        activation=config.text("hidden_act", "silu"),
        gated=True,
        norm_epsilon=config.number("rms_norm_eps", 1e-6),
        norm_place=NormPlace.BEFORE,
        norm_kind=NormKind.ROOT_MEAN_SQUARE,
        norm_bias=False,
        embedding_norm=False,
        attention_bias=config.flag("attention_bias", False),
        mlp_bias=config.flag("mlp_bias", False),
        max_positions=served_positions(config),
        ropes=(read_rope(config, head_size),) * layers,
        causal=True,
        tied_head=config.flag("tie_word_embeddings", False),
    )


def refuse_quantised(config: JsonFile) -> None:
    if config.has("quantization_config"):
        raise config.refuse("quantization_config", "quantised weights are not read, only whole ones")


def head_width(config: JsonFile) -> int:
    """The hidden size shared between the heads where the file does not say."""
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    if not config.has("head_dim") and hidden % heads:
        raise config.refuse("num_attention_heads", f"{heads} heads cannot share {hidden} elements")
    return config.integer("head_dim", hidden // heads)


def key_value_heads(config: JsonFile, heads: int) -> int:
    """As many as the queries' where the file does not say."""
    groups = config.integer("num_key_value_heads", heads)
    if not 0 < groups <= heads or heads % groups:
        raise config.refuse("num_key_value_heads", f"{heads} heads cannot share {groups}")
    return groups


def configure_mistral(config: JsonFile) -> ModelConfig:
    """All layers have the same window. `null` is none."""
    model = configure(config)
    if not config.has("sliding_window"):
        return model
    return replace(model, windows=(window_tokens(config) - 1,) * model.layers)


def configure_smollm3(config: JsonFile) -> ModelConfig:
    """Some layers know no position."""
    model = configure(config)
    turning = _turning_layers(config, model.layers)
    tokens = window_tokens(config) if config.flag("use_sliding_window", False) else None
    kinds = layer_kinds(config, model.layers, lambda layer: not turning[layer])
    rope = read_rope(config, model.head_size, base=2_000_000.0)
    return replace(
        model,
        ropes=tuple(rope if turns else None for turns in turning),
        windows=windows(kinds, tokens),
        tied_head=config.flag("tie_word_embeddings", True),
    )


def _turning_layers(config: JsonFile, layers: int) -> list[bool]:
    """The list has 1 for a layer with positions, in spite of its name; without it every so many layers one has none."""
    if not config.has("no_rope_layers"):
        every = config.integer("no_rope_layer_interval", 4)
        return [(layer + 1) % every != 0 for layer in range(layers)]
    marks = config.items("no_rope_layers")
    if len(marks) < layers or not all(mark in (0, 1) for mark in marks):
        raise config.refuse("no_rope_layers", f"{layers} values of 0 or 1 were expected")
    return [bool(mark) for mark in marks[:layers]]


LLAMA = Family(model_types=("llama",), prefix="model.", configure=configure, stems=STEMS)
MISTRAL = Family(model_types=("mistral",), prefix="model.", configure=configure_mistral, stems=STEMS)
SMOLLM3 = Family(model_types=("smollm3",), prefix="model.", configure=configure_smollm3, stems=STEMS)
