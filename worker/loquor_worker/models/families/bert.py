"""BERT: learned positions, token types, a norm after each residual sum."""

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.families import Family, HeadTable, Stems
from loquor_worker.models.json_file import JsonFile

ENCODER_STEMS: Stems = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.types": "embeddings.token_type_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{layer}.attention.qkv": (
        "encoder.layer.{layer}.attention.self.query",
        "encoder.layer.{layer}.attention.self.key",
        "encoder.layer.{layer}.attention.self.value",
    ),
    "layers.{layer}.attention.output": "encoder.layer.{layer}.attention.output.dense",
    "layers.{layer}.attention_norm": "encoder.layer.{layer}.attention.output.LayerNorm",
    "layers.{layer}.mlp.up": "encoder.layer.{layer}.intermediate.dense",
    "layers.{layer}.mlp.down": "encoder.layer.{layer}.output.dense",
    "layers.{layer}.mlp_norm": "encoder.layer.{layer}.output.LayerNorm",
}


def configure(config: JsonFile, *, first_position: int = 0) -> ModelConfig:
    config.demand("position_embedding_type", "absolute", "absolute")
    config.demand("is_decoder", False, False)
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
        max_positions=rows - first_position,
        position_rows=rows,
        first_position=first_position,
        token_types=config.integer("type_vocab_size", 2),
    )


def sequence_head(_config: JsonFile) -> HeadTable:
    return HeadTable(dense="bert.pooler.dense", output="classifier")


def token_head(_config: JsonFile) -> HeadTable:
    return HeadTable(output="classifier")


BERT = Family(
    model_types=("bert",),
    prefix="bert.",
    configure=configure,
    stems=ENCODER_STEMS,
    sequence_head=sequence_head,
    token_head=token_head,
)
