"""DistilBERT: BERT without token types, under names of its own."""

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.families import Family, HeadTable, Stems, bert
from loquor_worker.models.json_file import JsonFile

STEMS: Stems = {
    "embeddings.tokens": "embeddings.word_embeddings",
    "embeddings.positions": "embeddings.position_embeddings",
    "embeddings.norm": "embeddings.LayerNorm",
    "layers.{layer}.attention.qkv": (
        "transformer.layer.{layer}.attention.q_lin",
        "transformer.layer.{layer}.attention.k_lin",
        "transformer.layer.{layer}.attention.v_lin",
    ),
    "layers.{layer}.attention.output": "transformer.layer.{layer}.attention.out_lin",
    "layers.{layer}.attention_norm": "transformer.layer.{layer}.sa_layer_norm",
    "layers.{layer}.mlp.up": "transformer.layer.{layer}.ffn.lin1",
    "layers.{layer}.mlp.down": "transformer.layer.{layer}.ffn.lin2",
    "layers.{layer}.mlp_norm": "transformer.layer.{layer}.output_layer_norm",
}


def configure(config: JsonFile) -> ModelConfig:
    rows = config.integer("max_position_embeddings", 512)
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size"),
        hidden_size=config.integer("dim"),
        layers=config.integer("n_layers"),
        heads=config.integer("n_heads"),
        intermediate_size=config.integer("hidden_dim"),
        activation=config.text("activation", "gelu"),
        gated=False,
        norm_epsilon=1e-12,
        norm_place=NormPlace.AFTER,
        norm_bias=True,
        attention_bias=True,
        mlp_bias=True,
        max_positions=rows,
        position_rows=rows,
    )


def sequence_head(_config: JsonFile) -> HeadTable:
    return HeadTable(dense="pre_classifier", activation="relu", output="classifier")


DISTILBERT = Family(
    model_types=("distilbert",),
    prefix="distilbert.",
    configure=configure,
    stems=STEMS,
    sequence_head=sequence_head,
    token_head=bert.token_head,
)
