"""GPT-2: learned positions, a norm before each branch, weights that lie [inputs, outputs]."""

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.families import Family, Stems
from loquor_worker.models.json_file import JsonFile

STEMS: Stems = {
    "embeddings.tokens": "wte",
    "embeddings.positions": "wpe",
    "layers.{layer}.attention.qkv": "h.{layer}.attn.c_attn",
    "layers.{layer}.attention.output": "h.{layer}.attn.c_proj",
    "layers.{layer}.attention_norm": "h.{layer}.ln_1",
    "layers.{layer}.mlp.up": "h.{layer}.mlp.c_fc",
    "layers.{layer}.mlp.down": "h.{layer}.mlp.c_proj",
    "layers.{layer}.mlp_norm": "h.{layer}.ln_2",
    "final_norm": "ln_f",
}


def configure(config: JsonFile) -> ModelConfig:
    config.demand("scale_attn_by_inverse_layer_idx", False, False)
    config.demand("add_cross_attention", False, False)
    hidden, rows = config.integer("n_embd", 768), config.integer("n_positions", 1024)
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size", 50257),
        hidden_size=hidden,
        layers=config.integer("n_layer", 12),
        heads=config.integer("n_head", 12),
        intermediate_size=config.integer("n_inner", 4 * hidden),
        activation=config.text("activation_function", "gelu_new"),
        gated=False,
        norm_epsilon=config.number("layer_norm_epsilon", 1e-5),
        norm_place=NormPlace.BEFORE,
        norm_bias=True,
        embedding_norm=False,
        attention_bias=True,
        mlp_bias=True,
        max_positions=rows,
        position_rows=rows,
        causal=True,
        score_factor=None if config.flag("scale_attn_weights", True) else 1.0,
        tied_head=config.flag("tie_word_embeddings", True),
    )


GPT2 = Family(
    model_types=("gpt2",),
    prefix="transformer.",
    configure=configure,
    stems=STEMS,
    turned=(
        "layers.{layer}.attention.qkv",
        "layers.{layer}.attention.output",
        "layers.{layer}.mlp.up",
        "layers.{layer}.mlp.down",
    ),
)
