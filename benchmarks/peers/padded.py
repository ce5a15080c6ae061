"""The same sentence encoder the usual way: `transformers`, one padded batch at a time, on one thread."""

from collections.abc import Sequence

import torch
from transformers import AutoModel, AutoTokenizer


class PaddedEncoder:
    """A model folder of sentence-transformers: mean pooling over the mask, then the L2 norm."""

    def __init__(self, folder: str) -> None:
        torch.set_num_threads(1)
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModel.from_pretrained(folder).eval()

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        batch = self._tokenizer(list(texts), padding=True, return_tensors="pt")
        hidden = self._model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1).to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        rows: list[list[float]] = torch.nn.functional.normalize(pooled, dim=1).tolist()
        return rows
