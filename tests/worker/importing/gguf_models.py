"""Small GGUF files, written the other way round from how they are read: from Hugging Face's models and tokenizers.

The names of tensors come from the library `gguf`, the order of rows from llama.cpp's converter; nothing here knows the
importer.
"""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, quants
from gguf.constants import MODEL_ARCH, MODEL_ARCH_NAMES
from gguf.tensor_mapping import get_tensor_name_map
from transformers import AutoConfig, AutoModelForCausalLM

Array = np.ndarray[Any, Any]
VOCABULARY = 448


@dataclass(frozen=True)
class Sample:
    """An architecture: Hugging Face's configuration of a tiny model, and what its file says."""

    name: str
    config: Mapping[str, Any]
    settings: Mapping[str, Any]
    # Whether transformers itself reads files of this architecture, and every tensor of them.
    read_by_transformers: bool = True
    extra_tensors: Mapping[str, list[float]] = field(default_factory=dict)


_SIZES = {
    "vocab_size": VOCABULARY, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": None,
}  # fmt: skip
_SETTINGS = {
    "embedding_length": 64, "feed_forward_length": 96, "block_count": 2, "attention.head_count": 4,
    "attention.head_count_kv": 2, "context_length": 128, "attention.layer_norm_rms_epsilon": 1e-5,
}  # fmt: skip
_LLAMA = {**_SIZES, "model_type": "llama", "rms_norm_eps": 1e-5, "head_dim": 16, "rope_theta": 50_000.0}
_LLAMA_SETTINGS = {**_SETTINGS, "rope.freq_base": 50_000.0, "rope.dimension_count": 16, "vocab_size": VOCABULARY}
_GEMMA = {**_SIZES, "head_dim": 24, "rms_norm_eps": 1e-5, "hidden_activation": "gelu_pytorch_tanh"}
_GEMMA_SETTINGS = {**_SETTINGS, "attention.key_length": 24, "attention.value_length": 24}
LLAMA3_SCALING = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}  # fmt: skip


def llama3_factors(base: float, head_size: int) -> list[float]:
    """As llama.cpp's converter computes them."""
    factors = []
    for frequency in 1.0 / base ** (np.arange(0, head_size, 2) / head_size):
        wavelength = 2 * np.pi / frequency
        if wavelength < 8192 / 4:
            factors.append(1.0)
        elif wavelength > 8192 / 1:
            factors.append(8.0)
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            factors.append(float(1 / ((1 - smooth) / 8 + smooth)))
    return factors


_LONG, _SHORT = [1.0 + 0.25 * index for index in range(8)], [1.0 + 0.01 * index for index in range(8)]

