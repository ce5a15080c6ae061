"""Phi and Phi-3: the one runs attention and feed-forward side by side, the other is Llama with joined projections."""

from loquor_worker.models.config import ModelConfig, NormPlace
from loquor_worker.models.families import Family, Stems, llama
from loquor_worker.models.families.rope_values import read_rope, served_positions
from loquor_worker.models.json_file import JsonFile

STEMS: Stems = {
    "embeddings.tokens": "embed_tokens",
    "layers.{layer}.attention.qkv": llama.STEMS["layers.{layer}.attention.qkv"],
    "layers.{layer}.attention.query_norm": "layers.{layer}.self_attn.q_layernorm",
    "layers.{layer}.attention.key_norm": "layers.{layer}.self_attn.k_layernorm",
    "layers.{layer}.attention.output": "layers.{layer}.self_attn.dense",
    "layers.{layer}.attention_norm": "layers.{layer}.input_layernorm",
    "layers.{layer}.mlp.up": "layers.{layer}.mlp.fc1",
    "layers.{layer}.mlp.down": "layers.{layer}.mlp.fc2",
    "final_norm": "final_layernorm",
}
PHI3_STEMS: Stems = {
    **llama.STEMS,
    "layers.{layer}.attention.qkv": "layers.{layer}.self_attn.qkv_proj",
    "layers.{layer}.mlp.up": "layers.{layer}.mlp.gate_up_proj",
}


def configure(config: JsonFile) -> ModelConfig:
    """Half of each head turns, unless the file says otherwise."""
    llama.refuse_quantised(config)
    layers, heads = config.integer("num_hidden_layers"), config.integer("num_attention_heads")
    return ModelConfig(
        vocabulary_size=config.integer("vocab_size"),
        hidden_size=config.integer("hidden_size"),
        layers=layers,
        heads=heads,
        key_value_heads=llama.key_value_heads(config, heads),
        intermediate_size=config.integer("intermediate_size"),
        activation=config.text("hidden_act", "gelu_new"),
        gated=False,
        norm_epsilon=config.number("layer_norm_eps", 1e-5),
        norm_place=NormPlace.SHARED,
        norm_bias=True,
        embedding_norm=False,
        attention_bias=True,
        mlp_bias=True,
        query_key_norm=config.flag("qk_layernorm", False),
        max_positions=served_positions(config),
        ropes=(read_rope(config, llama.head_width(config), share=0.5),) * layers,
        causal=True,
        tied_head=config.flag("tie_word_embeddings", False),
        head_bias=True,
    )


PHI = Family(model_types=("phi",), prefix="model.", configure=configure, stems=STEMS)
PHI3 = Family(model_types=("phi3",), prefix="model.", configure=llama.configure_mistral, stems=PHI3_STEMS)
