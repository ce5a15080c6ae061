"""Every decoder family gives the logits that `transformers` gives for the same small random checkpoint."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from loquor_worker.models.assembly import Assembly
from loquor_worker.models.packing import Packing
from tests.worker.decoder_folder import VOCABULARY, WINDOW, save_decoder

# In order of length; equal ones stand in one dense run; the longest is several windows long.
LENGTHS = (1, 2, 7, 7, WINDOW + 1, 25, 90)
# Of the largest logit.
TOLERANCE = 2e-5

# Heads wide enough for frequencies in every band of a stretch.
WIDE = {"head_dim": 32}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 500.0, "factor": 4.0, "original_max_position_embeddings": 40}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama, one head a key": ("Llama", {"num_key_value_heads": 4}),
    "llama, all heads one key": ("Llama", {"num_key_value_heads": 1}),
    "llama, wide heads": ("Llama", {"head_dim": 24}),
    "llama, biases": ("Llama", {"attention_bias": True, "mlp_bias": True}),
    "llama, another base": ("Llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}),
    "llama, linear": ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
    "llama, dynamic": ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}),
    "llama, llama3": ("Llama", {**WIDE, "rope_parameters": LLAMA3}),
    "llama, yarn": ("Llama", {**WIDE, "rope_parameters": YARN}),
    "llama, yarn with bounds": (
        "Llama",
        {
            **WIDE,
            "rope_parameters": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "truncate": False, "attention_factor": 1.3},
        },
    ),
    "llama, yarn with scales": (
        "Llama",
        {**WIDE, "rope_parameters": {**YARN, "mscale": 1.5, "mscale_all_dim": 0.5}},
    ),
    "mistral": ("Mistral", {"sliding_window": WINDOW}),
    "mistral, no window": ("Mistral", {"sliding_window": None}),
    "smollm3": ("SmolLM3", {"num_hidden_layers": 5}),
    "smollm3, listed": ("SmolLM3", {"no_rope_layers": [0, 1, 1]}),
    "smollm3, window": (
        "SmolLM3",
        {"use_sliding_window": True, "sliding_window": WINDOW, "no_rope_layer_interval": 2},
    ),
}

GEMMA3_ROPES = {
    "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 500.0},
}
LONG = {"short_factor": [1.0, 1.1, 1.3, 2.0], "long_factor": [1.5, 2.0, 4.0, 9.0]}
CASES |= {
    "qwen2": ("Qwen2", {}),
    "qwen2, window": ("Qwen2", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen2, window unused": ("Qwen2", {"sliding_window": WINDOW, "max_window_layers": 0}),
    "qwen2, yarn": ("Qwen2", {"rope_parameters": YARN}),
    "qwen3": ("Qwen3", {"head_dim": 16}),
    "qwen3, biases, window": (
        "Qwen3",
        {"attention_bias": True, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 2},
    ),
    "gpt2": ("GPT2", {}),
    "gpt2, unscaled": ("GPT2", {"scale_attn_weights": False, "n_inner": 40, "activation_function": "relu"}),
    "gemma": ("Gemma", {"head_dim": 12}),
    "gemma, gelu": ("Gemma", {"head_dim": 8, "hidden_act": "gelu", "num_key_value_heads": 1}),
    "gemma2": ("Gemma2", {"head_dim": 12, "sliding_window": WINDOW, "query_pre_attn_scalar": 20}),
    "gemma2, low caps": (
        "Gemma2",
        {"head_dim": 8, "sliding_window": WINDOW, "attn_logit_softcapping": 0.7, "final_logit_softcapping": 2.0},
    ),
    "gemma2, no caps": (
        "Gemma2",
        {"head_dim": 8, "sliding_window": WINDOW, "attn_logit_softcapping": None, "final_logit_softcapping": None},
    ),
    "gemma3": ("Gemma3Text", {"head_dim": 12, "sliding_window": WINDOW, "num_hidden_layers": 7}),
    "gemma3, listed": (
        "Gemma3Text",
        {
            "head_dim": 8,
            "sliding_window": WINDOW,
            "rope_parameters": GEMMA3_ROPES,
            "layer_types": ["full_attention", "sliding_attention", "full_attention"],
            "final_logit_softcapping": 2.0,
        },
    ),
    "phi": ("Phi", {}),
    "phi, query and key norm": ("Phi", {"qk_layernorm": True, "num_key_value_heads": None}),
    "phi, a quarter turns": (
        "Phi",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.25}},
    ),
    "phi3": ("Phi3", {}),
    "phi3, window": ("Phi3", {"sliding_window": WINDOW, "tie_word_embeddings": True}),
}


def texts(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    random = np.random.default_rng(5)
    return [random.integers(3, VOCABULARY, size=length).tolist() for length in lengths]


@torch.inference_mode()
def logits_of(assembly: Assembly, ids: list[list[int]]) -> list[torch.Tensor]:
    """Of all rows, each text's own, from one packed step."""
    transformer, head = assembly.language_model()
    packing = Packing(tuple(map(len, ids)))
    rows = torch.tensor([token for text in ids for token in text])
    hidden = transformer(rows, torch.from_numpy(packing.positions()), None, packing)
    return list(torch.split(head(hidden), list(packing.lengths)))


