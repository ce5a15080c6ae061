"""MPNet: learned positions and a bias on distances that all layers share."""

from loquor_worker.models.config import ModelConfig, NormPlace, RelativeBias
from loquor_worker.models.families import Family, Stems, bert, roberta
from loquor_worker.models.json_file import JsonFile

# Positions start behind the padding id, which is 1 whatever `config.json` says.
FIRST_POSITION = 2
BUCKETS = 32
MAX_DISTANCE = 128

STEMS: Stems = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "relative_bias.table": "encoder.relative_attention_bias",
    "layers.{layer}.attention.qkv": (
        "encoder.layer.{layer}.attention.attn.q",
        "encoder.layer.{layer}.attention.attn.k",
        "encoder.layer.{layer}.attention.attn.v",
    ),
    "layers.{layer}.attention.output": "encoder.layer.{layer}.attention.attn.o",
    "layers.{layer}.attention_norm": "encoder.layer.{layer}.attention.LayerNorm",
    "layers.{layer}.mlp.up": "encoder.layer.{layer}.intermediate.dense",
    "layers.{layer}.mlp.down": "encoder.layer.{layer}.output.dense",
    "layers.{layer}.mlp_norm": "encoder.layer.{layer}.output.LayerNorm",
}


def configure(config: JsonFile) -> ModelConfig:
    config.demand("relative_attention_num_buckets", BUCKETS, BUCKETS)
    rows = config.integer("max_position_embeddings", 512)
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        layers=config.integer("num_hidden_layers"),
        heads=config.integer("num_attention_heads"),
        intermediate_size=config.integer("intermediate_size"),
        activation=config.text("hidden_act", "gelu"),
        gated=False,
        norm_epsilon=config.number("layer_norm_eps", 1e-12),
        norm_place=NormPlace.AFTER,
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        max_positions=rows - FIRST_POSITION,
        position_rows=rows,
        first_position=FIRST_POSITION,
        relative_bias=RelativeBias(BUCKETS, MAX_DISTANCE),
    )


MPNET = Family(
    model_types=("mpnet",),
    prefix="mpnet.",
    configure=configure,
    stems=STEMS,
    sequence_head=roberta.sequence_head,
    token_head=bert.token_head,
)
