"""Qwen2 and Qwen3: Llama's names; the one has biases in its attention, the other norms of its queries and keys."""

from dataclasses import replace

from loquor_worker.models.config import ModelConfig
from loquor_worker.models.families import Family, Stems, llama
from loquor_worker.models.families.layer_kinds import layer_kinds, window_tokens, windows
from loquor_worker.models.json_file import JsonFile

QWEN3_STEMS: Stems = {
    **llama.STEMS,
    "layers.{layer}.attention.query_norm": "layers.{layer}.self_attn.q_norm",
    "layers.{layer}.attention.key_norm": "layers.{layer}.self_attn.k_norm",
}


def configure_qwen2(config: JsonFile) -> ModelConfig:
    return replace(_windowed(config), attention_bias=True, output_bias=False)


def configure_qwen3(config: JsonFile) -> ModelConfig:
    return replace(_windowed(config), query_key_norm=True)


def _windowed(config: JsonFile) -> ModelConfig:
    """Layers from a certain one on have a window, if the model uses it at all."""
    model = llama.configure(config)
    if not config.flag("use_sliding_window", False):
        return model
    first = config.integer("max_window_layers", 28)
    kinds = layer_kinds(config, model.layers, lambda layer: layer >= first)
    return replace(model, windows=windows(kinds, window_tokens(config, 4096)))


QWEN2 = Family(model_types=("qwen2",), prefix="model.", configure=configure_qwen2, stems=llama.STEMS)
QWEN3 = Family(model_types=("qwen3",), prefix="model.", configure=configure_qwen3, stems=QWEN3_STEMS)
