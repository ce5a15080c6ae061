"""Small random decoders of every family, saved as model folders, for the tests of what reads them."""

from pathlib import Path
from typing import Any

import torch
import transformers

VOCABULARY = 101
POSITIONS = 160
# Fewer than the longest of the texts.
WINDOW = 20
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 56,
    "max_position_embeddings": POSITIONS,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def save_decoder(folder: Path, family: str = "Llama", *, kind: str = "ForCausalLM", **changes: Any) -> Any:
    """A random model with weights large enough for a wrong position or mask to show. Returns the model."""
    config = getattr(transformers, f"{family}Config")(**{**SIZES, **changes})
    torch.manual_seed(11)
    # Its plain attention, because others of its know no soft cap.
    model = getattr(transformers, f"AutoModel{kind}").from_config(config, attn_implementation="eager").eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model.save_pretrained(folder)
    return model
