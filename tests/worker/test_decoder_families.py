"""Every decoder family gives the logits that `transformers` gives for the same small random checkpoint."""

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
TOLERANCE = 1e-4

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
YARN = {"rope_type": "yarn", "rope_theta": 10_000.0, "factor": 4.0, "original_max_position_embeddings": 24}
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
    "llama, llama3": ("Llama", {"rope_parameters": LLAMA3}),
    "llama, yarn": ("Llama", {"rope_parameters": YARN}),
    "llama, yarn with bounds": (
        "Llama",
        {"rope_parameters": {**YARN, "beta_fast": 8.0, "beta_slow": 2.0, "truncate": False, "attention_factor": 1.3}},
    ),
    "llama, yarn with scales": (
        "Llama",
        {"rope_parameters": {**YARN, "mscale": 1.5, "mscale_all_dim": 0.5}},
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