SAMPLES = {
    "llama": Sample("llama", {**_LLAMA, "tie_word_embeddings": True}, _LLAMA_SETTINGS),
    "llama untied": Sample("llama", {**_LLAMA, "tie_word_embeddings": False}, _LLAMA_SETTINGS),
    "llama with biases": Sample(
        "llama", {**_LLAMA, "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}, _LLAMA_SETTINGS
    ),
    "llama 3": Sample(
        "llama",
        {**_LLAMA, "tie_word_embeddings": True, "rope_scaling": LLAMA3_SCALING},
        _LLAMA_SETTINGS,
        extra_tensors={"rope_freqs.weight": llama3_factors(50_000.0, 16)},
    ),
    "llama stretched": Sample(
        "llama",
        {**_LLAMA, "tie_word_embeddings": True, "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {**_LLAMA_SETTINGS, "rope.scaling.type": "linear", "rope.scaling.factor": 4.0},
    ),
    "qwen2": Sample(
        "qwen2",
        {**_SIZES, "model_type": "qwen2", "rms_norm_eps": 1e-5, "rope_theta": 1e6, "tie_word_embeddings": True},
        {**_SETTINGS, "rope.freq_base": 1e6},
    ),
    "qwen2 with yarn": Sample(
        "qwen2",
        {
            **_SIZES, "model_type": "qwen2", "rms_norm_eps": 1e-5, "rope_theta": 1e6, "tie_word_embeddings": True,
            "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
        },
        {
            **_SETTINGS, "rope.freq_base": 1e6, "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0,
            "rope.scaling.original_context_length": 32,
        },
    ),
    "qwen3": Sample(
        "qwen3",
        {
            **_SIZES, "model_type": "qwen3", "rms_norm_eps": 1e-5, "rope_theta": 1e6, "head_dim": 24,
            "tie_word_embeddings": False,
        },
        {**_SETTINGS, "rope.freq_base": 1e6, "attention.key_length": 24, "attention.value_length": 24},
    ),
    "gemma": Sample(
        "gemma", {**_GEMMA, "model_type": "gemma"}, {**_GEMMA_SETTINGS}, read_by_transformers=False
    ),
    "gemma2": Sample(
        "gemma2",
        {**_GEMMA, "model_type": "gemma2", "sliding_window": 8, "query_pre_attn_scalar": 24},
        {
            **_GEMMA_SETTINGS, "attention.sliding_window": 8, "attn_logit_softcapping": 50.0,
            "final_logit_softcapping": 30.0,
        },
    ),
    "gemma3": Sample(
        "gemma3",
        {
            **_GEMMA, "model_type": "gemma3_text", "num_hidden_layers": 7, "sliding_window": 8,
            "query_pre_attn_scalar": 24, "rope_theta": 1e6, "rope_local_base_freq": 10_000.0,
        },
        {**_GEMMA_SETTINGS, "block_count": 7, "attention.sliding_window": 8, "rope.freq_base": 1e6},
    ),
    "phi3": Sample(
        "phi3",
        {
            **_SIZES, "model_type": "phi3", "rms_norm_eps": 1e-5, "sliding_window": 64, "tie_word_embeddings": False,
            "original_max_position_embeddings": 128,
        },
        {**_SETTINGS, "rope.dimension_count": 16, "attention.sliding_window": 64},
    ),
    "phi3 for long texts": Sample(
        "phi3",
        {
            **_SIZES, "model_type": "phi3", "rms_norm_eps": 1e-5, "sliding_window": None,
            "tie_word_embeddings": False, "original_max_position_embeddings": 64,
            "rope_scaling": {"rope_type": "longrope", "short_factor": _SHORT, "long_factor": _LONG},
        },
        {**_SETTINGS, "rope.dimension_count": 16, "rope.scaling.original_context_length": 64},
        extra_tensors={"rope_factors_short.weight": _SHORT, "rope_factors_long.weight": _LONG},
    ),
    "gpt2": Sample(
        "gpt2",
        {
            "model_type": "gpt2", "vocab_size": VOCABULARY, "n_embd": 64, "n_inner": 96, "n_layer": 2, "n_head": 4,
            "n_positions": 128, "layer_norm_epsilon": 1e-5,
        },
        {
            "embedding_length": 64, "feed_forward_length": 96, "block_count": 2, "attention.head_count": 4,
            "context_length": 128, "attention.layer_norm_epsilon": 1e-5,
        },
    ),
}  # fmt: skip


def tiny_model(sample: Sample) -> Any:
    """Hugging Face's model, its weights drawn so that no part of it is without effect."""
    torch.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AutoModelForCausalLM.from_config(
            AutoConfig.for_model(**dict(sample.config)), attn_implementation="eager"
        )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(1.0 if parameter.dim() == 1 else 0.0, 0.2)
    return model.eval()


def weights_in_file(sample: Sample, model: Any) -> dict[str, Array]:
    """Tensors by the names, and in the order of rows, that llama.cpp's converter gives them."""
    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    kind: MODEL_ARCH = kinds[sample.name]
    names = get_tensor_name_map(kind, 8)
    found = {}
    for name, tensor in model.state_dict().items():
        stem, suffix = name.rsplit(".", 1)
        if stem == "lm_head" and model.config.tie_word_embeddings:
            continue
        found[f"{names.get_name(stem)}.{suffix}"] = _as_in_file(sample, name, tensor.numpy(), model.config)
    return found | {name: np.array(values, np.float32) for name, values in sample.extra_tensors.items()}


def _as_in_file(sample: Sample, name: str, array: Array, config: Any) -> Array:
    if sample.name == "llama" and "q_proj" in name:
        return permuted(array, config.num_attention_heads)
    if sample.name == "llama" and "k_proj" in name:
        return permuted(array, config.num_key_value_heads)
    if sample.name.startswith("gemma") and name.endswith("norm.weight"):
        return array + np.float32(1)
    if sample.name == "gpt2" and array.ndim == 2 and ".h." in name:
        return np.ascontiguousarray(array.T)
    return array


def permuted(array: Array, heads: int) -> Array:
    """llama.cpp's own permutation of the rows of queries and keys."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(array.shape))


def write_gguf(
    path: Path,
    architecture: str,
    settings: Mapping[str, Any],
    tensors: Mapping[str, Array],
    encode: Callable[[str, Array], GGMLQuantizationType] = lambda name, array: GGMLQuantizationType.F32,
) -> None:
    """A file by the library's own writer. `encode` chooses for each tensor."""
    writer = GGUFWriter(path, architecture)
    for key, value in settings.items():
        add_setting(
            writer, key if key.startswith(("tokenizer.", "general.", "split.")) else f"{architecture}.{key}", value
        )
    for name, array in tensors.items():
        kind = encode(name, array)
        writer.add_tensor(name, quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_setting(writer: GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
