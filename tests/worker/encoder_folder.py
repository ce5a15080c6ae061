"""A small random BERT saved as a model's folder, for the tests of what stands around it."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY, POSITIONS, WIDTH = 50, 24, 16


def save_bert(folder: Path, kind: str = "Model", *, seed: int = 1, **changes: Any) -> Any:
    """Returns the model that was saved."""
    torch.manual_seed(seed)
    config = transformers.BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=POSITIONS,
        **changes,
    )
    model = getattr(transformers, f"Bert{kind}")(config).eval()
    model.save_pretrained(folder)
    return model


def save_json(path: Path, values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))
