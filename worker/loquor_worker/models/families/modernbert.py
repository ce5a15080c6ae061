"""ModernBERT: rotary positions, most layers see a window only, gated feed-forward, a norm before each branch."""

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.families import Family, HeadTable, Stems
from loquor_worker.models.families.layer_kinds import GLOBAL, LOCAL, layer_kinds
from loquor_worker.models.json_file import JsonFile
from loquor_worker.models.pooling import Pooling
from loquor_worker.models.rope import Rope

# The key of older files and the default.
BASES = {GLOBAL: ("global_rope_theta", 160_000.0), LOCAL: ("local_rope_theta", 10_000.0)}

STEMS: Stems = {
    "embeddings.tokens": "embeddings.tok_embeddings",
    "embeddings.norm": "embeddings.norm",
    "layers.{layer}.attention.qkv": "layers.{layer}.attn.Wqkv",
    "layers.{layer}.attention.output": "layers.{layer}.attn.Wo",
    "layers.{layer}.attention_norm": "layers.{layer}.attn_norm",
    "layers.{layer}.mlp.up": "layers.{layer}.mlp.Wi",
    "layers.{layer}.mlp.down": "layers.{layer}.mlp.Wo",
    "layers.{layer}.mlp_norm": "layers.{layer}.mlp_norm",
    "final_norm": "final_norm",
}


def configure(config: JsonFile) -> ModelConfig:
    # Older files say how often a layer is global, newer ones name each layer's kind.
    every = config.integer("global_attn_every_n_layers", 3)
    kinds = layer_kinds(config, config.integer("num_hidden_layers"), lambda layer: layer % every != 0)
    hidden, heads = config.integer("hidden_size"), config.integer("num_attention_heads")
    ropes = {kind: Rope(_base(config, kind), hidden // heads) for kind in (GLOBAL, LOCAL)}
    windows = {GLOBAL: None, LOCAL: config.integer("local_attention", 128) // 2}
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size"),
        hidden_size=hidden,
        layers=len(kinds),
        heads=heads,
        intermediate_size=config.integer("intermediate_size"),
        activation=config.text("hidden_activation", "gelu"),
        gated=True,
        norm_epsilon=config.number("norm_eps", 1e-5),
        norm_place=NormPlace.BEFORE,
        norm_bias=config.flag("norm_bias", False),
        attention_bias=config.flag("attention_bias", False),
        mlp_bias=config.flag("mlp_bias", False),
        max_positions=config.integer("max_position_embeddings", 8192),
        ropes=tuple(ropes[kind] for kind in kinds),
        windows=tuple(windows[kind] for kind in kinds),
        norm_before_first_layer=False,
    )


def _base(config: JsonFile, kind: str) -> float:
    old_key, default = BASES[kind]
    rope = config.child("rope_parameters").child(kind)
    rope.demand("rope_type", "default", "default")
    return rope.number("rope_theta", config.number(old_key, default))


def _head(config: JsonFile) -> HeadTable:
    return HeadTable(
        dense="head.dense",
        dense_bias=config.flag("classifier_bias", False),
        activation=config.text("classifier_activation", "gelu"),
        norm="head.norm",
        output="classifier",
        pooling=Pooling(config.one_of("classifier_pooling", (Pooling.CLS.value, Pooling.MEAN.value), "cls")),
    )


MODERNBERT = Family(
    model_types=("modernbert",),
    prefix="model.",
    configure=configure,
    stems=STEMS,
    sequence_head=_head,
    token_head=_head,
)