@torch.inference_mode()
def reference(model: Any, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(torch.tensor([ids])).logits[0]
    return logits


def difference(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    assert found.dtype is torch.float32
    return float((found - expected).abs().max() / expected.abs().max())


def assembly_of(folder: Path, **options: Any) -> Assembly:
    return Assembly(folder, torch.device("cpu"), torch.float32, **options)


@pytest.mark.parametrize("case", list(CASES))
def test_logits(case: str, tmp_path: Path) -> None:
    family, changes = CASES[case]
    model = save_decoder(tmp_path, family, **changes)
    for ids, logits in zip(texts(), logits_of(assembly_of(tmp_path), texts()), strict=True):
        assert difference(logits, reference(model, ids)) < TOLERANCE


@pytest.mark.parametrize(("max_tokens", "lengths"), [(24, (1, 7, 24)), (None, (25, 90)), (25, (25,))])
def test_longrope_has_one_list_for_all_that_is_served(
    max_tokens: int | None, lengths: tuple[int, ...], tmp_path: Path
) -> None:
    """`transformers` changes the list with the length of the batch: here each text is on the side that is served."""
    rope = {"rope_type": "longrope", "rope_theta": 1e4, **LONG}
    model = save_decoder(tmp_path, "Phi3", rope_parameters=rope, original_max_position_embeddings=24)
    ids = texts(lengths)
    for text, logits in zip(ids, logits_of(assembly_of(tmp_path, max_tokens=max_tokens), ids), strict=True):
        assert difference(logits, reference(model, text)) < TOLERANCE


def rewrite(folder: Path, changes: dict[str, Any]) -> None:
    """Change `config.json`; None takes a key out."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


OLDER: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "base": (
        "Llama",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}},
        {"rope_theta": 500.0},
    ),
    "llama3": (
        "Llama",
        {**WIDE, "rope_parameters": LLAMA3},
        {"rope_theta": 500.0, "rope_scaling": {key: LLAMA3[key] for key in LLAMA3 if key != "rope_theta"}},
    ),
    "type": (
        "Llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 500.0, "factor": 2.0}},
        {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
    ),
    "partial": (
        "Phi",
        {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.25}},
        {"rope_theta": 1e4, "partial_rotary_factor": 0.25},
    ),
    "two bases": (
        "Gemma3Text",
        {"head_dim": 8, "sliding_window": WINDOW, "rope_parameters": GEMMA3_ROPES, "num_hidden_layers": 6},
        {
            "rope_theta": 1e6,
            "rope_local_base_freq": 500.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "layer_types": None,
            "sliding_window_pattern": 6,
        },
    ),
}


@pytest.mark.parametrize("case", list(OLDER))
def test_older_files_say_the_same(case: str, tmp_path: Path) -> None:
    family, newer, older = OLDER[case]
    model = save_decoder(tmp_path, family, **newer)
    rewrite(tmp_path, {"rope_parameters": None, **older})
    for ids, logits in zip(texts(), logits_of(assembly_of(tmp_path), texts()), strict=True):
        assert difference(logits, reference(model, ids)) < TOLERANCE
